"""What every task must do on real ranks: the same losses however it is divided, exact resume, a usable export."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerotrain.checkpoint.export import export_run
from zerotrain.runs.catalogue import catalogue

EXACT = ("step", "loss", "grad_norm", "lr", "tokens", "samples")

DIVISIONS = [(0, 1, 8), (2, 2, 2), (3, 2, 4)]
"""ZeRO stage, ranks and micro-batch size, of a global batch of 8."""

Changes = dict[str, Any]
Run = Callable[[Changes], Any]


@pytest.fixture
def same_everywhere(train: Any) -> Callable[..., None]:
    """Trains a task in fp32, divided in several ways, and compares losses, gradient norms and metrics."""

    def compare(changes: Changes, *, rel: float = 2e-5) -> None:
        (stage, ranks, micro), *others = DIVISIONS
        fixed = {"precision": "fp32", **changes}
        first = train({**fixed, "zero.stage": stage, "batch.micro_batch_size": micro}, ranks)
        for stage, ranks, micro in others:
            result = train({**fixed, "zero.stage": stage, "batch.micro_batch_size": micro}, ranks)
            assert result.losses == pytest.approx(first.losses, rel=rel), (stage, ranks)
            assert result.grad_norms == pytest.approx(first.grad_norms, rel=20 * rel), (stage, ranks)
            for row, other in zip(result.rows("eval"), first.rows("eval"), strict=True):
                assert row["metrics"] == pytest.approx(other["metrics"], rel=20 * rel, abs=1e-6), (stage, ranks)

    return compare


@pytest.fixture
def resumes_exactly(train: Any, ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Trains a task to its end, throws the second half away, resumes, and compares bit for bit."""

    def compare(changes: Changes, world: int = 2) -> None:
        changes = {"checkpoint.save_every": "2 steps", "zero.stage": 3, **changes}
        whole = train(changes, world)
        rows, metrics = whole.rows("train"), whole.rows("eval")[-1]["metrics"]
        newest = catalogue(whole.run)[0][0]
        shutil.rmtree(newest.path)
        again = ranks.start(whole.run.root.parent.parent, [str(whole.run.root)], world)
        made = [row for row in again.rows("train") if row["attempt"] == 2]
        assert 0 < len(made) < len(rows), "nothing was resumed"
        for row, first in zip(made, rows[-len(made) :], strict=True):
            assert [row[key] for key in EXACT] == [first[key] for key in EXACT]
        assert again.rows("eval")[-1]["metrics"] == metrics

    return compare


@pytest.fixture
def exported(train: Any) -> Callable[..., Path]:
    """Trains a task at stage 3 on two ranks and returns the folder of its export."""

    def export(changes: Changes, world: int = 2) -> Path:
        result = train({"zero.stage": 3, **changes}, world)
        return export_run(result.run, result.run.export).directory

    return export


DECODER: dict[str, Any] = {
    "architecture": "llama",
    "config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
    },
}


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums, asked in one turn or two, of different lengths."""
    draw, path = random.Random(3), tmp_path_factory.mktemp("chats") / "chats.jsonl"
    with path.open("w") as file:
        for _ in range(70):
            messages: list[dict[str, str]] = [{"role": "system", "content": "Add."}] if draw.random() < 0.3 else []
            for _ in range(draw.randint(1, 2)):
                left, right = draw.randrange(100), draw.randrange(10)
                messages += [
                    {"role": "user", "content": f"{left} + {right}"},
                    {"role": "assistant", "content": f"{left + right}" + "!" * draw.randrange(4)},
                ]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


@pytest.fixture(scope="session")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers, of which the polite one is better."""
    draw, path = random.Random(5), tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with path.open("w") as file:
        for _ in range(70):
            asked = " ".join(draw.choices(["tea", "or", "bread", "now", "and", "jam"], k=draw.randint(1, 5)))
            answers = [f"{draw.choice(['sure', 'yes', 'fine'])}, {word}" for word in ("please", "no")]
            record = {"prompt": [{"role": "user", "content": asked}]}
            sides = ([{"role": "assistant", "content": answer}] for answer in answers)
            file.write(json.dumps(record | dict(zip(("chosen", "rejected"), sides, strict=True))) + "\n")
    return path


@pytest.fixture
def changes_for() -> Callable[[dict[str, Any], Path], Changes]:
    """Returns the changes that make the tiny spec one of a task on some dialogues."""

    def changes(task: dict[str, Any], data: Path) -> Changes:
        source = {"type": "jsonl", "path": str(data)}
        return {
            "task": task,
            "model": DECODER,
            "data.train": [{**source, "split": "train"}],
            "data.validation": [{**source, "split": "validation"}],
            "data.seq_len": 192,
            "evaluation": {"every": "2 steps"},
            "optimizer.lr": 3e-3,
        }

    return changes
