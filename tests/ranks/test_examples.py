"""Every example, only shorter: the same run on 1 and 2 ranks at ZeRO 0, 2 and 3, resumed, exported, loaded."""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from zerotrain.checkpoint.export import export_run
from zerotrain.runs.catalogue import catalogue
from zerotrain.spec.load import load_spec
from zerotrain.spec.parallelism import ParallelSpec
from zerotrain.spec.run import RunSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml") if load_spec(path).parallel == ParallelSpec())
"""Those with another axis than data have their own tests: they need as many ranks as the axis has."""

DIVISIONS = [(0, 1), (0, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
"""ZeRO stage and ranks."""

SHORT = {
    "horizon": "3 steps",
    "schedule.warmup": "1 steps",
    "checkpoint.save_every": "2 steps",
    "checkpoint.keep_last": 2,
    "evaluation.every": "2 steps",
}

EXACT = ("step", "loss", "grad_norm", "lr", "tokens", "samples")

CLOSE = {"fp32": 2e-5, "bf16": 2e-3}
"""How close losses are in the precision of an example, relative; other measures to 20 times that."""

MODELS: dict[str, Any] = {
    "pretrain": AutoModelForCausalLM,
    "sft": AutoModelForCausalLM,
    "dpo": AutoModelForCausalLM,
    "distill": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "reward": AutoModelForSequenceClassification,
    "sequence_classification": AutoModelForSequenceClassification,
    "image_classification": AutoModelForImageClassification,
}

BASES = {
    "classification": ("masked_lm", "runs/bert"),
    "distill": ("quickstart", "quickstart-teacher"),
    "lora": ("quickstart", "runs/base"),
}
"""Whose export an example starts from or learns from, and where it looks for it."""

LIGHT = sorted(set(NAMES) - {"quickstart", *BASES})
"""Examples that take seconds, and stand alone."""

DRAWN = [(name, random.Random(name).choice(DIVISIONS[1:])) for name in random.Random(20261122).sample(LIGHT, 2)]

PATIENCE = 900
"""Seconds for one run, on a machine that is busy with other things."""

Trained = Callable[[str, int, int], Any]


@pytest.fixture(scope="session")
def base(ranks: Any, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns an export of an example that was trained for a few steps."""

    @functools.cache
    def export(name: str) -> Path:
        directory = tmp_path_factory.mktemp("base")
        (directory / "examples").symlink_to(EXAMPLES)
        run = ranks.start(directory, arguments(name, cache, 0), 1, name=name, seconds=PATIENCE).run
        return export_run(run, directory / "export", dtype="fp32").directory

    return export


@pytest.fixture
def trained(ranks: Any, cache: Path, tmp_path_factory: Any, base: Callable[[str], Path]) -> Trained:
    """Trains an example in a directory that has what its comments ask for."""

    def run(name: str, stage: int, world: int) -> Any:
        directory = tmp_path_factory.mktemp(name)
        (directory / "examples").symlink_to(EXAMPLES)
        if name in BASES:
            other, place = BASES[name]
            (directory / place).parent.mkdir(exist_ok=True)
            (directory / place).symlink_to(base(other))
        return ranks.start(directory, arguments(name, cache, stage), world, name=name, seconds=PATIENCE)

    return run


def arguments(name: str, cache: Path, stage: int) -> list[str]:
    changes = {**SHORT, "data.cache": str(cache), "zero.stage": stage}
    return [f"examples/{name}.yaml", *(f"{key}={value}" for key, value in changes.items())]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_one_run_however_it_is_divided(name: str, trained: Trained, ranks: Any, tmp_path: Path) -> None:
    hold(name, DIVISIONS, trained, ranks, tmp_path)


@pytest.mark.parametrize(("name", "division"), DRAWN)
def test_an_example_that_was_drawn_is_one_run_however_it_is_divided(
    name: str, division: tuple[int, int], trained: Trained, ranks: Any, tmp_path: Path
) -> None:
    hold(name, [DIVISIONS[0], division], trained, ranks, tmp_path)


def hold(name: str, divisions: Sequence[tuple[int, int]], trained: Trained, ranks: Any, folder: Path) -> None:
    """Trains an example as often as it is divided, and compares everything with the first time."""
    spec, firsts = load_spec(EXAMPLES / f"{name}.yaml"), []
    for stage, world in divisions:
        result = trained(name, stage, world)
        found = measured(result)
        resumes_exactly(result, ranks, world)
        with chdir(result.run.root.parent.parent):
            outputs = outputs_of(result, spec, folder)
        firsts = firsts or [found, outputs]
        same(found, firsts[0], CLOSE[spec.precision.dtype], f"stage {stage}, {world} ranks")
        assert (outputs - firsts[1]).abs().max() < 0.02 * firsts[1].abs().max(), (stage, world)


def measured(result: Any) -> dict[str, Any]:
    metrics = [row["metrics"] for row in result.rows("eval")]
    assert len(result.losses) == 3 and len(metrics) >= 2
    return {"losses": result.losses, "norms": result.grad_norms, "metrics": metrics}


def same(found: dict[str, Any], first: dict[str, Any], rel: float, where: str) -> None:
    assert found["losses"] == pytest.approx(first["losses"], rel=rel), where
    assert found["norms"] == pytest.approx(first["norms"], rel=20 * rel), where
    for metrics, others in zip(found["metrics"], first["metrics"], strict=True):
        assert metrics == pytest.approx(others, rel=20 * rel, abs=20 * rel), where


def resumes_exactly(result: Any, ranks: Any, world: int) -> None:
    """Leaves the run as a crash after its second step would have, continues it, and compares bit for bit."""
    rows, metrics, weights = result.rows("train"), result.rows("eval")[-1]["metrics"], weights_of(result.run.export)
    shutil.rmtree(catalogue(result.run)[0][0].path)
    shutil.rmtree(result.run.export)
    again = ranks.start(
        result.run.root.parent.parent, [str(result.run.root)], world, name=result.run.root.name, seconds=PATIENCE
    )
    (made,) = (row for row in again.rows("train") if row["attempt"] == 2)
    assert [made[key] for key in EXACT] == [rows[-1][key] for key in EXACT]
    assert again.rows("eval")[-1]["metrics"] == metrics
    assert weights_of(result.run.export) == weights


def weights_of(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def outputs_of(result: Any, spec: RunSpec, folder: Path) -> torch.Tensor:
    """Returns what plain transformers computes with the export; an adapter alone must say the same to peft."""
    model = loaded(spec, result.run.export)
    inputs = inputs_of(spec, result.run.export)
    if spec.model.adapter is not None:
        alone = export_run(result.run, folder / "alone", dtype="fp32", adapter="alone").directory
        by_peft = PeftModel.from_pretrained(loaded(spec, result.run.root.parent / "base"), alone).eval()
        assert (computed(by_peft, inputs) - computed(model, inputs)).abs().max() < 1e-4
    return computed(model, inputs)


def loaded(spec: RunSpec, folder: Path) -> Any:
    model, found = MODELS[spec.task.type].from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(found.values()), found
    return model.eval()


def inputs_of(spec: RunSpec, folder: Path) -> dict[str, torch.Tensor]:
    if spec.data.image is not None:
        shape = (2, spec.data.image.channels, spec.data.image.size, spec.data.image.size)
        return {"pixel_values": torch.rand(shape, generator=torch.Generator().manual_seed(1))}
    inputs: Any = AutoTokenizer.from_pretrained(folder)(["please import this, thank you"], return_tensors="pt")
    assert inputs["input_ids"].shape[1] > 5
    return dict(inputs)


def computed(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits
