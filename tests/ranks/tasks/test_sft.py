"""Supervised fine-tuning on real ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTION = [{"role": "user", "content": "say hello"}]


@pytest.fixture
def changes(changes_for: Any, chats: Path) -> dict[str, Any]:
    return changes_for({"type": "sft"}, chats)


@pytest.mark.parametrize("packing", ["isolated", "none"])
def test_losses_and_metrics_do_not_depend_on_how_a_batch_is_divided(
    same_everywhere: Any, changes: Any, packing: str
) -> None:
    same_everywhere({**changes, "data.packing": packing})


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any, changes: Any) -> None:
    resumes_exactly(changes)


def test_the_loss_is_that_of_the_answers_alone(train: Any, changes: Any, tmp_path: Path) -> None:
    """The first loss is the cross-entropy that plain transformers finds over the tokens of the answers."""
    one = tmp_path / "one.jsonl"
    messages = [*QUESTION, {"role": "assistant", "content": "hello"}]
    one.write_text(json.dumps({"messages": messages}) + "\n")
    source = [{"type": "jsonl", "path": str(one)}]
    common = {**changes, "data.train": source, "data.validation": source}
    result = train({**common, "precision": "fp32", "horizon": "1 steps", "export": {}})

    tokenizer = AutoTokenizer.from_pretrained(result.run.export)
    model = AutoModelForCausalLM.from_pretrained(result.run.export)
    ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
    answer = len(tokenizer("hello<|im_end|>")["input_ids"])
    labels = ids.clone()
    labels[:, : -answer - 1] = -100
    labels[:, -1] = -100
    with torch.no_grad():
        expected = model(ids, labels=labels).loss.item()
    assert result.rows("eval")[-1]["metrics"]["loss"] == pytest.approx(expected, rel=1e-4)


def test_an_export_answers_in_plain_transformers(exported: Any, changes: Any, tmp_path: Path) -> None:
    data = tmp_path / "hello.jsonl"
    data.write_text(json.dumps({"messages": [*QUESTION, {"role": "assistant", "content": "hello"}]}) + "\n")
    source = [{"type": "jsonl", "path": str(data)}]
    long = {"horizon": "40 steps", "schedule": {"type": "constant"}, "optimizer.lr": 1e-2}
    spec = {**changes, "data.train": source, "data.validation": [], **long}
    folder = exported({**spec, "evaluation": {}})

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(said) == "hello<|im_end|>"
