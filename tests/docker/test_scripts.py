"""The scripts that an image is made with, outside of one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[2] / "docker"

on_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("g++") is None, reason="needs g++ on an x86 processor"
)


def macros(march: str, *words: str) -> set[str]:
    """Returns what the compiler of the image defines when DeepSpeed asks for the processor of this machine."""
    done = subprocess.run(
        [DOCKER / "portable-c++", "-march=native", *words, "-dM", "-E", "-x", "c++", os.devnull],
        env={**os.environ, "MARCH": march},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.split()[1] for line in done.stdout.splitlines()}


@on_x86
def test_ops_are_compiled_for_the_oldest_processor_and_not_for_the_one_of_the_build() -> None:
    defined = macros("x86-64-v3", "-D__AVX512__")

    assert {"__AVX2__", "__FMA__", "__AVX256__"} <= defined
    assert not {"__AVX512F__", "__AVX512__"} & defined


@on_x86
def test_an_older_processor_gets_ops_without_vectors() -> None:
    defined = macros("x86-64-v2", "-D__AVX256__")

    assert "__SCALAR__" in defined
    assert not {"__AVX2__", "__AVX256__"} & defined


@on_x86
def test_native_is_left_as_deepspeed_says_it() -> None:
    assert "__AVX512__" in macros("native", "-D__AVX512__")


def test_the_dependencies_of_the_package_are_known_without_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["a>=1"]\n[project.optional-dependencies]\ntrain = ["b<2"]\ndev = ["c"]\n'
    )
    done = subprocess.run(
        [sys.executable, DOCKER / "dependencies", "train"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["a>=1", "b<2"]
