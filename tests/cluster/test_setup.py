"""The script that installs what these tests need."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

SETUP = Path(__file__).with_name("setup.sh")


def test_a_capability_that_is_there_is_not_installed_again() -> None:
    done = subprocess.run([SETUP], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_a_capability_it_does_not_know_is_refused_with_those_it_does() -> None:
    done = subprocess.run([SETUP, "imago"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "there is no `imago`; known:" in done.stderr
    assert "image" in done.stderr.partition("known:")[2].split()
