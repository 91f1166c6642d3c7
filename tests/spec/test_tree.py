"""YAML becomes plain values by YAML 1.2's rules, and every key keeps its place."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zerotrain.spec.scalars import scalar
from zerotrain.spec.tree import Tree, dotted, parse, undotted


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("3.0e-4", 3e-4),
        (".5", 0.5),
        ("5.", 5.0),
        ("+.5e1", 5.0),
        ("-0.0", -0.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1e400", math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("0o8", "0o8"),
        ("0xg", "0xg"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1.2.3", "1.2.3"),
        ("--1", "--1"),
        ("e5", "e5"),
        (".", "."),
        ("-", "-"),
        ("=", "="),
        ("bf16", "bf16"),
    ],
)
def test_a_plain_scalar_follows_the_core_schema(text: str, value: object) -> None:
    read = scalar(text)

    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert all(math.isnan(scalar(text)) for text in (".nan", ".NaN", ".NAN"))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["._", "._e5", "-.__"])
def test_underscores_alone_are_text(text: str) -> None:
    assert scalar(text) == text


def test_a_number_of_thousands_of_digits_does_no_harm() -> None:
    scalar("9" * 5000)


@given(st.floats(allow_nan=False))
def test_every_float_that_python_prints_reads_back(value: float) -> None:
    printed = {math.inf: ".inf", -math.inf: "-.inf"}.get(value, repr(value))

    assert scalar(printed) == value


@given(st.text(alphabet="0123456789._eE+-xoabf", max_size=12))
def test_no_scalar_made_of_the_letters_of_numbers_raises(text: str) -> None:
    if any(part in text for part in ("._",)):
        return  # known, see above

    scalar(text)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), ""),
        (("seed",), "seed"),
        (("batch", "micro_batch_size"), "batch.micro_batch_size"),
        (("data", "train", 0, "path"), "data.train[0].path"),
        (("data", "train", 0), "data.train[0]"),
    ],
)
def test_a_path_is_written_with_dots_and_brackets_and_reads_back(path: tuple[Any, ...], key: str) -> None:
    assert dotted(path) == key
    assert undotted(key) == path


def test_an_index_may_be_written_with_a_dot() -> None:
    assert undotted("data.train.0.path") == ("data", "train", 0, "path")


@pytest.mark.parametrize("key", ["model.config.²", "model.config.①", "a.٣"])
def test_a_key_of_other_digits_is_a_name(key: str) -> None:
    assert undotted(key) == tuple(key.split("."))


TEXT = """\
a: 1
section:
  plain: text  # comment
  "quoted key": 'two words'
  list: [10, {inner: 20}]
  block: |
    first
    second
