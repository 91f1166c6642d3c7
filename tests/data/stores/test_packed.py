"""Samples by index."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.data.stores.packed import Sample, SampleStore
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec

END = 256
SETTINGS = [(packing, seq_len) for packing in ("isolated", "concat", "none") for seq_len in (1, 7, 64, 5000)]


def made(folder: Path, texts: list[str], **fields: Any) -> PreparedData:
    (folder / "data").mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / "data" / f"{number:03}.txt").write_text(text)
    train = [{"type": "text", "path": str(folder / "data" / "*.txt")}]
    cache = str(folder / "cache")
    return prepare(DataSpec.model_validate({"train": train, "tokenizer": {"type": "bytes"}, "cache": cache, **fields}))


def opened(folder: Path, texts: list[str], **fields: Any) -> SampleStore:
    return SampleStore.open(made(folder, texts, **fields).train)


def random_texts() -> list[str]:
    """Documents that share no stretch of text, so that one that is lost or doubled shows."""
    draw = random.Random(1)
    return [f"{number}:" + "".join(draw.choices("abcdefgh\n", k=draw.randint(1, 150))) for number in range(40)]


def trained(store: SampleStore, indices: Iterable[int]) -> int:
    chosen = np.array(list(indices), np.int64)
    return store.counts(chosen, chosen).targets


def segments(store: SampleStore) -> Iterator[tuple[list[int], list[int]]]:
    """The inputs and labels of every segment of every sample, in order."""
    for sample in map(store.sample, range(len(store))):
        for segment in range(sample.segment_ids.max() + 1):
            here = sample.segment_ids == segment
            yield sample.input_ids[here].tolist(), sample.labels[here].tolist()


def chunks(text: str, seq_len: int) -> list[tuple[list[int], list[int]]]:
    tokens = [*text.encode(), END]
    begins = range(0, len(tokens) - 1, seq_len)
    return [
        (tokens[begin : begin + seq_len][: len(tokens) - 1 - begin], tokens[begin + 1 :][:seq_len]) for begin in begins
    ]


def counted(pairs: Iterator[tuple[list[int], list[int]]]) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    return Counter((tuple(inputs), tuple(labels)) for inputs, labels in pairs)


@pytest.mark.parametrize("packing", ["isolated", "none"])
@pytest.mark.parametrize("seq_len", [1, 7, 64, 5000])
def test_segments_are_the_documents_with_nothing_lost_and_nothing_doubled(tmp_path: Path, packing: str, seq_len: int):
    texts = random_texts()
    store = opened(tmp_path, texts, seq_len=seq_len, packing=packing)

    assert counted(segments(store)) == counted(pair for text in texts for pair in chunks(text, seq_len))


@pytest.mark.parametrize("seq_len", [1, 7, 64, 5000])
def test_concat_samples_are_the_stream_and_its_next_tokens(tmp_path: Path, seq_len: int):
    stream = [token for text in random_texts() for token in (*text.encode(), END)]
    store = opened(tmp_path, random_texts(), seq_len=seq_len, packing="concat")
    count = max(1, (len(stream) - 1) // seq_len)

    assert list(segments(store)) == [
        (stream[:-1][i * seq_len : (i + 1) * seq_len], stream[1:][i * seq_len : (i + 1) * seq_len])
        for i in range(count)
    ]
    assert len(store) == count


@pytest.mark.parametrize(("packing", "seq_len"), SETTINGS)
def test_padding_positions_and_counts_are_right_in_every_sample(tmp_path: Path, packing: str, seq_len: int):
    store = opened(tmp_path, random_texts(), seq_len=seq_len, packing=packing)

    for index, sample in enumerate(map(store.sample, range(len(store)))):
        filled = int((sample.segment_ids >= 0).sum())
        assert np.all(sample.segment_ids[filled:] == -1)
        assert np.all(sample.labels[filled:] == -100)
        assert np.all(sample.labels[:filled] >= 0)
        assert np.all(sample.input_ids[filled:] == store.pad_token_id)
        assert np.all(np.diff(sample.segment_ids[:filled]) >= 0)
        for segment in np.unique(sample.segment_ids):
            positions = sample.position_ids[sample.segment_ids == segment]
            assert np.array_equal(positions, np.arange(len(positions)))
        assert trained(store, [index]) == filled
        assert all(values.shape == (seq_len,) and values.dtype == np.int64 for values in vars(sample).values())


def test_samples_on_top_of_each_other_are_the_samples(tmp_path: Path):
    store = opened(tmp_path, random_texts(), seq_len=64)
    indices = [3, 0, 3, len(store) - 1]
    stacked = store.samples(indices, rows=6)

    for row, index in enumerate(indices):
        alone = store.sample(index)
        for name, values in vars(stacked).items():
            assert np.array_equal(values[row], vars(alone)[name])
    assert np.all(stacked.labels[4:] == -100)
    assert np.all(stacked.segment_ids[4:] == -1)
    assert np.all(stacked.input_ids[4:] == END)
    assert np.array_equal(stacked.position_ids[5], np.arange(64))


def test_trained_tokens_of_many_samples_are_a_sum(tmp_path: Path):
    store = opened(tmp_path, random_texts(), seq_len=64)

    assert trained(store, range(len(store))) == sum(len(text.encode()) for text in random_texts())
    assert trained(store, [2, 2]) == 2 * trained(store, [2])
    assert trained(store, []) == 0


def test_no_samples_are_no_rows(tmp_path: Path):
    store = opened(tmp_path, random_texts(), seq_len=8)

    assert store.samples([]).labels.shape == (0, 8)
    assert np.all(store.samples([], rows=2).labels == -100)


@pytest.mark.parametrize("index", [-1, 10**9])
def test_a_sample_that_does_not_exist_is_an_index_error(tmp_path: Path, index: int):
    store = opened(tmp_path, random_texts(), seq_len=64)

    with pytest.raises(IndexError):
        store.sample(index)
    with pytest.raises(IndexError):
        trained(store, [index])


def test_the_first_samples_are_not_the_fullest_documents(tmp_path: Path):
    texts = [f"{number:03}" + "x" * (10 if number < 20 else 200) for number in range(40)]
    store = opened(tmp_path, texts, seq_len=256)

    assert bytes(store.sample(0).input_ids[:3].tolist()) == b"000"


def test_a_damaged_store_is_refused(tmp_path: Path):
    prepared = made(tmp_path, random_texts(), seq_len=64)
    (tokens,) = (tmp_path / "cache" / "tokens").glob("*/tokens.bin")
    for file in (prepared.train / "starts.npy", tokens):
        whole = file.read_bytes()
        file.write_bytes(whole[:-2])
        with pytest.raises(DataError, match="ZT608 damaged-store") as caught:
            SampleStore.open(prepared.train)
        assert f"delete the directory `{file.parent}`" in (caught.value.findings[0].help or "")
        file.write_bytes(whole)
    assert SampleStore.open(prepared.train).seq_len == 64


@pytest.mark.parametrize("kind", ["tokens", "tokenizer", "nothing"])
def test_a_directory_that_is_no_store_is_refused(tmp_path: Path, kind: str):
    made(tmp_path, random_texts(), seq_len=64)
    path = next((tmp_path / "cache" / kind).glob("*"), tmp_path / "cache" / kind)

    with pytest.raises(DataError, match="ZT608"):
        SampleStore.open(path)


def test_opening_and_reading_are_fast(tmp_path: Path):
    draw = random.Random(2)
    texts = ["".join(draw.choices("abcdefgh \n", k=draw.randint(100, 60_000))) for _ in range(60)]
    prepared = made(tmp_path, texts, seq_len=1024)
    begin = time.process_time()
    store, *_ = [SampleStore.open(prepared.train) for _ in range(20)]
    assert (time.process_time() - begin) / 20 < 0.01

    begin = time.process_time()
    read: list[Sample] = [store.samples(range(start, start + 8)) for start in range(0, len(store) - 8, 8)]
    tokens = sum(sample.input_ids.size for sample in read)
    assert tokens / (time.process_time() - begin) > 5e6
