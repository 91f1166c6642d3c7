"""Samples as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from zerotrain.data.batch import Batch
from zerotrain.data.prepare import prepare
from zerotrain.data.stores.packed import SampleStore
from zerotrain.spec.data import DataSpec


def opened(cache: Path) -> SampleStore:
    train = [{"type": "python_stdlib", "max_documents": 5}]
    fields = {"train": train, "tokenizer": {"type": "bytes"}, "seq_len": 32, "cache": str(cache)}
    return SampleStore.open(prepare(DataSpec.model_validate(fields)).train)


def batch_of(store: SampleStore, *indices: int, rows: int) -> Batch:
    chosen = np.array(indices)
    return Batch.of(store.batch(chosen, chosen, rows))


def test_a_batch_is_the_samples_as_int64_tensors(tmp_path: Path):
    store = opened(tmp_path)

    batch = batch_of(store, 4, 1, rows=2)

    assert set(batch) == {"input_ids", "labels", "position_ids", "segment_ids"}
    for name, tensor in batch.items():
        assert tensor.dtype == torch.int64
        assert tensor.shape == (2, 32)
        assert tensor.is_contiguous()
        assert tensor[1].tolist() == getattr(store.sample(1), name).tolist()


def test_rows_without_a_sample_have_nothing_to_predict(tmp_path: Path):
    batch = batch_of(opened(tmp_path), 0, rows=3)

    assert batch["labels"][1:].eq(-100).all()
    assert not batch["labels"][0].eq(-100).all()


def test_a_batch_moves_as_a_whole(tmp_path: Path):
    batch = batch_of(opened(tmp_path), 0, rows=1).to("meta")

    assert {tensor.device.type for tensor in batch.values()} == {"meta"}
