"""`zerotrain lint`: findings about DeepSpeed configs of anyone's, and `--fix` for it and for `check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import main

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_clean_config_ends_with_0(capsys: Capture) -> None:
    Path("ds.json").write_text('{"train_batch_size": 8, "gradient_clipping": 1.0}\n')

    assert main(["lint", "ds.json"]) == 0
    assert capsys.readouterr() == ("ds.json: no findings\n", "")


def test_a_config_that_cannot_be_read_ends_with_2() -> None:
    assert main(["lint", "gone.json"]) == 2


def test_a_config_that_deepspeed_refuses_ends_with_1(capsys: Capture) -> None:
    Path("ds.json").write_text('{"train_batch_size": 8, "zero_optimization": {"stage": 7}}\n')

    assert main(["lint", "ds.json", "--format", "concise"]) == 1
    assert "ds.json:1:" in capsys.readouterr().out


def test_a_finding_is_silenced_where_it_stands(capsys: Capture) -> None:
    Path("ds.json").write_text('{"train_batch_size": 8, # zerotrain: ignore[ZT101]\n"steps_per_print": 1}')
    main(["lint", "ds.json", "--format", "json", "--select", "ZT04"])

    assert [f["code"] for f in json.loads(capsys.readouterr().out)["findings"]] == ["ZT040"]


def test_a_model_with_moe_layers_is_said_on_the_command_line(capsys: Capture) -> None:
    Path("ds.json").write_text('{"train_batch_size": 8, "zero_optimization": {"stage": 3}}')

    assert [main(["lint", "ds.json", *words, "--select", "ZT961"]) for words in ([], ["--model", "moe-layers"])] == [
        0,
        1,
    ]
    assert "ZT961" in capsys.readouterr().out


def test_sarif_is_written_for_code_scanning(capsys: Capture) -> None:
    Path("ds.json").write_text('{"train_batch_size": 8, "zero_optimization": {"stage": 7}}\n')
    main(["lint", "ds.json", "--format", "sarif"])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]}

    assert uris == {"ds.json"}


@pytest.mark.parametrize(
    "words", [["--for", "nobody"], ["--deepspeed", "9.9"], ["--gpu", "abacus"], ["--model", "big"], []]
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lint", *words, *(["ds.json"] if words else [])])

    assert ended.value.code == 2


def test_fix_changes_the_spec_tells_what_and_shows_what_remains(write: Write, capsys: Capture) -> None:
    file = write({"zero.stag": 2, "optimizer.lr": 3.0})
    lines = file.read_text().splitlines()
    number = next(number for number, line in enumerate(lines, start=1) if "stag:" in line)

    assert main(["check", "--fix", "spec.yaml"]) == 0
    out, err = capsys.readouterr()
    assert err == f"fixed spec.yaml:{number}:3 ZT005: stag -> stage\n"
    assert out.endswith("\nspec.yaml: 1 warning\n")
    assert file.read_text() == "\n".join(lines).replace("stag:", "stage:") + "\n"


def test_without_fix_nothing_is_changed(write: Write) -> None:
    before = write({"zero.stag": 2}).read_text()

    assert main(["check", "spec.yaml"]) == 1
    assert Path("spec.yaml").read_text() == before


def test_only_selected_findings_are_fixed(write: Write) -> None:
    before = write({"zero.stag": 2}).read_text()
    main(["check", "--fix", "--ignore", "ZT005", "spec.yaml"])

    assert Path("spec.yaml").read_text() == before


def test_fix_of_several_specs_with_a_common_base_is_made_once(write: Write, capsys: Capture) -> None:
    write({"zero.stag": 2}).rename("base.yaml")
    Path("a.yaml").write_text("extends: base.yaml\n")
    Path("b.yaml").write_text("extends: base.yaml\n")

    assert main(["check", "--fix", "a.yaml", "b.yaml"]) == 0
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_fix_of_a_config_without_anything_certain_changes_nothing(capsys: Capture) -> None:
    text = '{"train_batch_size": 8, // mine\n "zero_optimization": {"stage": 7}}\n'
    Path("ds.json").write_text(text)

    assert main(["lint", "--fix", "ds.json"]) == 1
    assert (Path("ds.json").read_text(), capsys.readouterr().err) == (text, "")
