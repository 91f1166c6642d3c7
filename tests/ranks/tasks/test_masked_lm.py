"""Masked language modelling on real ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForMaskedLM, pipeline

CONFIG = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def changes(**more: Any) -> dict[str, Any]:
    return {
        "task": {"type": "masked_lm"},
        "model": {"architecture": "bert", "config": CONFIG, "attention": more.pop("attention", "sdpa")},
        "data.tokenizer": {"type": "bytes"},
        "optimizer.lr": 3e-3,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


@pytest.mark.parametrize("packing", ["isolated", "none"])
def test_losses_and_metrics_do_not_depend_on_how_a_batch_is_divided(same_everywhere: Any, packing: str) -> None:
    same_everywhere(changes(data__packing=packing))


def test_whole_words_do_not_depend_on_it_either(same_everywhere: Any) -> None:
    same_everywhere(changes(task={"type": "masked_lm", "whole_word": True}, data__packing="concat"))


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any) -> None:
    resumes_exactly(changes())


def test_packed_documents_are_seen_as_alone_in_eager_attention_and_16_bits(train: Any) -> None:
    train(changes(attention="eager", precision="bf16"), 1)


def test_metrics_are_those_of_the_hidden_tokens(train: Any) -> None:
    (row,) = train(changes(), 2).rows("eval")

    assert set(row["metrics"]) == {"loss", "perplexity", "accuracy"}
    assert 0 <= row["metrics"]["accuracy"] <= 1


def test_an_export_fills_masks_and_becomes_a_classifier(exported: Any, train: Any, tmp_path: Path) -> None:
    folder = exported(changes())

    fill = pipeline("fill-mask", str(folder))
    assert len(fill("import [MASK]s")) == 5
    assert AutoModelForMaskedLM.from_pretrained(folder).config.vocab_size == 260

    reviews = tmp_path / "reviews.jsonl"
    reviews.write_text(
        "".join(f'{{"text": "number {n}", "label": "{"odd" if n % 2 else "even"}"}}\n' for n in range(20))
    )
    pretrained = {
        "task": {"type": "sequence_classification"},
        "model": {"pretrained": str(folder)},
        "data.tokenizer": {"type": "pretrained"},
        "data.train": [{"type": "jsonl", "path": str(reviews)}],
        "data.validation": [],
    }
    assert train(pretrained, 1).losses == pytest.approx(train(pretrained, 2).losses, rel=1e-5)
