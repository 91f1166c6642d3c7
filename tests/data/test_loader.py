"""The batches of each rank."""

from __future__ import annotations

import pytest
import torch

from zerotrain.data.loader import Loader
from zerotrain.data.order import sample_indices
from zerotrain.data.prepare import prepare
from zerotrain.data.stores.packed import SampleStore
from zerotrain.spec.data import DataSpec

SPLITS = [(micro, ranks) for micro in (1, 2, 3, 12) for ranks in (1, 2, 4) if 24 % (micro * ranks) == 0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    train = [{"type": "python_stdlib", "max_documents": 3}]
    cache = str(tmp_path_factory.mktemp("cache"))
    fields = {"train": train, "tokenizer": {"type": "bytes"}, "seq_len": 512, "cache": cache}
    return SampleStore.open(prepare(DataSpec.model_validate(fields)).train)


def loader(store: SampleStore, micro: int = 4, rank: int = 0, ranks: int = 1, *, shuffle: bool = True) -> Loader:
    return Loader(
        store,
        seed=5,
        global_batch_size=24,
        micro_batch_size=micro,
        dp_rank=rank,
        dp_size=ranks,
        shuffle=shuffle,
    )


def joined(store: SampleStore, step: int, micro: int, ranks: int, *, shuffle: bool = True) -> torch.Tensor:
    """The inputs of a global batch, put together again from all ranks' micro-batches by their sample numbers."""
    rows: dict[int, torch.Tensor] = {}
    for rank in range(ranks):
        batch = loader(store, micro, rank, ranks, shuffle=shuffle).global_batch(step)
        for part in batch.micro_batches:
            assert part.batch["input_ids"].shape == (micro, store.seq_len)
            rows |= {part.first_sample + row: inputs for row, inputs in enumerate(part.batch["input_ids"])}
    assert sorted(rows) == list(range(step * 24, (step + 1) * 24))
    return torch.stack([rows[number] for number in sorted(rows)])


@pytest.mark.parametrize(("micro", "ranks"), SPLITS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_global_batch_does_not_depend_on_how_it_is_split(store: SampleStore, micro: int, ranks: int, shuffle: bool):
    for step in (0, 1, 7):
        assert torch.equal(
            joined(store, step, micro, ranks, shuffle=shuffle), joined(store, step, 24, 1, shuffle=shuffle)
        )


def test_samples_come_in_the_order_of_the_seed(store: SampleStore):
    indices = sample_indices(seed=5, num_samples=len(store), start=48, count=24)
    expected = torch.from_numpy(store.samples(indices).input_ids)

    assert torch.equal(joined(store, 2, 4, 2), expected)


def test_a_micro_batch_has_its_place_in_the_global_batch(store: SampleStore):
    parts = list(loader(store, 3, rank=1, ranks=2).global_batch(2).micro_batches)

    assert [part.first_sample for part in parts] == [48 + place for place in (3, 9, 15, 21)]


@pytest.mark.parametrize(("micro", "ranks"), SPLITS)
def test_trained_tokens_are_those_of_all_ranks(store: SampleStore, micro: int, ranks: int):
    batches = [loader(store, micro, rank, ranks).global_batch(3) for rank in range(ranks)]
    counted = sum(int(part.batch["labels"].ne(-100).sum()) for batch in batches for part in batch.micro_batches)

    assert {batch.counts.targets for batch in batches} == {counted}
    assert {batch.first_sample for batch in batches} == {72}


def test_without_shuffling_samples_come_in_order_and_begin_again(store: SampleStore):
    last = len(store) // 24
    rows = joined(store, last, 4, 1, shuffle=False)
    indices = [number % len(store) for number in range(last * 24, (last + 1) * 24)]

    assert indices[-1] < indices[0]
    assert torch.equal(rows, torch.from_numpy(store.samples(indices).input_ids))


def test_any_step_is_reached_at_once(store: SampleStore):
    assert next(loader(store).global_batch(10**9).micro_batches).first_sample == 24 * 10**9


@pytest.mark.parametrize(("micro", "ranks"), [(1, 1), (4, 2), (5, 3), (64, 4)])
@pytest.mark.parametrize("max_samples", [None, 1, 10, 10**6])
def test_evaluation_has_every_sample_once(store: SampleStore, micro: int, ranks: int, max_samples: int | None):
    size = micro * ranks
    loaders = [
        Loader(store, seed=1, global_batch_size=size, micro_batch_size=micro, dp_rank=rank, dp_size=ranks)
        for rank in range(ranks)
    ]
    parts = [list(one.sequential(max_samples)) for one in loaders]
    samples = min(len(store), max_samples or len(store))

    assert {len(one) for one in parts} == {-(-samples // size)}
    rows = {
        part.first_sample + row: labels
        for one in parts
        for part in one
        for row, labels in enumerate(part.batch["labels"])
    }
    assert len(rows) == len(parts[0]) * size
    expected = torch.from_numpy(store.samples(range(samples)).labels)
    assert torch.equal(torch.stack([rows[number] for number in range(samples)]), expected)
    assert all(rows[number].eq(-100).all() for number in range(samples, len(rows)))


def test_a_batch_that_cannot_be_split_is_refused(store: SampleStore):
    with pytest.raises(ValueError, match="24 is not a whole number of 5 samples x 2 ranks"):
        loader(store, 5, ranks=2)
    with pytest.raises(ValueError, match="rank 2 is not one of 2"):
        loader(store, 2, rank=2, ranks=2)
