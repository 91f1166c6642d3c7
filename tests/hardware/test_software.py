"""What is installed, as the packages themselves say."""

from __future__ import annotations

import platform

import deepspeed
import pydantic
import pytest

from zerotrain.hardware.software import (
    PACKAGES,
    TRAINING_PACKAGES,
    installed_version,
    missing_packages,
    versions,
)
from zerotrain.version import __version__


@pytest.mark.parametrize(
    ("package", "version"),
    [("pydantic", pydantic.VERSION), ("deepspeed", deepspeed.__version__), ("zerotrain", __version__)],
)
def test_a_version_is_the_package_s_own(package: str, version: str) -> None:
    assert installed_version(package) == version


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert installed_version("a-package-that-is-not-installed") is None


def test_python_and_every_package_are_recorded_with_a_run() -> None:
    recorded = versions()

    assert list(recorded) == ["python", *PACKAGES]
    assert recorded["python"] == platform.python_version()


def test_nothing_that_training_needs_is_missing_here() -> None:
    assert missing_packages() == []
    assert {"torch", "deepspeed", "transformers"} <= set(TRAINING_PACKAGES)
