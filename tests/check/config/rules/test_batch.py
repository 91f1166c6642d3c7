"""DeepSpeed configs: the batch triple."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.rules.batch import impossible_batch_size
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

TRAIN, MICRO, STEPS = "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"
READERS = ("raw", "hf", "accelerate")


def found(findings: list[Diagnostic], code: str) -> list[Diagnostic]:
    return [finding for finding in findings if finding.code == code]


def is_accepted(sizes: dict[str, Any], ranks: int) -> bool:
    """Asks the arithmetic of DeepSpeed, which without a process group would count one rank."""
    from deepspeed.runtime.config import DeepSpeedConfig

    config = DeepSpeedConfig({TRAIN: 1})
    config.world_size = ranks
    config.train_batch_size = sizes.get(TRAIN)
    config.train_micro_batch_size_per_gpu = sizes.get(MICRO)
    config.gradient_accumulation_steps = sizes.get(STEPS)
    try:
        config._configure_train_batch_size()
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("config", [{}, {STEPS: 4}, {TRAIN: None, MICRO: None}])
def test_zt120_without_a_batch_size(lint: Lint, config: dict[str, Any], reader: str) -> None:
    (finding,) = found(lint(config, reader=reader), "ZT120")

    assert (finding.name, finding.severity) == ("missing-batch-size", Severity.ERROR)
    assert finding.place.key == TRAIN


@pytest.mark.parametrize("config", [{TRAIN: 8}, {MICRO: 1}, {TRAIN: "auto"}, {MICRO: "auto", STEPS: "auto"}])
def test_zt120_one_size_is_enough(lint: Lint, config: dict[str, Any]) -> None:
    assert not found(lint(config, reader="hf"), "ZT120")


@pytest.mark.parametrize("key", [TRAIN, MICRO, STEPS])
@pytest.mark.parametrize("value", [0, -1, False, -0.5, -(10**400)])
def test_zt121_sizes_that_are_not_positive(lint: Lint, key: str, value: float) -> None:
    (finding,) = found(lint({MICRO: 1, key: value}), "ZT121")

    assert (finding.name, finding.severity) == ("impossible-batch-size", Severity.ERROR)
    assert finding.place.key == key


def test_zt121_a_division_with_a_rest(lint: Lint) -> None:
    (finding,) = found(lint({TRAIN: 10, MICRO: 4}), "ZT121")

    assert finding.message == "`train_batch_size` 10 is no multiple of 4"
    assert finding.place.key == TRAIN
    assert not found(lint({TRAIN: 12, MICRO: 4}), "ZT121")


def test_zt121_the_numbers_at_a_world_size(lint: Lint) -> None:
    config = {TRAIN: 64, MICRO: 4, STEPS: 2}
    (finding,) = found(lint(config, world_size=4), "ZT121")

    assert finding.message == "`train_batch_size` 64 is not 4 x 2 x 4 data-parallel ranks"
    assert not found(lint(config, world_size=8), "ZT121")
    assert not found(lint(config), "ZT121")


def test_zt121_frameworks_take_one_step_when_none_is_written(lint: Lint) -> None:
    config = {TRAIN: 64, MICRO: 4}

    assert not found(lint(config, world_size=8), "ZT121")
    assert found(lint(config, world_size=8, reader="accelerate"), "ZT121")
    assert not found(lint({**config, STEPS: "auto"}, world_size=8, reader="accelerate"), "ZT121")


def test_zt121_sequence_ranks_share_a_sample(lint: Lint) -> None:
    config = {TRAIN: 16, MICRO: 4, STEPS: 1, "sequence_parallel_size": 2}

    assert not found(lint(config, world_size=8), "ZT121")
    assert found(lint(config, world_size=4), "ZT121")


def test_zt121_says_nothing_about_what_is_not_known(lint: Lint) -> None:
    for value in ("4", [4], {"a": 1}, 1.5, 1e400):
        assert not found(lint({TRAIN: 7, MICRO: value}, world_size=2), "ZT121")
    assert not found(lint({TRAIN: "auto", MICRO: 4, STEPS: 3}, reader="hf", world_size=2), "ZT121")
    assert not list(impossible_batch_size.about_config(ConfigCase({TRAIN: 7}, world_size=2, is_compiled=True)))


@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize("train", [None, 1, 8, 10, 12, 16])
@pytest.mark.parametrize("micro", [None, 1, 3, 4.0])
@pytest.mark.parametrize("steps", [None, 1, 2])
def test_zt121_is_what_deepspeed_says(
    lint: Lint, ranks: int, train: int | None, micro: float | None, steps: int | None
) -> None:
    sizes = {TRAIN: train, MICRO: micro, STEPS: steps}
    config = {key: size for key, size in sizes.items() if size is not None}

    codes = {finding.code for finding in lint(config, world_size=ranks)}
    assert is_accepted(config, ranks) == (not codes & {"ZT120", "ZT121"})


def test_zt122_a_triple_that_fits_one_world(lint: Lint) -> None:
    config = {TRAIN: 64, MICRO: 4, STEPS: 2}
    (finding,) = found(lint(config), "ZT122")

    assert (finding.name, finding.severity) == ("pinned-world-size", Severity.INFO)
    assert finding.message == "64 = 4 x 2 x 8 holds on 8 data-parallel ranks only"
    assert not found(lint(config, world_size=8), "ZT122")
    assert not found(lint({MICRO: 4, STEPS: 2}), "ZT122")
    assert not found(lint({TRAIN: 63, MICRO: 4, STEPS: 2}), "ZT122")


@pytest.mark.parametrize("value", [True, 1.5, 0.5])
def test_zt123_sizes_that_are_no_whole_numbers(lint: Lint, value: float) -> None:
    (finding,) = found(lint({MICRO: value}), "ZT123")

    assert (finding.name, finding.severity) == ("odd-batch-size", Severity.WARNING)
    assert finding.place.key == MICRO
    assert not found(lint({MICRO: 2}), "ZT123")


def test_zt124_a_report_every_0_steps(lint: Lint) -> None:
    (finding,) = found(lint({MICRO: 1, "steps_per_print": 0}), "ZT124")

    assert (finding.name, finding.severity) == ("zero-steps-per-print", Severity.ERROR)
    assert not found(lint({MICRO: 1, "steps_per_print": 0}, reader="hf"), "ZT124")
    assert not found(lint({MICRO: 1, "steps_per_print": 10}), "ZT124")
    assert not found(lint({MICRO: 1, "steps_per_print": None}), "ZT124")


def test_zt125_a_vocabulary_that_is_not_aligned(lint: Lint) -> None:
    (finding,) = found(lint({MICRO: 1, "vocabulary_size": 50257}), "ZT125")

    assert (finding.name, finding.severity) == ("unaligned-vocabulary", Severity.INFO)
    assert finding.help == "pad the model to 50264"
    for size in (50304, 0, None, "50257", True):
        assert not found(lint({MICRO: 1, "vocabulary_size": size}), "ZT125")


def test_zt126_accumulation_that_nobody_fills(lint: Lint) -> None:
    (finding,) = found(lint({MICRO: "auto"}, reader="hf"), "ZT126")

    assert (finding.name, finding.severity) == ("unfilled-accumulation", Severity.INFO)
    assert not found(lint({MICRO: "auto", STEPS: "auto"}, reader="hf"), "ZT126")
    assert not found(lint({MICRO: 4}, reader="raw"), "ZT126")
