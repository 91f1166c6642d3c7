"""Files and overrides are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.cli.arguments import specs_and_overrides


@pytest.mark.parametrize(
    ("words", "files", "overrides"),
    [
        (["a.yaml"], ["a.yaml"], []),
        (["a.yaml", "b.yaml", "seed=1", "zero.stage=2"], ["a.yaml", "b.yaml"], ["seed=1", "zero.stage=2"]),
        (["seed=1"], [], ["seed=1"]),
        (["seed=1", "a.yaml"], ["a.yaml"], ["seed=1"]),
        (["optimizer={type: sgd, lr: 1}", "a"], ["a"], ["optimizer={type: sgd, lr: 1}"]),
        ([], [], []),
    ],
)
def test_an_override_has_an_equals_sign(words: list[str], files: list[str], overrides: list[str]) -> None:
    assert specs_and_overrides(words) == (files, overrides)


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "lr=3.yaml"
    file.touch()

    assert specs_and_overrides([str(file), "lr=3"]) == ([str(file)], ["lr=3"])


def test_a_long_override_is_an_override() -> None:
    word = f"export.sample.prompts=[{'a' * 400}]"

    assert specs_and_overrides([word]) == ([], [word])
