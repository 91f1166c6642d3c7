"""Reward models on real ranks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


@pytest.fixture
def changes(changes_for: Any, preferences: Path) -> Callable[..., dict[str, Any]]:
    return lambda **task: changes_for({"type": "reward", **task}, preferences)


def test_losses_and_metrics_do_not_depend_on_how_a_batch_is_divided(same_everywhere: Any, changes: Any) -> None:
    same_everywhere(changes(center_coefficient=0.5))


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any, changes: Any) -> None:
    resumes_exactly(changes(center_coefficient=0.01))


def test_an_export_prefers_the_better_answer_in_plain_transformers(
    exported: Any, changes: Any, preferences: Path
) -> None:
    long = {"horizon": "30 steps", "schedule": {"type": "constant"}, "evaluation": {}}
    folder = exported({**changes(), **long, "optimizer.lr": 1e-2})

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.num_labels == 1
    for line in preferences.read_text().splitlines()[:8]:
        record = json.loads(line)
        better, worse = (reward(model, tokenizer, record["prompt"] + record[side]) for side in ("chosen", "rejected"))
        assert better > worse


def test_a_classifier_of_two_classes_becomes_a_model_of_one_reward(train: Any, exported: Any, changes: Any) -> None:
    """Weights that name two classes are given a new head."""
    folder = exported({**changes(), "horizon": "1 steps"})
    config = json.loads((folder / "config.json").read_text())
    names = {"architectures": ["LlamaModel"], "id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    (folder / "config.json").write_text(json.dumps({**config, **names}))
    weights = {"model": {"pretrained": str(folder)}, "data.tokenizer": {"type": "pretrained", "path": str(folder)}}

    result = train({**changes(), **weights, "precision": "fp32", "horizon": "2 steps"}, 2)

    measured = result.rows("eval")[-1]["metrics"]
    assert set(measured) == {"loss", "accuracy", "margin", "chosen_reward", "rejected_reward"}
    assert result.losses[0] == pytest.approx(math.log(2), abs=0.2)


def reward(model: Any, tokenizer: Any, messages: list[dict[str, str]]) -> float:
    ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
    with torch.no_grad():
        return model(ids).logits.item()
