"""Samples as a person reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.data.show import BRACKETS, counts, first_samples
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import SequenceClassificationTask


def prepared(folder: Path, text: str, task: Any = None, **fields: Any) -> PreparedData:
    (folder / "a.jsonl").write_text(text)
    train = [{"type": "jsonl", "path": str(folder / "a.jsonl")}]
    common = {"train": train, "tokenizer": {"type": "bytes"}, "seq_len": 64, "cache": str(folder / "cache")}
    data = DataSpec.model_validate({**common, **fields})
    return prepare(data, task) if task else prepare(data)


def test_trained_tokens_are_marked_in_each_document(tmp_path: Path):
    data = prepared(tmp_path, '{"text": "one"}\n{"text": "two"}\n')

    (sample,) = first_samples(data, 1, 3, BRACKETS)

    assert sorted(sample.split("\n")) == ["o⟦ne<|endoftext|>⟧", "t⟦wo<|endoftext|>⟧"]
    assert counts(data) == "training: 1 samples, 6 tokens; 0 records skipped"


def test_a_row_has_its_text_and_the_name_of_its_class(tmp_path: Path):
    task = SequenceClassificationTask(type="sequence_classification")
    data = prepared(tmp_path, '{"text": "fine", "label": "good"}\n{"text": "fine", "label": "good"}\n', task)

    assert all(text.endswith(" → ⟦good⟧") and "fine" in text for text in first_samples(data, 1, 2, BRACKETS))


def test_a_mixture_is_shown_as_its_parts(tmp_path: Path):
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n')
    train = [{"type": "jsonl", "path": str(tmp_path / f"{name}.jsonl"), "weight": 1} for name in "ab"]
    data = prepared(tmp_path, '{"text": "one"}\n', train=train)

    assert set(first_samples(data, 1, 2, BRACKETS)) == {"o⟦ne<|endoftext|>⟧", "t⟦wo<|endoftext|>⟧"}


def test_what_a_terminal_would_obey_is_not_passed_on(tmp_path: Path):
    data = prepared(tmp_path, '{"text": "a\\u001b[31mb"}\n' + '{"text": "' + "c" * 900 + '"}\n', seq_len=1000)
    (sample,) = first_samples(data, 1, 1, BRACKETS)

    assert "a⟦·[31mb" in sample
    assert sample.endswith("⟧ …")
    assert len(sample) < 610
