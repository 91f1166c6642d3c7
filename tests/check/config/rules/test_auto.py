"""DeepSpeed configs: `auto`, which DeepSpeed itself does not know."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.config.rules.auto import FAILS_ON_TEXT
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ZERO = {"stage": 2}
DROPPED = sorted(
    f"{path}.{name}"
    for path, section in schema_of().sections.items()
    for name, key in section.keys.items()
    if section.strict and key.default != "auto" and path not in ("bfloat16", "tensor_parallel.tensor_parallel")
)


@pytest.fixture(scope="module")
def parse() -> Callable[[dict[str, Any]], Any]:
    """Returns what DeepSpeed makes of a config."""
    from deepspeed.runtime.config import DeepSpeedConfig

    return lambda config: DeepSpeedConfig(copy.deepcopy(config))


def config(path: str, value: object = "auto") -> dict[str, Any]:
    """A config DeepSpeed takes, with a value at a dotted path."""
    whole: dict[str, Any] = {"train_batch_size": 1}
    *parents, name = path.split(".")
    section = whole
    for parent in parents:
        section = section.setdefault(parent, {})
    section[name] = value
    return whole


def at(path: str, findings: list[Diagnostic]) -> dict[str, Diagnostic]:
    return {finding.code: finding for finding in findings if finding.place.key == path}


@pytest.mark.parametrize("path", sorted(path for path, when in FAILS_ON_TEXT.items() if "read" in when))
def test_zt903_an_auto_on_which_deepspeed_fails_when_it_reads_the_config(
    lint: Lint, parse: Callable[..., Any], path: str
) -> None:
    finding = at(path, lint(config(path)))["ZT903"]

    assert finding.severity is Severity.ERROR
    assert "when the config is read" in finding.message
    with pytest.raises(Exception):  # noqa: B017 - DeepSpeed has no error of its own
        parse(config(path))


@pytest.mark.parametrize(
    "path",
    [
        "gradient_clipping",
        "steps_per_print",
        "log_level",
        "optimizer.params.lr",
        "optimizer.params.betas",
        "scheduler.params.warmup_num_steps",
        "scheduler.params.total_num_steps",
    ],
)
def test_zt903_an_auto_on_which_deepspeed_fails_later(lint: Lint, path: str) -> None:
    assert "ZT903" in at(path, lint(config(path)))
    assert "ZT903" not in at(path, lint(config(path, 1)))


def test_zt903_names_every_auto_of_a_config_for_hf_trainer(lint: Lint) -> None:
    autos = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    given = dict.fromkeys(autos, "auto")

    assert all("ZT903" in at(path, lint(given)) for path in autos)
    assert not any(at(path, lint({**given, "zero_optimization": ZERO}, reader="hf")) for path in autos)


def test_zt903_knows_which_version_reads_the_key(lint: Lint) -> None:
    assert "ZT903" not in at("log_level", lint(config("log_level"), deepspeed="0.18.9"))


@pytest.mark.parametrize("path", [path for path in DROPPED if path != "tensor_parallel.autotp_size"])
def test_zt905_an_auto_that_deepspeed_drops(lint: Lint, parse: Callable[..., Any], path: str) -> None:
    finding = at(path, lint(config(path)))["ZT905"]

    assert finding.severity is Severity.WARNING
    parse(config(path))


@pytest.mark.parametrize(
    ("path", "used"),
    [
        ("bf16.enabled", "`false`"),
        ("zero_optimization.stage", "`0`"),
        ("zero_optimization.reduce_bucket_size", "`500000000`"),
        ("zero_optimization.offload_param.device", "`none`"),
        ("zero_optimization.offload_param", "off"),
    ],
)
def test_zt905_says_which_default_is_used(lint: Lint, path: str, used: str) -> None:
    assert at(path, lint(config(path)))["ZT905"].message.endswith(f"drops it, so that it is {used}")


def test_zt905_tells_the_defaults_deepspeed_has(parse: Callable[..., Any]) -> None:
    read = parse({"train_batch_size": 1, "bf16": {"enabled": "auto"}, "zero_optimization": {"stage": "auto"}})

    assert read.bfloat16_config.enabled is False
    assert read.zero_config.stage == 0
    assert read.zero_config.reduce_bucket_size == 500000000


@pytest.mark.parametrize(
    "path", ["zero_optimization.zenflow.select_interval", "pipeline.stages", "expert_parallel.top_k"]
)
def test_zt905_and_zt916_let_an_auto_be_that_deepspeed_knows(lint: Lint, path: str) -> None:
    assert not set(at(path, lint(config(path)))) & {"ZT903", "ZT905", "ZT916"}


@pytest.mark.parametrize(
    ("path", "means"), [("prescale_gradients", "counts as true"), ("aio.block_size", "stays that text")]
)
def test_zt916_an_auto_that_stays_text(lint: Lint, path: str, means: str) -> None:
    finding = at(path, lint(config(path)))["ZT916"]

    assert finding.severity is Severity.WARNING
    assert means in finding.message
    assert "ZT916" not in at(path, lint(config(path, 1)))


@pytest.mark.parametrize(
    "path",
    [
        "zero_optimization.allgather_bucket_size",
        "zero_optimization.stage3_max_live_parameters",
        "zero_optimization.prefetch_bucket_size",
        "fp16.loss_scale",
        "bfloat16.enabled",
        "scheduler.params.warmup_type",
        "hello_world",
    ],
)
@pytest.mark.parametrize("reader", ["hf", "accelerate"])
def test_zt917_an_auto_that_no_framework_fills(lint: Lint, reader: str, path: str) -> None:
    given = config(path)

    found = at(
        path, lint({**given, "zero_optimization": {"stage": 3, **given.get("zero_optimization", {})}}, reader=reader)
    )

    assert found["ZT917"].severity is Severity.ERROR
    assert not set(found) & {"ZT903", "ZT905", "ZT916"}


@pytest.mark.parametrize(("reader", "is_refused"), [("hf", False), ("accelerate", True)])
def test_zt917_knows_that_only_hf_trainer_fills_betas(lint: Lint, reader: str, is_refused: bool) -> None:
    given = {**config("optimizer.params.betas"), "zero_optimization": ZERO}

    assert ("ZT917" in at("optimizer.params.betas", lint(given, reader=reader))) is is_refused


def test_zt917_does_not_take_an_auto_of_deepspeeds_own_for_one_of_a_framework(lint: Lint) -> None:
    path = "zero_optimization.zenflow.select_interval"

    assert "ZT917" not in at(path, lint(config(path), reader=None))


def test_zt918_a_config_for_a_framework_without_zero(lint: Lint) -> None:
    given = {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto"}

    assert "ZT918" in {finding.code for finding in lint(given, reader="hf")}
    assert "ZT918" not in {finding.code for finding in lint({**given, "zero_optimization": ZERO}, reader="hf")}
    assert "ZT918" not in {finding.code for finding in lint({"train_batch_size": 1}, reader="raw")}
