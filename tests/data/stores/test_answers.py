"""Samples of dialogues: what is trained of them, and what becomes of those that are too long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.data.stores.base import IGNORED
from zerotrain.data.stores.packed import SampleStore
from zerotrain.data.stores.pairs import PairStore
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import DpoTask, SftTask, TaskSpec

END = 258
RECORDS = [{"prompt": "p" * size, "completion": "c" * (size % 7 + 1)} for size in range(1, 30)]
PAIRS = [{"prompt": "pp", "chosen": "yes", "rejected": "n"}, {"prompt": "q", "chosen": "a", "rejected": "bbbbbbbbb"}]


def made(folder: Path, records: list[dict[str, Any]], task: TaskSpec, **fields: Any) -> tuple[PreparedData, list[str]]:
    (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    train, lines = [{"type": "jsonl", "path": str(folder / "data.jsonl")}], list[str]()
    data = {"train": train, "tokenizer": {"type": "bytes"}, "cache": str(folder / "cache"), "seq_len": 64, **fields}
    return prepare(DataSpec.model_validate(data), task, say=lines.append), lines


def sft(**fields: Any) -> SftTask:
    return SftTask(type="sft", **fields)


@pytest.mark.parametrize("packing", ["isolated", "none"])
def test_every_answer_is_predicted_once_and_counted(tmp_path: Path, packing: str) -> None:
    prepared, _ = made(tmp_path, RECORDS, sft(), packing=packing)
    store = SampleStore.open(prepared.train)
    everything = np.arange(len(store))
    arrays = store.batch(everything, everything, len(store) + 1)
    labels, inputs = arrays["labels"], arrays["segment_ids"] >= 0

    answers = sorted(len(record["completion"]) + 1 for record in RECORDS)
    assert (labels != IGNORED).sum() == sum(answers)
    assert (labels == END).sum() == len(RECORDS)
    assert set(labels[labels != IGNORED].tolist()) == {ord("c"), END}
    assert (labels[~inputs] == IGNORED).all()
    counts = store.counts(everything, everything)
    assert (counts.targets, counts.tokens) == (sum(answers), inputs.sum())
    assert counts.targets == sum(store.counts(np.array([one]), np.array([one])).targets for one in everything)
    for one in everything:
        assert store.counts(np.array([one]), np.array([one])).targets == (labels[one] != IGNORED).sum()
    assert prepared.facts.train_tokens == inputs.sum()


def test_with_all_every_input_predicts_something(tmp_path: Path) -> None:
    prepared, _ = made(tmp_path, RECORDS, sft(train_on="all"))
    store = SampleStore.open(prepared.train)
    sample = store.samples(np.arange(len(store)))

    assert ((sample.labels != IGNORED) == (sample.segment_ids >= 0)).all()


def test_a_record_as_long_as_a_sample_is_whole(tmp_path: Path) -> None:
    """Its last token is predicted, and never an input."""
    prepared, _ = made(tmp_path, [{"prompt": "p" * 60, "completion": "cccc"}], sft(too_long="refuse"), seq_len=64)
    sample = SampleStore.open(prepared.train).sample(0)

    assert sample.labels.tolist()[-5:] == [*b"cccc", END]


def test_too_long_records_are_left_out_and_counted(tmp_path: Path) -> None:
    prepared, lines = made(tmp_path, RECORDS, sft(), seq_len=20)

    assert prepared.facts.skipped == 13
    left_out = next(line for line in lines if "ZT656" in line)
    assert left_out.startswith("warning ZT656 overlong-record: 13 records of `data.train` left out: ")
    assert "data.jsonl:17` has 22 tokens, more than 21" in left_out


def test_too_long_records_are_cut_and_counted(tmp_path: Path) -> None:
    records = [{"prompt": "p" * 5, "completion": "c" * size} for size in (3, 50)]
    prepared, lines = made(tmp_path, records, sft(too_long="cut"), seq_len=20, packing="none")
    labels = SampleStore.open(prepared.train).samples([0, 1]).labels

    assert labels[1].tolist() == [IGNORED] * 4 + [ord("c")] * 16
    assert "1 sequence of `data.train` was cut to 21 tokens" in lines


def test_too_long_records_can_be_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        made(tmp_path, RECORDS, sft(too_long="refuse"), seq_len=20)

    assert [finding.code for finding in refused.value.findings] == ["ZT656"]


def test_a_cut_that_leaves_no_answer_is_a_fault(tmp_path: Path) -> None:
    records = [*RECORDS[:3], {"prompt": "p" * 40, "completion": "c"}]
    with pytest.raises(DataError, match=r"ZT657 untrained-record: 1 record .* no answer in the first 21 of its 42"):
        made(tmp_path, records, sft(too_long="cut"), seq_len=20)

    prepared, _ = made(tmp_path, records, sft(too_long="cut"), seq_len=20, bad_samples="skip")
    assert prepared.facts.skipped == 1


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ZT603 empty-data: no record of `data.train` is left"):
        made(tmp_path, RECORDS[5:], sft(), seq_len=4)


def test_other_treatment_is_other_data(tmp_path: Path) -> None:
    prints = [
        made(tmp_path, RECORDS, task)[0].facts.fingerprint for task in (sft(), sft(train_on="all"), sft(too_long="cut"))
    ]

    assert len(set(prints)) == 3
    assert made(tmp_path, RECORDS, sft())[1][0].startswith("reusing")


def test_a_pair_is_two_sequences_side_by_side(tmp_path: Path) -> None:
    prepared, _ = made(tmp_path, PAIRS, DpoTask(type="dpo"))
    store = PairStore.open(prepared.train)
    batch = store.batch(np.array([1, 0]), np.array([0, 1]), 3)

    assert len(store) == 2
    assert batch["input_ids"].shape == (3, 2, 16)
    assert batch["input_ids"][1, 0, :6].tolist() == [*b"ppyes", END]
    assert batch["labels"][1, 0, :7].tolist() == [IGNORED, *b"yes", END, IGNORED, IGNORED]
    assert batch["labels"][1, 1, :4].tolist() == [IGNORED, *b"n", END, IGNORED]
    assert batch["attention_mask"].sum(-1).tolist() == [[3, 11], [6, 4], [1, 1]]
    assert batch["sample"].tolist() == [1, 0, -1]
    assert (batch["labels"][2] == IGNORED).all()
    counts = store.counts(np.array([0, 1]), np.array([0, 1]))
    assert (counts.targets, counts.tokens) == (2, 24)
    assert (prepared.facts.train_samples, prepared.facts.train_tokens) == (2, 24)


def test_a_pair_is_left_out_when_one_answer_is_too_long(tmp_path: Path) -> None:
    prepared, _ = made(tmp_path, PAIRS, DpoTask(type="dpo"), seq_len=10)

    assert (prepared.facts.train_samples, prepared.facts.skipped) == (1, 1)


def test_damaged_pairs_are_said_to_be(tmp_path: Path) -> None:
    prepared, _ = made(tmp_path, PAIRS, DpoTask(type="dpo"))
    (prepared.train / "trained.bin").unlink()

    with pytest.raises(DataError, match="ZT608"):
        PairStore.open(prepared.train)
