"""What the README shows is what a user gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GOOD, WRONG = re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns what a user reads who checks a spec."""
    monkeypatch.chdir(tmp_path)

    def read(name: str, text: str) -> str:
        Path(name).write_text(text)
        main(["check", name])
        return f"$ zerotrain check {name}\n{capsys.readouterr().out}"

    return read


def test_the_first_spec_has_about_twenty_lines_and_nothing_wrong(check: Callable[..., str]) -> None:
    assert len(GOOD.splitlines()) <= 20
    assert "small.yaml: no findings" in check("small.yaml", GOOD)


def test_what_is_said_about_the_wrong_one_is_what_the_check_says(check: Callable[..., str]) -> None:
    assert f"```\n{check('wrong.yaml', WRONG)}```" in README


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https:)([^)]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []
