"""Hidden tokens: how many, which, and what stands in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from zerotrain.data.prepare import prepare
from zerotrain.data.pretrained import CONFIG_FILE, TOKENIZER_FILE
from zerotrain.data.stores.base import IGNORED
from zerotrain.data.stores.masked import MaskedStore
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import MaskedLmTask

CLS, SEP, MASK, END = 257, 258, 259, 256
TEXTS = ["hello brave new world", "a", "one two three four five six seven", "tell me more about it"]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    def build(task: dict[str, Any] | None = None, **data: Any) -> MaskedStore:
        for number, text in enumerate(TEXTS):
            (tmp_path / f"{number}.txt").write_text(text)
        train = [{"type": "text", "path": str(tmp_path / "*.txt")}]
        settings = {"train": train, "tokenizer": {"type": "bytes"}, "seq_len": 32, "cache": str(tmp_path / "cache")}
        spec = DataSpec.model_validate({**settings, **data})
        prepared = prepare(spec, MaskedLmTask.model_validate({"type": "masked_lm", **(task or {})}))
        return MaskedStore.open(prepared.train)

    return build


def whole(found: MaskedStore, draw: int = 0) -> dict[str, Any]:
    every = np.arange(len(found))
    return found.batch(every, every + draw, rows=len(found))


def texts(batch: dict[str, Any]) -> np.ndarray:
    return np.where(batch["labels"] == IGNORED, batch["input_ids"], batch["labels"])


@pytest.mark.parametrize("packing", ["none", "isolated", "concat"])
@pytest.mark.parametrize("whole_word", [False, True])
def test_counts_are_those_of_the_samples_that_are_read(store: Any, packing: str, whole_word: bool) -> None:
    found = store({"whole_word": whole_word}, packing=packing)
    for draw in range(0, 40, 10):
        every = np.arange(len(found))
        counts, batch = found.counts(every, every + draw), whole(found, draw)
        assert counts.targets == (batch["labels"] != IGNORED).sum()
        filled = batch["segment_ids"] >= 0 if packing == "isolated" else batch["attention_mask"] == 1
        assert counts.tokens == filled.sum()
        assert ((batch["labels"] != IGNORED).sum(1) >= 1).all()


def test_what_is_hidden_is_a_function_of_the_draw(store: Any) -> None:
    found = store()

    assert (whole(found, 5)["labels"] == whole(found, 5)["labels"]).all()
    assert any((whole(found, 5)["labels"] != whole(found, draw)["labels"]).any() for draw in (6, 7, 8))


def test_special_tokens_are_never_hidden_and_the_text_is_whole(store: Any) -> None:
    found = store({"mask_probability": 0.99, "mask_share": 0.5, "random_share": 0.5}, packing="none")
    for draw in range(20):
        batch = whole(found, draw)
        assert not np.isin(batch["labels"], [CLS, SEP, MASK, END]).any()
        first = texts(batch)[0]
        assert (first[0], first[len(TEXTS[0]) + 1]) == (CLS, SEP)
        seen = batch["input_ids"][batch["labels"] != IGNORED]
        assert not np.isin(seen, [CLS, SEP, END]).any()


def test_shares_are_kept_over_many_samples(store: Any) -> None:
    found, fates = store({"mask_probability": 0.5}, packing="none"), []
    for draw in range(0, 4000, 4):
        batch = whole(found, draw)
        hidden = batch["labels"] != IGNORED
        fates.append((batch["input_ids"][hidden], batch["labels"][hidden]))
    seen, labels = (np.concatenate(part) for part in zip(*fates, strict=True))

    assert np.mean(seen == MASK) == pytest.approx(0.8, abs=0.01)
    assert np.mean(seen == labels) == pytest.approx(0.1, abs=0.01)


def test_whole_words_are_hidden_whole(store: Any) -> None:
    found = store({"whole_word": True, "mask_probability": 0.3}, packing="none", seq_len=64)
    for draw in range(50):
        batch = whole(found, draw)
        for row, text in enumerate(TEXTS):
            hidden = batch["labels"][row][1 : len(text) + 1] != IGNORED
            words = np.cumsum([character == " " for character in text])
            assert all(len(set(hidden[words == word])) == 1 for word in set(words))


def test_packed_documents_each_have_their_frame_and_count_from_0(store: Any) -> None:
    found = store(packing="isolated")
    batch = whole(found)
    for row in range(len(found)):
        segments, ids = batch["segment_ids"][row], texts(batch)[row]
        for segment in range(segments.max() + 1):
            (places,) = np.nonzero(segments == segment)
            assert (ids[places[0]], ids[places[-1]]) == (CLS, SEP)
            assert batch["position_ids"][row][places].tolist() == list(range(len(places)))


def test_an_empty_row_has_nothing_to_predict(store: Any) -> None:
    batch = store(packing="none").batch(np.array([0]), np.array([0]), rows=3)

    assert (batch["labels"][1:] == IGNORED).all()
    assert batch["attention_mask"][1:].sum(1).tolist() == [1, 1]


def test_zt672_a_tokenizer_without_a_mask_token(store: Any, tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "</s>": 1, "hello": 2}
    with pytest.raises(DataError, match="ZT672") as refused:
        store(tokenizer={"type": "pretrained", "path": tokenizer_of(tmp_path, vocabulary, eos_token="</s>")})
    assert "no `cls_token` and no `sep_token` and no `mask_token`" in str(refused.value)


def test_zt673_words_that_the_tokenizer_does_not_mark(store: Any, tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3, "hello": 4, "a": 5}
    path = tokenizer_of(tmp_path, vocabulary)
    with pytest.raises(DataError, match="ZT673"):
        store({"whole_word": True}, tokenizer={"type": "pretrained", "path": path})
    assert len(store(tokenizer={"type": "pretrained", "path": path}))


def tokenizer_of(folder: Path, vocabulary: dict[str, int], **config: str) -> str:
    """Writes a tokenizer of words, whose configuration names only these special tokens."""
    path = folder / "tokenizer"
    path.mkdir()
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([token for token in vocabulary if token.startswith(("[", "<"))])
    tokenizer.save(str(path / TOKENIZER_FILE))
    (path / CONFIG_FILE).write_text(str(config).replace("'", '"'))
    return str(path)
