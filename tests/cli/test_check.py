"""`zerotrain check`: every finding, in every format, and the exit code that goes with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import main

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_the_directory_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_clean_spec_ends_with_0(write: Write, capsys: Capture) -> None:
    write()

    assert main(["check", "spec.yaml"]) == 0
    assert capsys.readouterr() == ("spec.yaml: no findings\n", "")


def test_an_error_ends_with_1_and_is_shown_with_its_line(write: Write, capsys: Capture) -> None:
    write({"optimizer.lr": -1})

    assert main(["check", "spec.yaml"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "error[ZT007] invalid-value\n" in out
    assert "lr: -1\n" in out
    assert "^^\n  = `optimizer.lr` is `-1`, expected a number greater than 0\n" in out
    assert out.endswith("\nspec.yaml: 1 error\n")


def test_a_warning_alone_ends_with_0(write: Write, capsys: Capture) -> None:
    write({"optimizer.lr": 3.0})

    assert main(["check", "spec.yaml"]) == 0
    assert capsys.readouterr().out.endswith("\nspec.yaml: 1 warning\n")


def test_a_file_that_cannot_be_read_ends_with_2(write: Write, capsys: Capture) -> None:
    write()

    assert main(["check", "spec.yml"]) == 2
    assert "did you mean `spec.yaml`?" in capsys.readouterr().out
    Path("latin.yaml").write_bytes(b"name: caf\xe9\n")
    assert main(["check", "latin.yaml"]) == 2
    assert main(["check", "."]) == 2
    assert main(["check", "spec.yaml", "spec.yml"]) == 2


def test_a_base_that_cannot_be_read_ends_with_2(write: Write) -> None:
    text = write().read_text()
    Path("spec.yaml").write_text("extends: gone.yaml\n" + text)

    assert main(["check", "spec.yaml"]) == 2


def test_a_file_that_is_no_yaml_ends_with_1() -> None:
    Path("broken.yaml").write_text("a: [")

    assert main(["check", "broken.yaml"]) == 1


def test_overrides_without_a_spec_end_with_2(capsys: Capture) -> None:
    assert main(["check", "seed=5"]) == 2
    assert "no SPEC is given" in capsys.readouterr().err


def test_several_specs_are_checked_with_the_same_overrides(write: Write, capsys: Capture) -> None:
    write({"name": "a"}).rename("a.yaml")
    write({"name": "b"}).rename("b.yaml")

    assert main(["check", "a.yaml", "b.yaml", "seed=-1"]) == 1
    assert capsys.readouterr().out.endswith("a.yaml, b.yaml: 2 errors\n")


def test_the_json_is_the_contract_s(write: Write, capsys: Capture) -> None:
    write({"batch.global_batch_size": 3})

    assert main(["check", "--format", "json", "spec.yaml"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    content = json.loads(out)
    (finding,) = content.pop("findings")
    assert content == {"version": 1}
    assert finding == {
        "code": "ZT101",
        "name": "indivisible-global-batch",
        "severity": "error",
        "message": "3 is not a multiple of 4 (2 per rank x 2 data-parallel ranks)",
        "file": "spec.yaml",
        "line": 2,
        "column": 22,
        "key": "batch.global_batch_size",
        "help": "use 4, or a smaller micro-batch",
        "fix": None,
    }


def test_the_json_of_a_fix(write: Write, capsys: Capture) -> None:
    write({"zero.stag": 2})
    main(["check", "--format", "json", "spec.yaml"])
    (finding,) = json.loads(capsys.readouterr().out)["findings"]

    assert finding["fix"] == {"title": "rename to `stage`", "key": "zero.stag", "value": "stage", "renames": True}


@pytest.mark.parametrize("name", ["json", "concise", "github"])
def test_formats_for_tools_have_nothing_else_in_them(write: Write, capsys: Capture, name: str) -> None:
    write()
    main(["check", "--format", name, "spec.yaml"])
    clean = capsys.readouterr().out
    write({"optimizer.lr": -1})
    main(["check", "--format", name, "spec.yaml"])
    lines = capsys.readouterr().out.splitlines()

    assert clean == ('{\n  "version": 1,\n  "findings": []\n}\n' if name == "json" else "")
    if name != "json":
        assert len(lines) == 1
        assert lines[0].startswith("spec.yaml:" if name == "concise" else "::error file=spec.yaml,line=")


@pytest.mark.parametrize(
    ("words", "codes", "code"),
    [
        ([], ["ZT007", "ZT105", "ZT301"], 1),
        (["--select", "ZT1"], ["ZT105"], 0),
        (["--select", "ZT1", "--select", "ZT3"], ["ZT105", "ZT301"], 0),
        (["--ignore", "ZT0"], ["ZT105", "ZT301"], 0),
        (["--select", "ZT1", "--ignore", "ZT105"], [], 0),
        (["--select", "ZT007"], ["ZT007"], 1),
    ],
)
def test_findings_are_selected_and_ignored(
    write: Write, capsys: Capture, words: list[str], codes: list[str], code: int
) -> None:
    write({"seed": -1, "optimizer.lr": 3.0, "zero": {"stage": 1, "offload_param": {"device": "cpu"}}})

    assert main(["check", "spec.yaml", "--format", "json", *words]) == code
    assert sorted(finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]) == codes


@pytest.mark.parametrize("words", [["--select", "ZT3"], ["--ignore", "ZT0"]])
def test_a_file_that_cannot_be_read_ends_with_2_whatever_is_selected(words: list[str]) -> None:
    assert main(["check", "gone.yaml", *words]) == 2


@pytest.mark.parametrize("words", [["--select", "zt0"], ["--select", "ZT0,ZT1"]])
def test_a_selection_is_understood_in_any_case_and_with_commas(write: Write, words: list[str]) -> None:
    write({"seed": -1})

    assert main(["check", "spec.yaml", *words]) == 1


@pytest.mark.parametrize("word", ["ZT5x", "batch", "E501"])
def test_a_selection_of_nothing_is_refused(write: Write, word: str) -> None:
    write({"seed": -1})
    try:
        code = main(["check", "spec.yaml", "--select", word])
    except SystemExit as ended:
        code = int(ended.code or 0)

    assert code == 2


def test_a_world_size_is_checked(write: Write, capsys: Capture) -> None:
    write()

    assert main(["check", "spec.yaml", "--world-size", "1"]) == 0
    assert main(["check", "spec.yaml", "--world-size", "8"]) == 1
    assert "4 is not a multiple of 16 (2 per rank x 8 data-parallel ranks)" in capsys.readouterr().out


def test_a_world_size_of_a_launcher_for_one_machine_stays_on_it(write: Write, capsys: Capture) -> None:
    # `train --world-size 4` on a spec for 2 ranks of this machine says that they are on two machines.
    write({"batch.global_batch_size": 16})

    assert main(["check", "spec.yaml", "--world-size", "4"]) == 0


def test_nothing_is_written(write: Write, tmp_path: Path) -> None:
    write()
    main(["check", "spec.yaml"])

    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_data_is_prepared_and_shown(write: Write, capsys: Capture) -> None:
    write()

    assert main(["check", "spec.yaml", "--data"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("spec.yaml: no findings\nspec.yaml: training: ")
    assert out.count("of training:\n") == 3
    assert "⟦" in out


def test_what_is_wrong_with_data_is_shown_at_its_place(write: Write, capsys: Capture) -> None:
    Path("a.jsonl").write_text('{"review": "good"}\n')
    write({"data.train": [{"type": "jsonl", "path": "a.jsonl", "columns": {"text": "reveiw"}}]})

    assert main(["check", "spec.yaml", "--data"]) == 1
    out = capsys.readouterr().out
    assert "error[ZT632] unknown-column" in out
    assert "did you mean `review`?" in out
    assert "spec.yaml:" in out
    assert "ZT613" not in out


def test_json_has_findings_about_data_and_no_samples(write: Write, capsys: Capture) -> None:
    write()

    assert main(["check", "spec.yaml", "--data", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 1, "findings": []}
