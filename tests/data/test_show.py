"""Samples as a person reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zerotrain.data.loader import Loader
from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.data.show import BRACKETS, READERS, counts, first_samples
from zerotrain.data.stores.base import IGNORED
from zerotrain.data.stores.table import STORES, open_samples
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import DpoTask, ImageClassificationTask, MaskedLmTask, SequenceClassificationTask


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


@pytest.mark.parametrize("packing", ["none", "isolated"])
def test_a_hidden_token_is_shown_with_what_is_seen_in_its_place(tmp_path: Path, packing: str):
    data = prepared(tmp_path, '{"text": "one"}\n', MaskedLmTask(type="masked_lm", mask_share=1.0), packing=packing)

    (sample,) = first_samples(data, 1, 1, BRACKETS)

    hidden = next(letter for letter in "one" if f"⟦{letter} → [MASK]⟧" in sample)
    assert sample == f"[CLS]{'one'.replace(hidden, f'⟦{hidden} → [MASK]⟧')}[SEP]"


def test_the_tokens_shown_as_hidden_are_those_that_the_run_hides(tmp_path: Path):
    text = "".join(f'{{"text": "{number} and some more words for it"}}\n' for number in range(20))
    data = prepared(tmp_path, text, MaskedLmTask(type="masked_lm", mask_share=1.0), packing="none")
    for seed in range(3):
        loader = Loader(
            open_samples(data.train), seed=seed, global_batch_size=3, micro_batch_size=3, dp_rank=0, dp_size=1
        )
        (trained,) = loader.global_batch(0).micro_batches

        shown = list(first_samples(data, seed, 3, BRACKETS))

        assert [sample.count("[MASK]") for sample in shown] == (trained.batch["labels"] != IGNORED).sum(1).tolist()
        for sample, row in zip(shown, range(3), strict=True):
            hidden = [part.split(" → ")[0] for part in sample.split("⟦")[1:]]
            labels = trained.batch["labels"][row]
            assert "".join(hidden) == bytes(labels[labels != IGNORED].tolist()).decode()


def test_a_pair_has_what_is_asked_once_and_both_answers(tmp_path: Path):
    data = prepared(tmp_path, '{"prompt": "2 + 2 = ", "chosen": "4", "rejected": "5, or"}\n', DpoTask(type="dpo"))

    (sample,) = first_samples(data, 1, 1, BRACKETS)

    assert sample == "2 + 2 = \nchosen: ⟦4<|im_end|>⟧\nrejected: ⟦5, or<|im_end|>⟧"


def test_a_long_prompt_does_not_push_the_answers_out(tmp_path: Path):
    line = f'{{"prompt": "{"very " * 200}", "chosen": "yes", "rejected": "no"}}\n'
    data = prepared(tmp_path, line, DpoTask(type="dpo"), seq_len=1200)

    (sample,) = first_samples(data, 1, 1, BRACKETS)

    assert sample.split("\n")[1:] == ["chosen: ⟦yes<|im_end|>⟧", "rejected: ⟦no<|im_end|>⟧"]


def test_an_image_has_its_number_its_size_and_its_class(tmp_path: Path):
    source = {"type": "sklearn_digits", "split": "all", "max_documents": 5}
    image = {"size": 12, "channels": 1}
    task = ImageClassificationTask(type="image_classification")
    data = prepared(tmp_path, "", task, train=[source], image=image, tokenizer=None, seq_len=None)

    shown = list(first_samples(data, 1, 5, BRACKETS))

    assert sorted(shown) == [f"image {place + 1}, 12 x 12 pixels, grey → ⟦{place}⟧" for place in range(5)]


def test_samples_of_every_kind_can_be_read():
    assert READERS.keys() == STORES.keys()


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
