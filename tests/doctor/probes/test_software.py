"""The interpreter and its packages, as they are here."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import deepspeed
import pytest
import torch

from zerotrain.doctor.probes.software import last_json, software, torch_inventory


def test_the_packages_of_the_extra_are_there_with_the_versions_asked_for() -> None:
    found = software()
    packages = {package.name: package for package in found.packages}

    assert found.python == platform.python_version()
    assert packages["deepspeed"].installed == deepspeed.__version__
    assert ">=0.19.8" in packages["deepspeed"].tested
    assert "pydantic" not in packages
    assert "pytest" not in packages


def test_torch_and_deepspeed_answer_from_a_process_of_their_own() -> None:
    found, problem = torch_inventory(["CPUAdamBuilder"], on_cpu=True)

    assert problem is None
    assert found is not None
    assert (found.version, found.accelerator, found.cuda) == (torch.__version__, "cpu", torch.version.cuda)
    assert [op.name for op in found.ops] == ["cpu_adam"]


def test_a_torch_that_fails_is_told_by_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))

    assert torch_inventory([], on_cpu=True) == (None, "ImportError: libgomp.so.1: cannot open shared object file")


def test_a_torch_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))

    assert torch_inventory([], on_cpu=True, seconds=0.5) == (None, "no answer within 0s")


def test_what_libraries_print_around_the_answer_is_left_out() -> None:
    assert last_json('a warning\n{"a": 1}\n{broken\n') == {"a": 1}
    assert last_json("nothing") is None
