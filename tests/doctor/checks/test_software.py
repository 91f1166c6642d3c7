"""Packages, and whether torch can be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.doctor.conftest import MACHINE, Judge, with_parts
from zerotrain.diagnostic import Severity
from zerotrain.doctor.checks.software import missing_packages, other_deepspeed, untested_versions, unusable_torch
from zerotrain.doctor.machine import Machine, Package
from zerotrain.doctor.need import Need
from zerotrain.spec.load import load_spec
from zerotrain.spec.run import RunSpec

TINY = "tests/golden/tiny.yaml"


def with_package(name: str, installed: str | None, tested: str = ">=1") -> Machine:
    return with_parts(software={"packages": (Package(name, installed, tested),)})


def test_zt802_what_training_needs_is_an_error_and_the_rest_a_warning(judge: Judge) -> None:
    (hard,) = judge(missing_packages, with_package("torch", None))
    (soft,) = judge(missing_packages, with_package("tensorboard", None))

    assert (hard.code, hard.severity) == ("ZT802", Severity.ERROR)
    assert hard.message == "training needs `torch`, not installed beside /venv/bin/python"
    assert (soft.code, soft.severity) == ("ZT802", Severity.WARNING)
    assert judge(missing_packages) == []


@pytest.mark.parametrize(
    ("installed", "is_tested"),
    [
        ("0.19.7", False),
        ("0.19.8", True),
        ("0.19.10", True),
        ("0.19.8+cu130", True),
        ("0.20", False),
        ("0.20.0", False),
        ("1.2", False),
    ],
)
def test_zt850_a_version_outside_the_tested_ones(judge: Judge, installed: str, is_tested: bool) -> None:
    found = judge(untested_versions, with_package("deepspeed", installed, "<0.20,>=0.19.8"))

    assert [finding.code for finding in found] == [] if is_tested else ["ZT850"]
    assert is_tested or installed in found[0].message


def test_zt809_another_deepspeed_than_the_spec_names(judge: Judge, spec: RunSpec) -> None:
    software = spec.software.model_copy(update={"deepspeed": "0.18.9"})
    need = Need(spec=spec.model_copy(update={"software": software}))

    (finding,) = judge(other_deepspeed, with_package("deepspeed", "0.19.8"), need)
    assert (finding.code, finding.place.key) == ("ZT809", "software.deepspeed")
    assert judge(other_deepspeed, with_package("deepspeed", "0.18.9"), need) == []
    assert judge(other_deepspeed, with_package("deepspeed", "0.19.8"), Need(spec=spec)) == []


def test_zt851_a_torch_that_cannot_be_loaded(judge: Judge) -> None:
    (finding,) = judge(unusable_torch, replace(MACHINE, torch=None, torch_problem="ImportError: libgomp.so.1"))

    assert finding.code == "ZT851"
    assert "libgomp.so.1" in finding.message
    assert judge(unusable_torch) == []


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> RunSpec:
    return load_spec(request.config.rootpath / TINY)
