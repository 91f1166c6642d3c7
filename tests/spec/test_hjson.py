"""DeepSpeed configs are read as DeepSpeed, or a framework, reads them; every key keeps its place."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import hjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.spec.hjson import as_json, parse_hjson
from zerotrain.spec.load import read_config
from zerotrain.spec.tree import Tree, undotted

RELAXED = """# for DeepSpeed itself
{
  // a comment
  "train_batch_size": 8, /* another */ 'steps_per_print': 1e3
  optimizer: {
    type: Adam
    "params": {"lr": 1e-4, "betas": [0.9, 0.999,],}
  }
  notes:
    '''
    first
      second
    '''
  "fp16": {"enabled": true,}, "empty": {}
}
"""
WITHOUT_BRACES = "train_batch_size: 8\nbf16: {enabled: true}, zero_optimization: {stage: 2}\n"
STRICT = json.dumps({"fp16": {"enabled": False}, "betas": [0.9, 0.999], "x": {"é": 'a\n\t"b\\ \u20ac 😀', "y": None}})
TEXTS = [RELAXED, WITHOUT_BRACES, STRICT, json.dumps(json.loads(STRICT), indent=2)]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=20,
)
configs = st.dictionaries(st.text(), anything, max_size=5)
pieces = st.sampled_from(
    [*"{}[],:\"'#/\\ \n\t.-+_e0189truNx=%$“", "//", "/*", "*/", "'''", "True", "NaN", "{{ x }}", "1e400"]
)


def codes(tree: Tree) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity.value) for finding in tree.findings]


def only(tree: Tree) -> Diagnostic:
    assert len(tree.findings) == 1, tree.findings
    return tree.findings[0]


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(inside) for key, inside in value.items()}
    return [plain(inside) for inside in value] if isinstance(value, list) else value


def shown(tree: Tree, path: str, *, on_key: bool = False) -> str:
    place = tree.place(undotted(path), on_key=on_key)
    assert place.source_line is not None and place.column is not None
    return place.source_line[place.column - 1 : place.column - 1 + place.width]


@pytest.mark.parametrize("text", TEXTS)
def test_what_hjson_reads_is_read_to_the_same_value(text: str) -> None:
    tree = parse_hjson(text, "ds.json")

    assert tree.data == plain(hjson.loads(text))
    assert tree.findings == []


@given(configs, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_strict_json_is_read_to_the_same_value_by_everyone(config: Any, indent: Any, is_ascii: bool) -> None:
    text = json.dumps(config, indent=indent, ensure_ascii=is_ascii)
    tree = parse_hjson(text, "ds.json")

    assert tree.data == plain(hjson.loads(text)) == config
    assert repr(as_json(tree).data) == repr(json.loads(text))
    assert tree.findings == as_json(tree).findings == []


@given(configs, st.sampled_from([None, 2]))
@settings(max_examples=100, deadline=None)
def test_every_path_has_a_mark_at_its_text(config: Any, indent: Any) -> None:
    text = json.dumps(config, indent=indent)
    lines, tree = text.split("\n"), parse_hjson(text, "ds.json")
    paths = list(paths_of(config, ()))

    assert set(tree.marks) == {path for path, _ in paths}
    for path, value in paths:
        mark = tree.marks[path]
        assert lines[mark.line][mark.column :].startswith(json.dumps(value, indent=indent).partition("\n")[0][:1])
        if not isinstance(value, dict | list):
            assert json.loads(lines[mark.line][mark.column : mark.column + mark.width]) == value
        if isinstance(path[-1], str):
            assert json.loads(lines[mark.key_line][mark.key_column : mark.key_column + mark.key_width]) == path[-1]


def paths_of(value: Any, path: tuple[Any, ...]) -> Any:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inside:
        yield (*path, key), below
        yield from paths_of(below, (*path, key))


@given(
    st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.lists(pieces)), max_size=4)
)
@example('{"a": "\\u -0e"}', [])
@settings(max_examples=400, deadline=None)
def test_damaged_text_is_refused_or_read_as_hjson_and_json_do(text: str, damage: list[Any]) -> None:
    for at, length, inserted in damage:
        text = text[: at % (len(text) + 1)] + "".join(inserted[:3]) + text[at % (len(text) + 1) + length :]
    began = time.process_time()
    tree = parse_hjson(text, "ds.json")
    by_json = as_json(tree)
    assert time.process_time() - began < 1

    agrees_with_hjson(text, tree)
    agrees_with_json(text, by_json)


def agrees_with_hjson(text: str, tree: Tree) -> None:
    is_config = "ZT035" not in {code for code, _ in codes(tree)}
    try:
        value = plain(hjson.loads(text))
    except Exception:
        assert any(severity == "error" for _, severity in codes(tree))
    else:
        assert not is_config or (repr(tree.data) == repr(value))
        assert {code for code, severity in codes(tree) if severity == "error"} <= {"ZT004", "ZT035"}


def agrees_with_json(text: str, tree: Tree) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        assert any(severity == "error" for _, severity in codes(tree))
    else:
        assert repr(tree.data) == repr(value) or not isinstance(value, dict)
        assert {code for code, severity in codes(tree) if severity == "error"} <= {"ZT035"}


def test_marks_in_relaxed_text() -> None:
    tree = parse_hjson(RELAXED, "ds.json")

    assert shown(tree, "optimizer.type") == "Adam"
    assert shown(tree, "optimizer.params.betas[1]") == "0.999"
    assert shown(tree, "optimizer", on_key=True) == "optimizer"
    assert shown(tree, "steps_per_print", on_key=True) == "'steps_per_print'"
    assert tree.place(("fp16", "enabled")).line == 14


def test_constructs_of_hjson_are_fine_for_deepspeed_and_refused_by_json() -> None:
    tree = as_json(parse_hjson(RELAXED, "ds.json"))

    assert {code for code in codes(tree)} == {("ZT031", "error")}
    assert [finding.message.partition("refuses ")[2] for finding in tree.findings] == [
        "comments",
        "single quotes",
        "values without a comma between them",
        "keys without quotes",
        "text without quotes",
        "a comma before a closing bracket",
        "text in `'''`",
    ]
    assert tree.findings[0].place.line == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (WITHOUT_BRACES, "a config without its outermost braces"),
        ("\ufeff{}", "a byte order mark"),
        ('{"a": "it\\\'s"}', "the escape `\\'`"),
    ],
)
def test_zt031_only_hjson(text: str, what: str) -> None:
    tree = parse_hjson(text, "ds.json")

    assert tree.findings == []
    assert as_json(tree).findings[0].code == "ZT031"
    assert as_json(tree).findings[0].message == f"HF Trainer and Accelerate read with `json.load`, which refuses {what}"


@pytest.mark.parametrize(
    ("text", "fact", "spot"),
    [
        ('{"a": {"b": 1}', "`{` is never closed", (1, 1)),
        ('{"a": [1, 2}', "`[` is not closed before this `}`", (1, 12)),
        ('{"a": [1, 2\n  "b": 1}', "`[` is not closed before this key", (2, 3)),
        ('{"x": {\n  "a": {\n    "b": 1,\n  "c": 2\n}\n', "`{` is never closed", (2, 8)),
        ('{\n  "a": {\n    "b": 1,\n  "c": {\n  }\n}\n', "`{` is never closed", (2, 8)),
        ('{"a": 1},\n"b": 2}', "the config has ended, and `,` follows", (1, 9)),
        ('{"a": 1}\n```', "the config has ended, and ````` follows", (2, 1)),
        ('{"a": 1,, "b": 2}', "`,` stands where a key is expected", (1, 9)),
        ('{"a" 1}', "no colon follows the key `a`", (1, 2)),
        ('{"a": }', "`a` has no value", (1, 2)),
        ("[1,,2]", "a value is missing here", (1, 4)),
        ('{"a": "x}', 'the text that starts with " is not closed on its line', (1, 7)),
        ('{"a": "x\\d"}', "`\\d` is not an escape", (1, 9)),
        ('{"a": "x\ty"}', "the character '\\t' cannot stand in quotes", (1, 9)),
        ('{"a": 1} /* x', "the comment is never closed", (1, 10)),
        ('{"a": {{ batch }}, "b": 1}', "`{{ batch }}` is a placeholder that nothing has filled in", (1, 7)),
        ('{% if x %}\n{"a": 1}', "`{% if x %}` is a placeholder that nothing has filled in", (1, 1)),
        ("[" * 5000, "brackets are nested deeper than 100", (1, 101)),
    ],
)
def test_zt030_invalid_json(text: str, fact: str, spot: tuple[int, int]) -> None:
    tree = parse_hjson(text, "ds.json")
    first = tree.findings[0]

    assert (first.code, first.name, first.severity, first.message) == ("ZT030", "invalid-json", Severity.ERROR, fact)
    assert (first.place.line, first.place.column) == spot
    assert ("ZT030", "error") in codes(as_json(tree))


def test_zt030_not_for_good_text() -> None:
    assert parse_hjson(RELAXED, "ds.json").findings == []


def test_reading_goes_on_after_what_is_refused() -> None:
    tree = parse_hjson('{"a": 1,, "b": {"c" = 2}, "d": [1,,2], x y, "e": 5', "ds.json")

    assert tree.data == {"a": 1, "b": {"c": 2}, "d": [1, 2], "e": 5}
    assert len(tree.findings) == 3


def test_nothing_is_made_of_brackets_that_cannot_be_matched() -> None:
    assert parse_hjson('{\n  "a": {\n    "b": 1,\n  "c": {\n  }\n}\n', "ds.json").data is None


def test_zt004_deepspeed_refuses_a_key_twice_and_json_ignores_the_first() -> None:
    tree = parse_hjson('{"a": {"b": 1, "c": 2},\n "a": {"b": 3}}', "ds.json")

    assert tree.data == {"a": {"b": 3}}
    assert set(tree.marks) == {("a",), ("a", "b")}
    assert codes(tree) == [("ZT004", "error")]
    assert (only(tree).place.line, only(tree).place.column, only(tree).place.key) == (2, 2, "a")
    assert codes(as_json(tree)) == [("ZT004", "warning")]
    assert parse_hjson('{"a": {"b": 1}, "b": 1}', "ds.json").findings == []


def test_zt032_python_literals_become_text() -> None:
    tree = parse_hjson('{\n  "a": False,\n  "b": None\n}', "ds.json")

    assert tree.data == {"a": "False,", "b": "None"}
    assert codes(tree) == [("ZT032", "warning"), ("ZT032", "warning")]
    assert tree.findings[0].message == "`False` is not JSON's `false`: DeepSpeed reads the text `False,`"
    assert tree.findings[0].fix is not None
    assert (tree.findings[0].fix.key, tree.findings[0].fix.value) == ("a", False)
    assert shown(tree, "a") == "False"
    assert codes(as_json(tree)) == [("ZT032", "error"), ("ZT032", "error")]
    assert as_json(tree).data == {"a": False, "b": None}


def test_zt032_a_python_literal_takes_the_rest_of_its_line() -> None:
    tree = parse_hjson('{"a": True, "b": 1\n}', "ds.json")
    refused = parse_hjson('{"a": {"b": True}, "c": 1}', "ds.json")

    assert tree.data == {"a": 'True, "b": 1'}
    assert codes(tree) == [("ZT032", "warning")]
    assert refused.data == {"a": {"b": True}, "c": 1}
    assert codes(refused) == [("ZT032", "error")]
    assert only(refused).message.endswith('takes the rest of the line into the text `True}, "c": 1}`')
    assert parse_hjson('{"a": true, "b": "True"}', "ds.json").findings == []


@pytest.mark.parametrize(
    ("number", "meant"),
    [(".5", 0.5), ("+1", 1), ("1_000", 1000), ("1.", 1), ("0x10", None), ("01", None), ("1e-4x", None), ("5e", None)],
)
def test_zt033_numbers_that_are_read_as_text(number: str, meant: float | None) -> None:
    tree = parse_hjson(f'{{"a": {number}\n}}', "ds.json")

    assert tree.data == {"a": number}
    assert codes(tree) == [("ZT033", "warning")]
    assert (only(tree).fix and only(tree).fix.value) == meant  # type: ignore[union-attr]
    assert codes(as_json(tree)) == [("ZT033", "error")]


@pytest.mark.parametrize("number", ["5e8", "-0.0", "1E-4", "0", "1.5e300"])
def test_zt033_not_for_numbers(number: str) -> None:
    tree = parse_hjson(f'{{"a": {number}}}', "ds.json")

    assert tree.findings == as_json(tree).findings == []


def test_whole_numbers_are_integers_for_deepspeed_and_floats_for_json() -> None:
    tree = parse_hjson('{"a": 5e8}', "ds.json")

    assert repr(tree.data) == "{'a': 500000000}"
    assert repr(as_json(tree).data) == "{'a': 500000000.0}"


def test_zt034_not_a_number() -> None:
    text, refused = parse_hjson('{"a": -Infinity\n}', "ds.json"), parse_hjson('{"a": NaN}', "ds.json")
    great = parse_hjson('{"a": 1e400}', "ds.json")

    assert (text.data, codes(text)) == ({"a": "-Infinity"}, [("ZT034", "warning")])
    assert codes(refused) == codes(great) == [("ZT034", "error")]
    assert as_json(text).data == {"a": -math.inf}
    assert [codes(as_json(tree)) for tree in (text, refused, great)] == [[("ZT034", "warning")]] * 3
    assert parse_hjson('{"a": "NaN", "b": 1e300}', "ds.json").findings == []


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("# only this\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("[1]", "the config is a list, not keys and values in braces"),
        ("null", "the config is `null`, not keys and values in braces"),
        ("hello", "the config is text, not keys and values in braces"),
        ('config = {"a": 1}', "the file is Python source, not a config"),
        ("import torch\n\nDS = {\n    'a': True,\n}\n", "the file is Python source, not a config"),
        ("<!DOCTYPE html>\n<p>", "the file is HTML or XML, not a config"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "the file is a pointer of Git LFS, whose content was not pulled, not a config",
        ),
    ],
)
def test_zt035_not_a_config(text: str, fact: str) -> None:
    tree = parse_hjson(text, "ds.json")

    assert (only(tree).code, only(tree).severity, only(tree).message) == ("ZT035", Severity.ERROR, fact)
    assert ("ZT035", "error") in codes(as_json(tree))
    assert not isinstance(tree.data, dict)


def test_zt035_not_for_an_empty_config() -> None:
    assert parse_hjson("{}", "ds.json").findings == []


def test_zt036_text_without_quotes_takes_the_comma() -> None:
    tree = parse_hjson("{\n  type: AdamW,\n  name: x # mine\n}", "ds.json")

    assert tree.data == {"type": "AdamW,", "name": "x # mine"}
    assert codes(tree) == [("ZT036", "warning"), ("ZT036", "warning")]
    assert as_json(tree).data == {"type": "AdamW", "name": "x"}
    assert parse_hjson("{\n  type: AdamW\n}", "ds.json").findings == []


@pytest.mark.parametrize("placeholder", ["CONFIG_BATCH_SIZE", "${BATCH}", "%(batch)s", "<batch>", "@BATCH@"])
def test_placeholders_are_text_for_deepspeed_and_nothing_for_json(placeholder: str) -> None:
    tree = parse_hjson(f'{{\n  "a": {placeholder},\n  "b": 1\n}}', "ds.json")

    assert tree.data == {"a": f"{placeholder},", "b": 1}
    assert tree.findings == []
    assert codes(as_json(tree)) == [("ZT030", "error")]
    assert as_json(tree).data is None


def test_a_placeholder_that_takes_the_rest_of_its_line_is_refused() -> None:
    tree = parse_hjson('{"a": ${BATCH}, "b": 1}', "ds.json")

    assert only(tree).message == "`${BATCH}` is a placeholder that nothing has filled in"
    assert tree.data is None


def test_zt037_signs_in_a_key() -> None:
    tree = parse_hjson("{“a”: 1}", "ds.json")

    assert tree.data == {"“a”": 1}
    assert codes(tree) == [("ZT037", "warning")]
    assert parse_hjson("{a_b-c.d: 1}", "ds.json").findings == []


def test_windows_line_ends_and_a_byte_order_mark_do_not_shift_places(tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1,\r\n "b": {"c": 2}}\r\n')
    tree = read_config(file)

    assert (tree.data, tree.findings) == ({"a": 1, "b": {"c": 2}}, [])
    assert (shown(tree, "a"), shown(tree, "b.c")) == ("1", "2")
    assert tree.place(("b", "c")).line == 2


def test_files_that_are_not_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_bytes(b'{"a": "\xff"}')

    assert codes(read_config(tmp_path / "ds.json")) == [("ZT002", "error")]
    assert codes(read_config(tmp_path / "no.json")) == [("ZT001", "error")]
    assert codes(as_json(read_config(tmp_path / "no.json"))) == [("ZT001", "error")]


def test_a_config_of_accelerate_is_yaml_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "accelerate.yaml").write_text("deepspeed_config:\n  zero_stage: 2\n")

    assert read_config(tmp_path / "accelerate.yaml").data == {"deepspeed_config": {"zero_stage": 2}}


@pytest.mark.parametrize(
    "text",
    [
        "{" + "," * 30_000,
        "{" + '"a": 1,' * 10_000 + "}",
        "[" + "a," * 10_000 + "{",
        "[" + "'''x'''" * 10_000,
        '"' * 30_000,
        "{" + "{{" * 10_000,
        "/*" * 30_000,
        "{a: " + "${" * 10_000,
        '{"a": 1}' * 10_000,
        "[" + "1" * 30_000,
    ],
)
def test_long_texts_of_one_line_are_read_in_linear_time(text: str) -> None:
    tree = parse_hjson(text, "ds.json")

    assert any(severity == "error" for _, severity in codes(tree))
    assert any(severity in ("error", "warning") for _, severity in codes(as_json(tree)))
