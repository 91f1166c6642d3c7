"""Several sources, each by its weight."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zerotrain.data.loader import Loader
from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.data.stores.mixture import MixtureStore, quotas
from zerotrain.data.stores.packed import SampleStore
from zerotrain.data.stores.table import open_samples
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import SequenceClassificationTask

SIZES = (40, 10, 7)


def text_source(folder: Path, letter: str, count: int, **fields: Any) -> dict[str, Any]:
    (folder / letter).mkdir(exist_ok=True)
    for number in range(count):
        (folder / letter / f"{number:03}.txt").write_text(letter * 8 + f"{number:03}")
    return {"type": "text", "path": str(folder / letter / "*.txt"), **fields}


def prepared(folder: Path, *sources: dict[str, Any], **fields: Any) -> PreparedData:
    common = {"tokenizer": {"type": "bytes"}, "seq_len": 12, "packing": "none", "cache": str(folder / "cache")}
    return prepare(DataSpec.model_validate({"train": list(sources), **common, **fields}))


def mixture(folder: Path, weights: tuple[float | None, ...], seq_len: int = 12) -> MixtureStore:
    sources = [
        text_source(folder, letter, size, **({} if weight is None else {"weight": weight}))
        for letter, size, weight in zip("abc", SIZES, weights, strict=False)
    ]
    store = open_samples(prepared(folder, *sources, seq_len=seq_len).train)
    assert isinstance(store, MixtureStore)
    return store


def owners(store: MixtureStore, count: int, start: int = 0, seed: int = 3) -> str:
    indices = store.indices(seed=seed, start=start, count=count)
    return "".join(chr(token) for token in store.batch(indices, indices, count)["input_ids"][:, 0])


@pytest.mark.parametrize(
    ("weights", "places"),
    [([2, 1], [2, 1]), ([0.7, 0.3], [7, 3]), ([1, 1, 1], [1, 1, 1]), ([1e6, 1], [999, 1]), ([0.5, 0.25], [2, 1])],
)
def test_places_in_a_block_are_the_weights_where_they_can_be(weights: list[float], places: list[int]):
    assert quotas(weights) == places


def test_places_that_cannot_be_exact_are_the_nearest():
    assert quotas([1.0001, 2, 3]) == [167, 333, 500]
    assert sum(quotas([0.123456, 0.654321, 1.7])) == 1000


@pytest.mark.parametrize("weights", [(1.0, 2.0, 1.0), (None, 2.0, None)])
def test_every_block_has_the_proportions_of_the_weights(tmp_path: Path, weights: tuple[float | None, ...]):
    found = owners(mixture(tmp_path, weights), 400)

    assert [Counter(found[at : at + 4]) for at in range(0, 400, 4)] == [Counter("abbc")] * 100
    assert len({found[at : at + 4] for at in range(0, 400, 4)}) > 6


def test_each_source_goes_through_all_its_samples_before_it_repeats_one(tmp_path: Path):
    store = mixture(tmp_path, (1.0, 2.0, 1.0))
    indices = store.indices(seed=3, start=0, count=400)
    small = indices[(indices >= 40) & (indices < 50)]
    epochs = [small[at : at + 10].tolist() for at in range(0, 200, 10)]

    assert all(sorted(epoch) == list(range(40, 50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20


def test_any_place_is_reached_without_what_is_before_it(tmp_path: Path):
    store = mixture(tmp_path, (0.3, 2.7, 1.0))
    whole = store.indices(seed=9, start=1000, count=300)
    cuts = [0, 1, 77, 78, 290, 300]
    parts = [store.indices(seed=9, start=1000 + a, count=b - a) for a, b in pairwise(cuts)]

    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(store.indices(seed=8, start=1000, count=300), whole)


def test_a_block_that_straddles_an_epoch_of_a_source_repeats_nothing_early(tmp_path: Path):
    store = mixture(tmp_path, (3.0, 1.0))
    indices = store.indices(seed=1, start=0, count=4 * 40)
    large = Counter(indices[indices < 40].tolist())

    assert sum(large.values()) == 120
    assert set(large.values()) == {3}


@pytest.mark.parametrize(("micro", "ranks"), [(1, 4), (2, 2), (3, 4), (24, 1)])
def test_a_global_batch_does_not_depend_on_how_it_is_split(tmp_path: Path, micro: int, ranks: int):
    store = mixture(tmp_path, (1.0, 2.0, 1.0))

    def step(micro: int, ranks: int) -> dict[int, list[int]]:
        rows: dict[int, list[int]] = {}
        for rank in range(ranks):
            loader = Loader(store, seed=5, global_batch_size=24, micro_batch_size=micro, dp_rank=rank, dp_size=ranks)
            for part in loader.global_batch(7).micro_batches:
                rows |= {part.first_sample + row: ids.tolist() for row, ids in enumerate(part.batch["input_ids"])}
        return rows

    assert step(micro, ranks) == step(12, 1)


def test_samples_are_those_of_the_sources_and_rows_without_one_have_no_target(tmp_path: Path):
    store = mixture(tmp_path, (1.0, 2.0, 1.0))
    indices = np.array([0, 50, 39, 40])

    arrays = store.batch(indices, indices, 6)
    alone = [store.parts[part].batch(np.array([index]), np.array([0]), 1) for part, index in ((0, 0), (2, 0), (0, 39))]

    for name, array in arrays.items():
        assert array.shape == (6, 12)
        assert all(np.array_equal(array[row], other[name][0]) for row, other in enumerate(alone))
    assert (arrays["labels"][4:] == -100).all()
    assert store.counts(indices, indices).targets == (arrays["labels"] != -100).sum()
    assert store.batch(indices[:0], indices[:0], 2)["labels"].tolist() == [[-100] * 12] * 2


def test_facts_say_what_an_epoch_has_on_average(tmp_path: Path):
    sources = [text_source(tmp_path, "a", 30, weight=1), text_source(tmp_path, "b", 10, weight=3)]
    (tmp_path / "b" / "000.txt").write_text("b")
    facts = prepared(tmp_path, *sources).facts

    assert facts.train_samples == 40
    assert facts.train_tokens == round(40 * (11 + 3 * (9 * 11 + 1) / 10) / 4)


def test_weights_belong_to_the_identity_of_the_data(tmp_path: Path):
    def identity(*weights: float) -> str:
        sources = [
            text_source(tmp_path, letter, 5, weight=weight) for letter, weight in zip("ab", weights, strict=True)
        ]
        return prepared(tmp_path, *sources).facts.fingerprint

    assert identity(1, 2) == identity(1, 2)
    assert len({identity(1, 2), identity(2, 1), identity(1, 1)}) == 3


def test_without_weights_sources_share_samples(tmp_path: Path):
    sources = [text_source(tmp_path, "a", 3), text_source(tmp_path, "b", 3)]
    data = prepared(tmp_path, *sources, seq_len=64, packing="isolated")

    assert isinstance(open_samples(data.train), SampleStore)
    assert data.facts.train_samples == 2


def test_rows_of_different_widths_are_joined(tmp_path: Path):
    for name, text in (("a", "short"), ("b", "a text that is a good deal longer")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{text}", "label": "{name}"}}\n' * 3)
    sources = [{"type": "jsonl", "path": str(tmp_path / f"{name}.jsonl"), "weight": 1} for name in "ab"]
    fields = {"train": sources, "tokenizer": {"type": "bytes"}, "seq_len": 64, "cache": str(tmp_path / "cache")}
    task = SequenceClassificationTask(type="sequence_classification")
    store = open_samples(prepare(DataSpec.model_validate(fields), task).train)

    arrays = store.batch(np.array([4, 1]), np.array([0, 1]), 3)

    assert arrays["labels"].tolist() == [1, 0, -100]
    assert arrays["input_ids"].shape == (3, 40)
    assert arrays["attention_mask"].sum(axis=1).tolist() == [35, 7, 1]
    assert (arrays["input_ids"][1:, 8:] == arrays["input_ids"][2, -1]).all()


def test_a_budget_ends_with_the_document_that_reaches_it(tmp_path: Path):
    source = text_source(tmp_path, "a", 20)  # 11 tokens and the end of the text in each

    def documents(budget: int | str) -> int:
        return prepared(tmp_path, {**source, "max_tokens": budget}).facts.train_samples

    assert [documents(budget) for budget in (1, 12, 13, 24, 25, "1K")] == [1, 1, 2, 2, 3, 20]


def test_budgets_without_weights_take_every_sample_as_often(tmp_path: Path):
    sources = [text_source(tmp_path, "a", 20, max_tokens=60), text_source(tmp_path, "b", 20)]
    store = open_samples(prepared(tmp_path, *sources).train)

    assert isinstance(store, MixtureStore)
    assert Counter(owners(store, 25)) == {"a": 5, "b": 20}


def test_a_damaged_part_is_a_finding(tmp_path: Path):
    sources = [text_source(tmp_path, letter, 3, weight=1) for letter in "ab"]
    data = prepared(tmp_path, *sources)
    next((tmp_path / "cache" / "samples").glob("*/starts.npy")).unlink()

    with pytest.raises(DataError, match="ZT608"):
        open_samples(data.train)