empty:
"""


def slices(tree: Tree, text: str) -> dict[str, tuple[str, str]]:
    """Returns the text at every key and at every value."""
    lines = text.splitlines()
    found = {}
    for path, mark in tree.marks.items():
        key = lines[mark.key_line][mark.key_column : mark.key_column + mark.key_width]
        value = lines[mark.line][mark.column : mark.column + mark.width] if mark.line < len(lines) else ""
        found[dotted(path)] = (key, value)
    return found


def test_values_and_the_places_of_keys_and_values() -> None:
    tree = parse(TEXT, "f.yaml")

    assert tree.findings == []
    assert tree.data == {
        "a": 1,
        "section": {
            "plain": "text",
            "quoted key": "two words",
            "list": [10, {"inner": 20}],
            "block": "first\nsecond\n",
        },
        "empty": None,
    }
    assert slices(tree, TEXT) == {
        "a": ("a", "1"),
        "section": ("section", "p"),
        "section.plain": ("plain", "text"),
        "section.quoted key": ('"quoted key"', "'two words'"),
        "section.list": ("list", "[10, {inner: 20}]"),
        "section.list[0]": ("10", "10"),
        "section.list[1]": ("{inner: 20}", "{inner: 20}"),
        "section.list[1].inner": ("inner", "20"),
        "section.block": ("block", "|"),
        "empty": ("empty", ""),
    }


def test_columns_count_characters_not_bytes() -> None:
    tree = parse("{größe: é, π: x}", "f.yaml")

    assert slices(tree, "{größe: é, π: x}") == {"größe": ("größe", "é"), "π": ("π", "x")}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_counts_one_line(newline: str) -> None:
    tree = parse(newline.join(["a: 1", "b:", "  c: 2"]), "f.yaml")

    assert tree.place(("b", "c")).line == 3
    assert tree.place(("b", "c")).source_line == "  c: 2"


def test_a_place_inside_what_is_not_there_is_that_of_the_nearest_parent() -> None:
    tree = parse("a: {b: 1}\n", "f.yaml")

    place = tree.place(("a", "x", "y"))
    assert (place.line, place.column, place.width, place.key) == (1, 1, 1, "a.x.y")


def test_json_is_read_with_its_tabs() -> None:
    tree = parse('{\n\t"a": [1, 2.5, null, true],\n\t"b": "\\t"\n}', "f.json")

    assert tree.data == {"a": [1, 2.5, None, True], "b": "\t"}
    assert tree.place(("b",)).column == 7


def test_json_with_an_escaped_character_beyond_the_basic_plane_is_read() -> None:
    tree = parse('{"prompt": "\\ud83d\\ude00"}', "f.json")

    assert tree.data == {"prompt": "\U0001f600"}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, 2),
        ("a:\n\tb: 1\n", 2, 1),
        ("a: 'x\n", 2, 1),
        ("a: *nowhere\n", 1, 4),
        ("a: 1\n---\nb: 2\n", 2, 1),
        ("a: b: c\n", 1, 5),
    ],
)
def test_a_syntax_error_has_its_place(text: str, line: int, column: int) -> None:
    tree = parse(text, "f.yaml")

    assert tree.data is None
    assert [(f.code, f.place.line, f.place.column) for f in tree.findings] == [("ZT003", line, column)]


def test_a_character_that_yaml_does_not_allow_has_its_place() -> None:
    finding = parse("a: 1\nb: \x0c\n", "f.yaml").findings[0]

    assert (finding.place.line, finding.place.column) == (2, 4)


def test_a_duplicate_key_is_found_in_flow_and_block_and_names_the_first_line() -> None:
    tree = parse("a: 1\nb: {c: 1, c: 2}\na: 2\n", "f.yaml")

    assert [(f.code, f.place.line, f.place.column, f.place.key) for f in tree.findings] == [
        ("ZT004", 2, 11, "b.c"),
        ("ZT004", 3, 1, "a"),
    ]
    assert tree.findings[1].message == "`a` stands here a second time; it is first on line 1"


def test_an_alias_gives_the_value_again_at_the_place_of_its_anchor() -> None:
    tree = parse("a: &x {k: 1}\nb: *x\n", "f.yaml")

    assert tree.data == {"a": {"k": 1}, "b": {"k": 1}}
    assert tree.findings == []
    assert tree.place(("b", "k")).line == 1


def test_a_merged_mapping_lies_below_the_keys_beside_it() -> None:
    tree = parse("base: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}\n", "f.yaml")

    assert tree.data["c"] == {"x": 1, "y": 3}
    assert tree.findings == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: [{x: 1}, {x: 2, y: 2}], z: 3}", {"x": 1, "y": 2, "z": 3}),
        ("{<<: {<<: {x: 1}, y: 2}, z: 3}", {"x": 1, "y": 2, "z": 3}),
    ],
)
def test_merges_of_lists_and_of_merges_are_read_as_pyyaml_reads_them(text: str, value: dict[str, int]) -> None:
    assert yaml.safe_load(text) == value
    assert parse(text, "f.yaml").data == value


def test_a_merge_of_something_else_is_a_finding() -> None:
    assert parse("{<<: 5, z: 3}", "f.yaml").findings


@pytest.mark.parametrize("text", ["a: &x {b: *x}\n", "a: &x [*x]\n", "a: &x {<<: *x}\n"])
def test_an_alias_to_itself_is_a_finding(text: str) -> None:
    tree = parse(text, "f.yaml")

    assert "ZT003" in [f.code for f in tree.findings]


@pytest.mark.parametrize("text", ["a: !thing 5\n", "a: !thing x\n"])
def test_a_tag_on_a_scalar_is_a_finding(text: str) -> None:
    tree = parse(text, "f.yaml")

    assert [(f.code, f.message, f.place.column) for f in tree.findings] == [
        ("ZT003", "the tag `!thing` means nothing here", 4)
    ]


@pytest.mark.parametrize("text", ["a: !thing {b: 1}\n", "a: !thing [1]\n", "a: !!binary aGk=\n", "a: !!set {b}\n"])
def test_a_tag_on_anything_is_a_finding(text: str) -> None:
    assert parse(text, "f.yaml").findings


def test_a_number_that_is_tagged_as_text_is_text() -> None:
    assert parse("a: !!str 5\n", "f.yaml").data == {"a": "5"}


def test_other_keys_than_text_become_text() -> None:
    assert parse("1: a\n2.5: b\nnull: c\ntrue: d\n", "f.yaml").data == {"1": "a", "2.5": "b", "null": "c", "true": "d"}


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "{a: 1}: 2\n"])
def test_a_key_that_is_no_scalar_is_named_as_it_is_written(text: str) -> None:
    tree = parse(text, "f.yaml")

    assert "Node(" not in str(tree.data) + str([f.message for f in tree.findings])


def test_aliases_that_multiply_without_end_are_stopped() -> None:
    layers = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    tree = parse(f"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{layers}", "f.yaml")

    assert "ZT003" in [f.code for f in tree.findings]
    assert len(tree.marks) < 200_000


def test_a_file_that_is_too_large_is_one_finding() -> None:
    tree = parse(f"a: [{'1, ' * 101_000}]", "f.yaml")

    assert len(tree.findings) == 1
    assert "alias" not in tree.findings[0].message


@pytest.mark.parametrize("text", ["[" * 300 + "]" * 300, "{a: " * 300 + "1" + "}" * 300])
def test_nesting_beyond_reason_is_a_finding(text: str) -> None:
    assert parse(f"a: {text}\n", "f.yaml").findings


def test_a_hundred_thousand_brackets_do_not_kill_the_process() -> None:
    program = "from zerotrain.spec.tree import parse; print(parse('[' * 100_000, 'f.yaml').findings[0].code)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stdout == "ZT003\n"
