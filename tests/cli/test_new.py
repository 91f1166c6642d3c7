"""`zerotrain new`: a commented spec that is clean as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.cli.main import main
from zerotrain.cli.new import STORIES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("story", sorted(path.stem for path in STORIES.glob("*.yaml")))
def test_every_story_is_clean_and_compiles(capsys: Capture, story: str) -> None:
    assert main(["new", story, "-o", "run.yaml"]) == 0
    assert capsys.readouterr().out == "wrote `run.yaml`; check it with `zerotrain check run.yaml`\n"
    assert main(["check", "run.yaml"]) == 0
    assert capsys.readouterr().out == "run.yaml: no findings\n"
    assert main(["compile", "run.yaml"]) == 0


def test_without_a_file_the_story_is_shown(capsys: Capture) -> None:
    assert main(["new"]) == 0
    assert capsys.readouterr().out == (STORIES / "pretrain.yaml").read_text()
    assert list(Path().iterdir()) == []


def test_a_file_is_never_written_over(capsys: Capture) -> None:
    Path("run.yaml").write_text("mine")

    assert main(["new", "-o", "run.yaml"]) == 2
    assert "cannot write `run.yaml`: file exists" in capsys.readouterr().err
    assert Path("run.yaml").read_text() == "mine"


@pytest.mark.parametrize("target", ["gone/run.yaml", "."])
def test_a_file_that_cannot_be_written_ends_with_2(capsys: Capture, target: str) -> None:
    assert main(["new", "-o", target]) == 2
    assert f"cannot write `{target}`" in capsys.readouterr().err


@pytest.mark.parametrize("story", ["sft", "", "../main", "pretrain.yaml", "/etc/passwd"])
def test_a_story_that_does_not_exist_ends_with_2(capsys: Capture, story: str) -> None:
    assert main(["new", story]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert f"there is no story `{story}`; known: pretrain" in err
