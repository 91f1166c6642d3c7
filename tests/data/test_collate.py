"""Samples as tensors."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from zerotrain.data.collate import collate
from zerotrain.data.prepare import prepare
from zerotrain.data.store import SampleStore
from zerotrain.spec.model import DataSpec


def opened(cache: Path) -> SampleStore:
    train = [{"type": "python_stdlib", "max_documents": 5}]
    fields = {"train": train, "tokenizer": {"type": "bytes"}, "seq_len": 32, "cache": str(cache)}
    return SampleStore.open(prepare(DataSpec.model_validate(fields)).train)


def test_a_batch_is_the_samples_as_int64_tensors(tmp_path: Path):
    store = opened(tmp_path)
    batch = collate(store, np.array([4, 1]), rows=2)

    for field in fields(batch):
        tensor = getattr(batch, field.name)
        assert tensor.dtype == torch.int64
        assert tensor.shape == (2, 32)
        assert tensor.is_contiguous()
        assert tensor[1].tolist() == getattr(store.sample(1), field.name).tolist()


def test_rows_without_a_sample_have_nothing_to_predict(tmp_path: Path):
    batch = collate(opened(tmp_path), np.array([0]), rows=3)

    assert batch.labels[1:].eq(-100).all()
    assert not batch.labels[0].eq(-100).all()


def test_a_batch_moves_as_a_whole(tmp_path: Path):
    batch = collate(opened(tmp_path), np.array([0]), rows=1).to("meta")

    assert {getattr(batch, field.name).device.type for field in fields(batch)} == {"meta"}
