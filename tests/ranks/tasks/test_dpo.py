"""Direct preference optimization on real ranks."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MEASURES = {"loss", "accuracy", "margin", "chosen_reward", "rejected_reward"}


@pytest.fixture
def changes(changes_for: Any, preferences: Path) -> Callable[..., dict[str, Any]]:
    return lambda **task: changes_for({"type": "dpo", **task}, preferences)


@pytest.mark.parametrize(
    "task",
    [
        {"label_smoothing": 0.1},
        pytest.param({"loss": "ipo"}, marks=pytest.mark.slow),
        pytest.param({"loss": "hinge"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_losses_and_metrics_do_not_depend_on_how_a_batch_is_divided(
    same_everywhere: Any, changes: Any, task: dict[str, Any]
) -> None:
    # A loss that begins at 1 / (2 beta) squared, or one that rewards of 1e-3 hardly move, has few digits to compare.
    same_everywhere(changes(**task), rel=1e-4)


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any, changes: Any) -> None:
    resumes_exactly(changes())


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("stage", "world"), [(0, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_loss_is_the_logarithm_of_two(
    train: Any, changes: Any, stage: int, world: int, precision: str
) -> None:
    result = train(
        {**changes(), "precision": precision, "zero.stage": stage, "horizon": "1 steps", "evaluation": {}}, world
    )

    assert result.losses == pytest.approx([math.log(2)], abs=1e-6 if precision == "fp32" else 2e-2)


def test_pairs_are_learned_and_measured(train: Any, changes: Any) -> None:
    long = {"horizon": "30 steps", "schedule": {"type": "constant"}, "optimizer.lr": 1e-2}
    result = train({**changes(beta=0.5), **long, "evaluation": {"at_start": True}}, 2)

    before, after = (result.rows("eval")[place]["metrics"] for place in (0, -1))
    assert set(before) == MEASURES
    assert before["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert after["loss"] < 0.1
    assert after["accuracy"] == 1.0
    assert after["margin"] == pytest.approx(after["chosen_reward"] - after["rejected_reward"], rel=1e-4)


def test_the_reference_is_what_plain_transformers_finds_of_the_untrained_model(
    train: Any, exported: Any, changes: Any, preferences: Path, tmp_path: Path
) -> None:
    """A run that starts from an export has that export for its reference."""
    folder = exported({**changes(), "horizon": "2 steps"})
    weights = {"model": {"pretrained": str(folder)}, "data.tokenizer": {"type": "pretrained", "path": str(folder)}}
    source = [{"type": "jsonl", "path": str(preferences)}]
    result = train({**changes(), **weights, "data.train": source, "precision": "fp32"}, 2)

    found = np.load(result.run.reference / "train.npy")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    records = [json.loads(line) for line in preferences.read_text().splitlines()]
    for number in (0, 33, 69):
        expected = [log_probability(model.float(), tokenizer, records[number], side) for side in ("chosen", "rejected")]
        assert found[number].tolist() == pytest.approx(expected, rel=2e-4)
    assert found.shape == (70, 2)


def test_a_run_cannot_be_continued_without_its_reference(train: Any, ranks: Any, changes: Any) -> None:
    result = train({**changes(), "checkpoint.save_every": "2 steps"})
    shutil.rmtree(sorted(result.run.checkpoints.glob("step-*"))[-1])
    meta = result.run.reference / "reference.json"
    directory = result.run.root.parent.parent

    meta.write_text(json.dumps({"data": "other"}))
    other = ranks.start(directory, [str(result.run.root)], 1, expect=1)
    shutil.rmtree(result.run.reference)
    gone = ranks.start(directory, [str(result.run.root)], 1, expect=1)

    assert "error[ZT660] lost-reference" in other.output and "it is of other data" in other.output
    assert "error[ZT660] lost-reference" in gone.output and "no such file" in gone.output


def test_an_attempt_before_the_first_checkpoint_writes_the_reference_again(
    train: Any, ranks: Any, changes: Any
) -> None:
    result = train(changes())
    shutil.rmtree(result.run.checkpoints)
    result.run.metrics.unlink()
    before = np.load(result.run.reference / "train.npy")
    (result.run.reference / "train.npy").write_bytes(b"half")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

    assert np.array_equal(np.load(result.run.reference / "train.npy"), before)
    assert again.losses == result.losses
    assert not list(result.run.root.glob(".reference*"))


def log_probability(model: Any, tokenizer: Any, record: dict[str, Any], side: str) -> float:
    asked, whole = (
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompts)
        for turns, prompts in ((record["prompt"], True), (record["prompt"] + record[side], False))
    )
    ids, begin = tokenizer(whole.rstrip(), return_tensors="pt")["input_ids"], len(tokenizer(asked)["input_ids"])
    with torch.no_grad():
        logs = model(ids).logits.log_softmax(-1)[0, :-1]
    return sum(logs[place - 1, ids[0, place]].item() for place in range(begin, ids.shape[1]))
