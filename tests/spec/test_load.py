"""Files, what they extend, and overrides become one spec; every finding knows which of them it is about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import SpecError
from zerotrain.spec.load import COMMAND_LINE, Reading, UnreadSection, load_spec
from zerotrain.spec.training import PrecisionSpec
from zerotrain.units import Duration

Text = Callable[..., str]
Read = Callable[..., Reading]
Caret = Callable[[Diagnostic], str]


def codes(reading: Reading) -> list[str]:
    return [finding.code for finding in reading.findings]


def test_a_file_is_read(tiny: Text, read: Read) -> None:
    reading = read(tiny(precision="bf16", schedule="{type: cosine, warmup: 1 epoch}"))

    assert reading.is_valid
    assert reading.spec is not None
    assert reading.spec.name == "tiny"
    assert reading.spec.precision == PrecisionSpec(dtype="bf16")
    assert reading.spec.schedule.warmup == Duration(1, "epochs")


def test_json_is_read_as_the_same_spec(tiny: Text, read: Read) -> None:
    plain = read(tiny())
    written = json.dumps(plain.tree.data, indent="\t")

    assert read(written, name="run.json").spec == plain.spec
    assert read(json.dumps(plain.tree.data), name="run.json").spec == plain.spec


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: ("%YAML 1.2\n---\n" + text).encode(),
        lambda text: ("# a comment\n\n" + text + "...\n").encode(),
        lambda text: text.replace("seq_len: 32", "seq_len:\t32").encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["bom", "crlf", "cr", "directive", "comment", "tab", "no newline"],
)
def test_what_does_not_belong_to_the_values_changes_nothing(tiny: Text, read: Read, change) -> None:
    assert read(change(tiny())).spec == read(tiny()).spec


def test_a_windows_file_with_a_mark_keeps_its_places(tiny: Text, read: Read, caret: Caret) -> None:
    text = tiny(seed="-5")
    reading = read(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert caret(reading.findings[0]) == "-5"
    assert reading.findings[0].place.line == text[: text.index("seed")].count("\n") + 1


@pytest.mark.parametrize(
    ("text", "code", "gist"),
    [
        ("", "ZT011", "the file is empty"),
        ("# nothing\n", "ZT011", "the file is empty"),
        ("null\n", "ZT011", "the file is empty"),
        ("hello", "ZT011", "not a mapping"),
        ("- name: x\n", "ZT011", "not a mapping"),
        ("name: [", "ZT003", "not valid YAML"),
        (b"name: caf\xe9\n", "ZT002", "byte 0xe9 at offset 9"),
        ("name: x\n".encode("utf-16"), "ZT002", "byte 0xff at offset 0"),
    ],
)
def test_what_is_no_spec_is_one_finding(read: Read, text: str | bytes, code: str, gist: str) -> None:
    reading = read(text)

    assert reading.spec is None
    assert [(f.code, gist in f.message) for f in reading.findings] == [(code, True)]


def test_a_file_that_is_not_there_is_a_finding_with_the_nearest_name(tiny: Text, read: Read, tmp_path: Path) -> None:
    read(tiny(), name="quickstart.yaml")

    with pytest.raises(SpecError) as refused:
        load_spec(tmp_path / "quikstart.yaml")

    (finding,) = refused.value.findings
    assert (finding.code, finding.place.line) == ("ZT001", None)
    assert finding.message == f"cannot read `{tmp_path / 'quikstart.yaml'}`: no such file or directory"
    assert finding.help == f"did you mean `{tmp_path / 'quickstart.yaml'}`?"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(tmp_path)

    assert "is a directory" in refused.value.findings[0].message


@pytest.mark.parametrize("name", ["a" * 300 + ".yaml", "a" * 300 + "/run.yaml"])
def test_a_name_that_no_file_can_have_is_a_finding(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(tmp_path / name)

    assert refused.value.findings[0].code == "ZT001"


def test_all_errors_are_found_at_once(tiny: Text, read: Read) -> None:
    reading = read(tiny(seed="x", horizon="200", batch="{micro_batch_size: 0}", zero="{stag: 2}", optimizer=None))

    assert sorted(codes(reading)) == ["ZT005", "ZT006", "ZT006", "ZT007", "ZT007", "ZT007"]


def test_sections_without_errors_are_there_and_the_others_say_so(tiny: Text, read: Read) -> None:
    spec = read(tiny(batch="{micro_batch_size: 0}", optimizer=None, precision="bf16")).spec

    assert spec is not None
    assert spec.data.seq_len == 32
    assert spec.precision == PrecisionSpec(dtype="bf16")
    for section in (spec.batch, spec.optimizer):
        with pytest.raises(UnreadSection):
            _ = section.lr  # type: ignore[union-attr]


# Extending


def test_a_file_lies_over_what_it_extends(tiny: Text, read: Read) -> None:
    read(tiny(zero="{stage: 2}"), name="base.yaml")
    spec = read("extends: base.yaml\nseed: 7\nbatch: {micro_batch_size: 1}\n").spec

    assert spec is not None
    assert (spec.seed, spec.zero.stage) == (7, 2)
    assert (spec.batch.global_batch_size, spec.batch.micro_batch_size) == (8, 1)


def test_of_several_files_a_later_one_lies_over_an_earlier_one(tiny: Text, read: Read) -> None:
    read(tiny(seed="1"), name="a.yaml")
    read("seed: 2\nname: b\n", name="b.yaml")

    assert read("extends: [a.yaml, b.yaml]\nname: c\n").spec.seed == 2  # type: ignore[union-attr]
    assert read("extends: [b.yaml, a.yaml]\nname: c\n").spec.seed == 1  # type: ignore[union-attr]


def test_paths_of_extends_are_relative_to_the_file_that_names_them(tiny: Text, read: Read, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    read(tiny(seed="3"), name="shared/root.yaml")
    read("extends: root.yaml\nzero: {stage: 1}\n", name="shared/middle.yaml")
    spec = read("extends: shared/middle.yaml\n").spec

    assert spec is not None
    assert (spec.seed, spec.zero.stage) == (3, 1)


def test_two_ways_to_the_same_file_are_no_circle(tiny: Text, read: Read) -> None:
    read(tiny(), name="root.yaml")
    read("extends: root.yaml\nseed: 1\n", name="a.yaml")
    read("extends: root.yaml\nseed: 2\n", name="b.yaml")

    assert read("extends: [a.yaml, b.yaml]\n").is_valid


def test_a_list_replaces_a_list(tiny: Text, read: Read) -> None:
    read(tiny(), name="base.yaml")
    spec = read("extends: base.yaml\ndata: {train: [{type: text, path: x}]}\n").spec

    assert spec is not None
    assert [source.type for source in spec.data.train] == ["text"]
    assert spec.data.seq_len == 32


def test_a_section_of_another_type_replaces_the_whole_section(tiny: Text, read: Read) -> None:
    read(tiny(optimizer="{type: adamw, lr: 1, betas: [0.8, 0.9]}"), name="base.yaml")

    assert read("extends: base.yaml\noptimizer: {type: sgd, lr: 0.1}\n").is_valid
    assert codes(read("extends: base.yaml\noptimizer: {type: sgd}\n")) == ["ZT006"]


@pytest.mark.parametrize(
    ("base", "above", "expected"),
    [
        ("bf16", "{grad_accum_dtype: fp32}", ("bf16", "fp32")),
        ("{dtype: bf16, grad_accum_dtype: bf16}", "fp16", ("fp16", "bf16")),
    ],
)
def test_the_short_form_of_precision_is_extended_like_the_long_one(
    tiny: Text, read: Read, base: str, above: str, expected: tuple[str, str]
) -> None:
    read(tiny(precision=base), name="base.yaml")
    spec = read(f"extends: base.yaml\nprecision: {above}\n").spec

    assert spec is not None
    assert (spec.precision.dtype, spec.precision.grad_accum_dtype) == expected


def test_the_short_form_of_checkpointing_is_extended_like_the_long_one(tiny: Text, read: Read) -> None:
    read(tiny(activation_checkpointing="full"), name="base.yaml")
    spec = read("extends: base.yaml\nactivation_checkpointing: {implementation: deepspeed}\n").spec

    assert spec is not None
    assert spec.activation_checkpointing.granularity == "full"


def test_a_finding_stands_in_the_file_that_is_wrong(tiny: Text, read: Read, caret: Caret) -> None:
    read(tiny(data="{train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: x}"), name="base.yaml")
    reading = read("extends: base.yaml\nbatch: {micro_batch_size: -1}\nnmae: x\n")
    found = {Path(f.place.file or "").name + ":" + caret(f): f.place.line for f in reading.findings}

    assert found == {"base.yaml:x": 3, "run.yaml:-1": 2, "run.yaml:nmae": 3}


def test_a_missing_key_of_a_merged_section_stands_at_the_section_of_the_upper_file(
    tiny: Text, read: Read, caret: Caret
) -> None:
    read(tiny(batch="{micro_batch_size: 2}"), name="base.yaml")
    (finding,) = read("extends: base.yaml\nbatch: {gradient_accumulation_steps: 1}\n").findings

    assert (finding.code, finding.place.key) == ("ZT006", "batch.global_batch_size")
    assert (Path(finding.place.file or "").name, finding.place.line, caret(finding)) == ("run.yaml", 2, "batch")


def test_a_base_that_is_not_there_is_found_where_it_is_named(tiny: Text, read: Read, caret: Caret) -> None:
    read(tiny(), name="base.yaml")
    (finding,) = read("extends: [base.yaml, bass.yaml]\n").findings

    assert (finding.code, finding.place.line, caret(finding)) == ("ZT001", 1, "bass.yaml")


def test_a_base_of_a_base_that_is_not_there_is_found_in_the_middle_file(tiny: Text, read: Read, caret: Caret) -> None:
    read("extends: gone.yaml\n" + tiny(), name="middle.yaml")
    (finding,) = read("extends: middle.yaml\n").findings

    assert (Path(finding.place.file or "").name, caret(finding)) == ("middle.yaml", "gone.yaml")


@pytest.mark.parametrize("name", ["run.yaml", "./run.yaml", "../{folder}/run.yaml"])
def test_a_file_that_extends_itself_is_found_however_it_is_spelt(
    tiny: Text, read: Read, tmp_path: Path, name: str
) -> None:
    reading = read(f"extends: {name.format(folder=tmp_path.name)}\n" + tiny())

    assert codes(reading) == ["ZT009"]


def test_a_circle_of_files_is_named_in_full(tiny: Text, read: Read, caret: Caret) -> None:
    read("extends: [c.yaml]\n" + tiny(), name="b.yaml")
    read("extends: b.yaml\n", name="c.yaml")
    (finding,) = read("extends: b.yaml\n").findings

    assert finding.message == "`extends` leads back to itself: run.yaml -> b.yaml -> c.yaml -> b.yaml"
    assert caret(finding) == "b.yaml"


@pytest.mark.parametrize("value", ["5", "", "{a: b}", "[5]", "true"])
def test_extends_of_something_else_is_a_finding(tiny: Text, read: Read, value: str) -> None:
    assert codes(read(f"extends: {value}\n" + tiny())) == ["ZT007"]


def test_extends_of_nothing_is_nothing(tiny: Text, read: Read) -> None:
    assert read("extends: []\n" + tiny()).is_valid


@pytest.mark.parametrize("value", ['"a\\0b"', "a" * 300 + "/x"])
def test_extends_of_a_path_that_cannot_be_is_a_finding(tiny: Text, read: Read, value: str) -> None:
    assert codes(read(f"extends: {value}\n" + tiny())) == ["ZT001"]


# Overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=7", "seed", 7),
        ("batch.micro_batch_size=2", "batch.micro_batch_size", 2),
        ("optimizer.lr=1e-4", "optimizer.lr", 1e-4),
        ("optimizer.betas=[0.9, 0.95]", "optimizer.betas", (0.9, 0.95)),
        ("optimizer.clip_norm=", "optimizer.clip_norm", None),
        ("optimizer.clip_norm=null", "optimizer.clip_norm", None),
        ("zero.stage=2", "zero.stage", 2),
        ("zero={stage: 3}", "zero.stage", 3),
        ("model.config.num_hidden_layers=1", "model.config", None),
        ("name=other-1", "name", "other-1"),
        (' seed = 7 # "yes"', "seed", 7),
        ("data.train[0].split=all", "data.train", None),
        ("data.train.0.split=all", "data.train", None),
        ("schedule={type: cosine, warmup: 5 steps}", "schedule.type", "cosine"),
        ("launch={type: torchrun}", "launch.type", "torchrun"),
    ],
)
def test_an_override_sets_a_value(tiny: Text, read: Read, override: str, key: str, value: object) -> None:
    reading = read(tiny(), [override])

    assert reading.findings == []
    found: object = reading.spec
    for part in key.split("."):
        found = getattr(found, part)
    if key == "model.config":
        assert found["num_hidden_layers"] == 1  # type: ignore[index]
    elif key == "data.train":
        assert found[0].split == "all"  # type: ignore[index]
    else:
        assert found == value


def test_a_later_override_wins(tiny: Text, read: Read) -> None:
    assert read(tiny(), ["seed=-1", "seed=5"]).spec.seed == 5  # type: ignore[union-attr]


def test_an_override_lies_over_what_the_file_extends(tiny: Text, read: Read) -> None:
    read(tiny(seed="1"), name="base.yaml")

    assert read("extends: base.yaml\n", ["seed=2"]).spec.seed == 2  # type: ignore[union-attr]


def test_an_override_fills_an_empty_section(tiny: Text, read: Read) -> None:
    reading = read(tiny(zero=""), ["zero.stage=2"])

    assert reading.is_valid
    assert reading.spec.zero.stage == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("overrides", "pointed", "line", "column"),
    [
        (["batch.micro_batch_size=x"], "x", 1, 24),
        (["seed=1", "optimizer.lr=-1"], "-1", 2, 14),
        (["data.train[0].split=x"], "x", 1, 21),
        (["zero.stag=2"], "zero.stag", 1, 1),
    ],
)
def test_a_finding_about_an_override_points_into_the_command_line(
    tiny: Text, read: Read, caret: Caret, overrides: list[str], pointed: str, line: int, column: int
) -> None:
    (finding,) = read(tiny(), overrides).findings

    assert (finding.place.file, finding.place.line, finding.place.column) == (COMMAND_LINE, line, column)
    assert caret(finding) == pointed


@pytest.mark.parametrize("override", ["foo.bar=1", "model.conf.x=1", "export.sample.max_new_tokens=5"])
def test_a_section_that_an_override_makes_stands_on_the_command_line(tiny: Text, read: Read, override: str) -> None:
    (finding,) = read(tiny(), [override]).findings

    assert finding.place.file == COMMAND_LINE


@pytest.mark.parametrize(
    "override", ["optimizer={type: adamw, lr: -1}", "data.train=[{type: txt}]", "batch={global_batch_size: 0}"]
)
def test_a_value_inside_an_overridden_section_stands_on_the_command_line(tiny: Text, read: Read, override: str) -> None:
    assert {f.place.file for f in read(tiny(), [override]).findings} == {COMMAND_LINE}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "`seed` is not an override"),
        ("=4", "`=4` is not an override"),
        (".=4", "`.=4` is not an override"),
        ("seed.x=4", "`seed` is not a mapping, so `seed.x` cannot be set"),
        ("data.train.x=4", "`data.train` is not a mapping, so `data.train.x` cannot be set"),
    ],
)
def test_an_override_that_cannot_be_applied_is_a_finding(
    tiny: Text, only: Callable[..., Diagnostic], caret: Caret, override: str, message: str
) -> None:
    finding = only(tiny(seed="1"), [override])

    assert (finding.code, finding.message, finding.place.file) == ("ZT010", message, COMMAND_LINE)
    assert override.startswith(caret(finding))


@pytest.mark.parametrize("override", ["data.train.1={type: python_stdlib}", "data.train[5].split=all"])
def test_an_index_beyond_a_list_is_said_to_be_that(tiny: Text, only: Callable[..., Diagnostic], override: str) -> None:
    assert "not a mapping" not in only(tiny(), [override]).message


def test_an_override_that_is_not_yaml_is_one_finding(tiny: Text, read: Read) -> None:
    assert codes(read(tiny(), ["batch.micro_batch_size=["])) == ["ZT003"]


def test_an_override_that_is_not_yaml_is_not_called_a_file(tiny: Text, read: Read) -> None:
    assert "file" not in read(tiny(), ["seed=["]).findings[0].message


def test_an_override_with_another_digit_in_its_key_is_read(tiny: Text, read: Read) -> None:
    assert read(tiny(), ["model.config.²=1"]).spec is not None


@pytest.mark.parametrize(
    "override", ["precision.grad_accum_dtype=fp32", "activation_checkpointing.implementation=torch"]
)
def test_an_override_goes_into_a_short_form(tiny: Text, read: Read, override: str) -> None:
    assert read(tiny(precision="bf16", activation_checkpointing="full"), [override]).is_valid


def test_overrides_of_a_file_that_cannot_be_read_are_no_further_findings(read: Read) -> None:
    assert codes(read("a: [", ["seed=1"])) == ["ZT003"]
