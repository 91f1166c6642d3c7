"""A fix changes the characters it is about, and nothing else; what is not certain is left alone."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from zerotrain.check.fix import Repair, fix_all
from zerotrain.check.runner import check_reading
from zerotrain.diagnostic import Diagnostic, Fix, Place, Severity
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.hjson import parse_hjson
from zerotrain.spec.load import read_spec
from zerotrain.spec.tree import Tree, parse

RUN = """\
# a run of mine
name: "tiny"   # keep the quotes
model:
  architecture: llama
  config: {hidden_size: 64, num_layers: 2,  num_attention_heads: 4, intermediate_size: 128}
data: {train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 32}
batch: {global_batch_size: 8, micro_batch_size: 4}
horizon: 5 steps
optimizer:
    type: adamw
    "lr":   "1e-3"   # the peak
    'beta': [0.9, '0.95']
schedule: {type: constant}

zero: {stag: 2}
"""
FIXED = """\
# a run of mine
name: "tiny"   # keep the quotes
model:
  architecture: llama
  config: {hidden_size: 64, num_hidden_layers: 2,  num_attention_heads: 4, intermediate_size: 128}
data: {train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 32}
batch: {global_batch_size: 8, micro_batch_size: 4}
horizon: 5 steps
optimizer:
    type: adamw
    "lr":   1e-3   # the peak
    'betas': [0.9, 0.95]
schedule: {type: constant}

zero: {stage: 2}
"""


def repair(file: Path, overrides: Sequence[str] = ()) -> Repair:
    around = Surroundings(file.parent, file.parent)

    def look() -> tuple[list[Diagnostic], Tree]:
        reading = read_spec(file, overrides)
        return check_reading(reading, around), reading.tree

    return fix_all(look)


def after(text: str, *fixes: Fix, name: str = "run.yaml", folder: Path) -> str:
    """Returns a text with fixes in it, whether or not it is a spec."""
    file = folder / name
    file.write_bytes(text.encode())
    found = [Diagnostic("ZT000", "a-test", Severity.ERROR, "x", Place(key=fix.key), fix=fix) for fix in fixes]
    rounds = iter([found])
    fix_all(lambda: (next(rounds, []), parse(file.read_bytes().decode("utf-8-sig"), str(file))))
    return file.read_bytes().decode()


def rename(key: str, name: str) -> Fix:
    return Fix(f"rename to `{name}`", key, name, renames=True)


def put(key: str, value: object) -> Fix:
    return Fix("set it", key, value)


def test_everything_certain_is_fixed_and_the_rest_of_the_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN)
    done = repair(file)

    assert file.read_text() == FIXED
    assert done.findings == []
    assert [str(change).removeprefix(f"{tmp_path}/") for change in done.changes] == [
        "run.yaml:5:29 ZT022: num_layers -> num_hidden_layers",
        'run.yaml:11:13 ZT008: "1e-3" -> 1e-3',
        "run.yaml:12:5 ZT005: beta -> betas",
        "run.yaml:15:8 ZT005: stag -> stage",
        "run.yaml:12:20 ZT008: '0.95' -> 0.95",
    ]


def test_a_second_time_nothing_is_fixed(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(FIXED)

    assert repair(file) == Repair([], [])
    assert file.read_text() == FIXED


def test_what_cannot_be_fixed_remains(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN.replace("horizon: 5 steps", "horizon: 5"))
    done = repair(file)

    assert [finding.code for finding in done.findings] == ["ZT007"]
    assert file.read_text() == FIXED.replace("horizon: 5 steps", "horizon: 5")


def test_only_chosen_findings_are_fixed(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN)

    def look() -> tuple[Sequence[Diagnostic], Tree]:
        reading = read_spec(file)
        return reading.findings, reading.tree

    fix_all(look, lambda found: [finding for finding in found if finding.code == "ZT008"])

    assert "stag: 2" in file.read_text()
    assert '"lr":   1e-3   # the peak' in file.read_text()


def test_a_fix_goes_into_the_file_where_the_key_stands(tmp_path: Path) -> None:
    base, file = tmp_path / "base.yaml", tmp_path / "run.yaml"
    base.write_text(RUN)
    file.write_text("extends: base.yaml\nseed: '7'\n")
    done = repair(file)

    assert base.read_text() == FIXED
    assert file.read_text() == "extends: base.yaml\nseed: 7\n"
    assert {change.place.file for change in done.changes} == {str(base), str(file)}


def test_an_override_on_the_command_line_is_not_fixed(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(FIXED)
    done = repair(file, ["zero.stag=3", "seed='7'"])

    assert file.read_text() == FIXED
    assert {finding.code for finding in done.findings} >= {"ZT005", "ZT008"}


def test_line_ends_a_byte_order_mark_and_rights_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + RUN.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    repair(file)

    assert file.read_bytes() == b"\xef\xbb\xbf" + FIXED.replace("\n", "\r\n").encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "run.yaml").write_text(RUN)
    (tmp_path / "run.yaml").symlink_to("real/run.yaml")
    repair(tmp_path / "run.yaml")

    assert (tmp_path / "run.yaml").is_symlink()
    assert (tmp_path / "real" / "run.yaml").read_text() == FIXED


def test_zt042_a_read_only_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN)
    file.chmod(0o444)
    done = repair(file)
    refused = done.findings[-1]

    assert (done.changes, file.read_text()) == ([], RUN)
    assert (refused.code, refused.name, refused.place.file) == ("ZT042", "unfixable-file", str(file))
    assert refused.message == f"cannot write `{file}`: permission denied"


def test_zt042_is_silent_about_a_read_only_file_in_which_nothing_is_to_be_fixed(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(FIXED)
    file.chmod(0o444)

    assert repair(file).findings == []


@pytest.mark.parametrize(
    ("text", "fix", "expected"),
    [
        ("a: 1 # b\n", put("a", 2), "a: 2 # b\n"),
        ("a: x\n", put("a", "bf16"), "a: bf16\n"),
        ("a: 'x'\n", put("a", "bf16"), 'a: "bf16"\n'),
        ("a: x\n", put("a", "no: yes"), 'a: "no: yes"\n'),
        ("a: x\n", put("a", "null"), 'a: "null"\n'),
        ("a: yes\n", put("a", True), "a: true\n"),
        ("a: [1, 2]\n", put("a[1]", 3), "a: [1, 3]\n"),
        ("a: {b: 1}\n", put("a", {"c": [1]}), 'a: {"c": [1]}\n'),
        ("a: 1\n", put("a", None), "a: null\n"),
        ("a: '0x10'\n", put("a", 16), "a: 0x10\n"),
        ("a: {b.c: 1}\n", put("a.b.c", 2), "a: {b.c: 2}\n"),
        ("{a: 1, b: 2}\n", rename("a", "c"), "{c: 1, b: 2}\n"),
        ("? a\n: 1\n", rename("a", "b"), "? b\n: 1\n"),
        ("é: {ü: 1} # ß\n", rename("é.ü", "o"), "é: {o: 1} # ß\n"),
    ],
)
def test_the_characters_of_yaml(tmp_path: Path, text: str, fix: Fix, expected: str) -> None:
    assert after(text, fix, folder=tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "fix", "expected"),
    [
        ('{"a": "1e-4"}', put("a", 1e-4), '{"a": 1e-4}'),
        ('{"a": ".5"}', put("a", 0.5), '{"a": 0.5}'),
        ('{"a": "0x10"}', put("a", 16), '{"a": 16}'),
        ('{"a": x}', put("a", "bf16"), '{"a": "bf16"}'),
        ('{\t"a":\t1}', rename("a", "b"), '{\t"b":\t1}'),
        ('{"a": true}', put("a", False), '{"a": false}'),
    ],
)
def test_the_characters_of_json(tmp_path: Path, text: str, fix: Fix, expected: str) -> None:
    assert after(text, fix, name="ds.json", folder=tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "fixes"),
    [
        ("a: 1\n", [put("a", 2), put("a", 3)]),
        ("a: 1\n", [rename("a", "b"), rename("a", "c")]),
        ("a: 1\n", [rename("a", "b"), put("a", 3)]),
        ("a: 1\nb: 2\n", [rename("a", "c"), rename("b", "c")]),
        ("a: 1\nb: 2\n", [rename("a", "b")]),
        ("x: &x {a: 1}\ny: *x\n", [rename("y.a", "b")]),
        ("x: &x {a: 1}\ny: {<<: *x}\n", [put("y.a", 2)]),
        ("a:\n  b: 1\n", [put("a", 2)]),
        ("a: |\n  text\n", [put("a", "b")]),
        ("a:\nb: 1\n", [put("a", 2)]),
        ("a: 1\n", [put("a", float("nan"))]),
        ("a: 1\n", [put("z", 2)]),
        ("a: [1]\n", [rename("a[0]", "b")]),
        ("a: 1\n", [rename("a", "x: y")]),
    ],
)
def test_what_is_not_certain_is_left_alone(tmp_path: Path, text: str, fixes: list[Fix]) -> None:
    assert after(text, *fixes, folder=tmp_path) == text or fixes[0].value == "x: y"


@pytest.mark.parametrize(
    ("text", "fix", "expected"),
    [
        ("{ // mine\n  a: x\n  b: 2, }", put("a", "y"), '{ // mine\n  a: "y"\n  b: 2, }'),
        ("{\r\n  a: 1 # one\r\n}", put("a", 2), "{\r\n  a: 2 # one\r\n}"),
        ('{"zero_optimisation": {"stage": 3}}', rename("zero_optimisation", "zero_optimization"), None),
        ('{"é\\u00e9": 1, "b": "1e-4"}', put("b", 1e-4), '{"é\\u00e9": 1, "b": 1e-4}'),
    ],
)
def test_the_characters_of_hjson(tmp_path: Path, text: str, fix: Fix, expected: str | None) -> None:
    file = tmp_path / "ds.hjson"
    file.write_bytes(text.encode())
    rounds = iter([[Diagnostic("ZT000", "a-test", Severity.ERROR, "x", fix=fix)]])
    fix_all(lambda: (next(rounds, []), parse_hjson(text, str(file))), read=parse_hjson)

    assert file.read_bytes().decode() == (expected or text.replace("isation", "ization"))


def test_a_name_that_must_be_quoted_is_quoted(tmp_path: Path) -> None:
    assert after("a: 1\n", rename("a", "x: y"), folder=tmp_path) == '"x: y": 1\n'


def test_the_same_fix_twice_is_made_once(tmp_path: Path) -> None:
    assert after("a: 1\nb: 2\n", rename("a", "c"), rename("a", "c"), put("b", 3), folder=tmp_path) == "c: 1\nb: 3\n"


def test_a_section_and_a_key_in_it_are_both_renamed(tmp_path: Path) -> None:
    assert after("a: {b: 1}\n", rename("a", "c"), rename("a.b", "d"), folder=tmp_path) == "c: {d: 1}\n"


def test_a_short_form_is_set(tmp_path: Path, write: Callable[..., Path]) -> None:
    file = write(precision="bf61  # short")
    reading = read_spec(file)
    wrong = Diagnostic("ZT000", "a-test", Severity.ERROR, "x", fix=put("precision.dtype", "bf16"))
    rounds = iter([[wrong]])
    fix_all(lambda: (next(rounds, []), reading.tree))

    assert "precision: bf16  # short\n" in file.read_text()


def test_two_fixes_that_undo_each_other_come_to_an_end(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("a: 1\n")

    def look() -> tuple[list[Diagnostic], Tree]:
        tree = parse(file.read_text(), str(file))
        fix = put("a", 2 if tree.data == {"a": 1} else 1)
        return [Diagnostic("ZT000", "a-test", Severity.ERROR, "x", fix=fix)], tree

    assert len(fix_all(look).changes) == 10
