"""A teacher reads the same tokens, or there is nothing to compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import DistillTask, PretrainTask

Prepare = Callable[..., PreparedData]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepares one text, for a student of the teacher in a folder or for a model alone."""
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question " * 40)

    def run(teacher: Path | None = None, tokenizer: dict[str, Any] | None = None, **options: Any) -> PreparedData:
        data = {
            "train": [{"type": "text", "path": str(tmp_path / "*.txt")}],
            "tokenizer": tokenizer or {"type": "bytes"},
            "seq_len": 16,
            "cache": str(tmp_path / "cache"),
        }
        wanted = {"type": "distill", "teacher": {"pretrained": str(teacher)}}
        task = DistillTask.model_validate(wanted) if teacher else PretrainTask()
        return prepare(DataSpec.model_validate(data), task, **options)

    return run


def folder_of(prepared: PreparedData) -> Path:
    assert prepared.tokenizer is not None
    return prepared.tokenizer


def test_the_samples_are_those_of_a_model_alone(prepared: Prepare) -> None:
    alone = prepared()

    assert prepared(folder_of(alone)).train == alone.train


def test_a_teacher_may_know_more_tokens(prepared: Prepare) -> None:
    """As many as a chat model adds to its base's vocabulary."""
    folder = folder_of(prepared())
    wide = folder.parent / "wide"
    wide.mkdir()
    for file in folder.glob("*.json"):
        (wide / file.name).write_text(file.read_text())
    tokenizer = json.loads((wide / "tokenizer.json").read_text())
    added = {**tokenizer["added_tokens"][-1], "id": 257, "content": "<|more|>"}
    tokenizer["added_tokens"].append(added)
    (wide / "tokenizer.json").write_text(json.dumps(tokenizer))

    assert prepared(wide).facts.vocab_size == 257


def test_zt691_a_teacher_with_another_tokenizer(prepared: Prepare) -> None:
    teacher = folder_of(prepared(tokenizer={"type": "bpe", "vocab_size": 270}))

    with pytest.raises(DataError) as refused:
        prepared(teacher)

    (finding,) = refused.value.findings
    assert (finding.code, finding.place.key) == ("ZT691", "data.tokenizer")
    assert " of 257 tokens have another number, or none, for the teacher: `" in finding.message
    assert str(teacher) in str(finding.help)


def test_a_teacher_without_a_tokenizer_is_taken_at_its_word(prepared: Prepare, tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "bare").mkdir()
    prepared(tmp_path / "bare", say=lines.append)

    assert "the teacher has no tokenizer to compare with" in lines
