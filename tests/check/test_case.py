"""What a rule looks at is worked out once, and says when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.check.case import Case
from zerotrain.diagnostic import Diagnostic, Fix, Severity
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import UnreadSection, read_spec

Make = Callable[..., Case]


def test_everything_follows_from_the_spec(case: Make) -> None:
    asked = case(zero="{stage: 2}")

    assert (asked.topology.world_size, asked.resolved.steps) == (2, 100)
    assert asked.gpu is not None
    assert asked.gpu.name == "cpu"
    assert asked.pretrained is None
    assert asked.model[0] == "llama"
    assert asked.shape is not None
    assert asked.shape.hidden_size == 64


def test_it_is_worked_out_once(case: Make) -> None:
    asked = case()

    assert asked.shape is asked.shape
    assert asked.resolved is asked.resolved


def test_a_world_size_replaces_the_hardware_s(case: Make) -> None:
    assert case(world_size=1).topology.world_size == 1
    assert case(world_size=1).resolved.spec.batch.gradient_accumulation_steps == 2


def test_a_pretrained_model_is_read_from_the_working_directory(case: Make, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 128}))
    asked = case(model="{pretrained: weights}")

    assert asked.shape is not None
    assert (asked.shape.architecture, asked.shape.hidden_size) == ("llama", 128)


def test_a_pretrained_model_that_is_of_no_use_has_no_shape(case: Make, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    asked = case(model="{pretrained: weights}")

    assert isinstance(asked.pretrained, Diagnostic)
    assert asked.shape is None


def test_what_needs_an_unread_section_says_so(write: Callable[..., Path], around: Surroundings) -> None:
    spec = read_spec(write(batch="{}", hardware="5")).spec
    assert spec is not None
    asked = Case(spec, around)

    assert asked.shape is not None
    for name in ("topology", "gpu", "resolved"):
        with pytest.raises(UnreadSection):
            getattr(asked, name)


def test_what_cannot_be_settled_or_compiled_is_refused_and_the_rest_is_settled(case: Make) -> None:
    asked = case(
        batch="{global_batch_size: 3, micro_batch_size: 2}", precision="bf16", deepspeed="{train_batch_size: 3}"
    )

    assert [finding.code for finding in asked.refusals()] == ["ZT101", "ZT310"]
    assert asked.resolved.spec.precision.grad_accum_dtype == "bf16"


@pytest.mark.parametrize("severity", list(Severity))
def test_a_finding_has_its_severity_key_and_way_out(case: Make, severity: Severity) -> None:
    fix = Fix("do it", "seed", 1)
    finding = getattr(case(), str(severity))("seed", "a fact", help="a way", fix=fix)

    assert (finding.severity, finding.place.key) == (severity, "seed")
    assert (finding.message, finding.help, finding.fix) == ("a fact", "a way", fix)
