"""Sequence classification on real ranks."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from zerotrain.checkpoint.export import export_run

WORDS = {"good": ["fine", "great", "lovely", "superb"], "bad": ["awful", "dull", "poor", "sad"]}
OTHERS = ["the", "film", "was", "quite", "a", "scene", "with", "an", "actor", "and", "some", "plot", "in", "it"]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences with one telling word each, 75 of them."""
    draw = random.Random(7)
    path = tmp_path_factory.mktemp("reviews") / "reviews.jsonl"
    with path.open("w") as file:
        for _ in range(75):
            label = draw.choice(sorted(WORDS))
            words = [draw.choice(OTHERS) for _ in range(draw.randrange(3, 9))]
            words.insert(draw.randrange(len(words)), draw.choice(WORDS[label]))
            file.write(json.dumps({"text": " ".join(words), "label": label}) + "\n")
    return path


@pytest.fixture
def changes(reviews: Path) -> dict[str, Any]:
    source = {"type": "jsonl", "path": str(reviews)}
    return {
        "task": {"type": "sequence_classification"},
        "model": {
            "architecture": "bert",
            "config": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            },
        },
        "data.train": [{**source, "split": "train"}],
        "data.validation": [{**source, "split": "validation"}],
        "evaluation": {},
        "optimizer.lr": 3e-3,
    }


def test_losses_and_metrics_do_not_depend_on_how_a_batch_is_divided(same_everywhere: Any, changes: Any) -> None:
    same_everywhere(changes)


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any, changes: Any) -> None:
    resumes_exactly(changes)


def test_a_decoder_can_be_a_classifier_too(same_everywhere: Any, changes: Any) -> None:
    model = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    same_everywhere({**changes, "model": {"architecture": "llama", "config": model}})


def test_an_export_classifies_in_plain_transformers(exported: Any, changes: Any, reviews: Path) -> None:
    folder = exported({**changes, "horizon": "60 steps", "schedule": {"type": "constant"}})

    predict = pipeline("text-classification", str(folder))
    records = [json.loads(line) for line in reviews.read_text().splitlines()[:20]]
    right = [predict(record["text"])[0]["label"] == record["label"] for record in records]
    assert sum(right) >= 19


def test_a_new_head_on_pretrained_weights_starts_the_same_everywhere(
    exported: Any, same_everywhere: Any, changes: Any
) -> None:
    """The labels differ, so the head of the export cannot be used for the other labels."""
    folder = exported(
        {**changes, "task": {"type": "sequence_classification"}, "horizon": "2 steps", "schedule": {"type": "constant"}}
    )
    (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace("BertForSequenceClassification", "BertModel")
    )
    tokenizer = {"type": "pretrained", "path": str(folder)}

    same_everywhere({**changes, "model": {"pretrained": str(folder)}, "data.tokenizer": tokenizer})


def test_an_adapter_trains_the_new_head_too_and_peft_loads_both(
    exported: Any, same_everywhere: Any, train: Any, changes: Any, tmp_path: Path
) -> None:
    folder = exported({**changes, "horizon": "2 steps", "schedule": {"type": "constant"}})
    adapter = {"type": "lora", "rank": 4}
    tokenizer = {"type": "pretrained", "path": str(folder)}
    changes = {**changes, "model": {"pretrained": str(folder), "adapter": adapter}, "data.tokenizer": tokenizer}

    same_everywhere(changes)
    result = train({**changes, "precision": "fp32", "zero.stage": 3}, 2)
    export_run(result.run, tmp_path / "merged")
    export_run(result.run, tmp_path / "alone", adapter="alone")

    texts = AutoTokenizer.from_pretrained(folder)(
        ["the film was great", "a sad plot"], return_tensors="pt", padding=True
    )
    before, merged = (load(path) for path in (folder, tmp_path / "merged"))
    by_peft = PeftModel.from_pretrained(load(folder), tmp_path / "alone").eval()
    with torch.no_grad():
        assert (merged(**texts).logits - by_peft(**texts).logits).abs().max() < 1e-5
        assert (merged(**texts).logits - before(**texts).logits).abs().max() > 1e-3
    assert not torch.equal(merged.classifier.weight, before.classifier.weight)
    assert torch.equal(merged.bert.embeddings.word_embeddings.weight, before.bert.embeddings.word_embeddings.weight)


def load(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()
