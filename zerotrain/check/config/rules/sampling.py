"""DeepSpeed configs: data efficiency (curriculum, dynamic batching, random token dropping)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

CURRICULUM = "data_efficiency.data_sampling.curriculum_learning"
BATCHING = "data_efficiency.data_sampling.dynamic_batching"
DROPPING = "data_efficiency.data_routing.random_ltd"

DROPPING_KEYS: Mapping[str, tuple[str, ...]] = {
    DROPPING: ("total_layer_num", "random_ltd_layer_num", "random_ltd_schedule"),
    f"{DROPPING}.random_ltd_schedule": ("min_value", "max_value", "schedule_type", "schedule_config"),
}
"""What the scheduler of random token dropping reads without a default; data_routing/scheduler.py."""


def _is_on(section: Mapping[str, Any]) -> bool:
    return section.get("enabled") is True


@config_rule("ZT836", "data-efficiency-is-incomplete")
def data_efficiency_is_incomplete(case: ConfigCase) -> Iterator[Diagnostic]:
    """A part of data efficiency is switched on without what it needs.

    Why: a curriculum needs its metrics and dynamic batching its `max_tokens`, or the config is refused at parsing;
    random token dropping needs its layers and its schedule when the engine is built, and a schedule for its learning
    rate is not implemented.
    Wrong: `{"data_efficiency": {"data_sampling": {"dynamic_batching": {"enabled": true}}}}`
    Right: `{"data_efficiency": {"data_sampling": {"dynamic_batching": {"enabled": true, "max_tokens": 4096}}}}`
    """
    for section, name in ((CURRICULUM, "curriculum_metrics"), (BATCHING, "max_tokens")):
        if _is_on(case.mapping(section)) and not case.has(f"{section}.{name}"):
            yield case.error(section, f"`{section.rpartition('.')[2]}` is on and has no `{name}`", help=f"add `{name}`")
    if not _is_on(case.mapping(DROPPING)):
        return
    for section, names in DROPPING_KEYS.items():
        missing = [
            name for name in names if isinstance(case.get(section), Mapping) and not case.has(f"{section}.{name}")
        ]
        if missing:
            yield case.error(section, f"`random_ltd` is on and lacks {', '.join(f'`{name}`' for name in missing)}")
    if _is_on(case.mapping(f"{DROPPING}.layer_token_lr_schedule")):
        message = "`layer_token_lr_schedule` is not implemented"
        yield case.error(f"{DROPPING}.layer_token_lr_schedule.enabled", message, help="switch it off")


@config_rule("ZT837", "outer-switch-is-not-read")
def outer_switch_is_not_read(case: ConfigCase) -> Iterator[Diagnostic]:
    """Data efficiency is switched off outside and on inside.

    Why: only the innermost `enabled` counts. The switches of `data_efficiency`, `data_sampling` and `data_routing` are
    parsed and never looked at, so what they seem to switch off is active.
    Wrong: `{"data_efficiency": {"enabled": false, "data_sampling": {"curriculum_learning": {"enabled": true}}}}`
    Right: `"enabled": false` in `curriculum_learning`
    """
    for inner in (CURRICULUM, DROPPING):
        middle = inner.rpartition(".")[0]
        for outer in ("data_efficiency", middle):
            if _is_on(case.mapping(inner)) and case.get(f"{outer}.enabled") is False:
                message = f"`{inner.rpartition('.')[2]}` is active all the same: this switch is never read"
                yield case.warning(f"{outer}.enabled", message, help=f"set `{inner}.enabled` to false")


@config_rule("ZT838", "nothing-is-switched-on-inside")
def nothing_is_switched_on_inside(case: ConfigCase) -> Iterator[Diagnostic]:
    """Data efficiency is switched on outside and nothing is on inside.

    Why: only the innermost `enabled` counts; without one in `curriculum_learning` or `random_ltd` nothing happens.
    Wrong: `{"data_efficiency": {"enabled": true}}`
    Right: `{"data_efficiency": {"enabled": true, "data_sampling": {"curriculum_learning": {"enabled": true,
    "curriculum_metrics": {}}}}}`
    """
    inside = (CURRICULUM, BATCHING, DROPPING)
    if _is_on(case.mapping("data_efficiency")) and not any(case.get(f"{section}.enabled") for section in inside):
        message = "nothing inside `data_efficiency` is switched on, so it does nothing"
        yield case.warning("data_efficiency.enabled", message, help="switch on one of its parts, or remove it")


@config_rule("ZT839", "sampling-needs-deepspeeds-loader")
def sampling_needs_deepspeeds_loader(case: ConfigCase) -> Iterator[Diagnostic]:
    """A sampler is configured that the framework's data loader does not use.

    Why: a curriculum acts on the loader that DeepSpeed builds from `training_data`, and dynamic batching on one that
    the script builds by a function of DeepSpeed's. HF Trainer and Accelerate bring a loader of their own.
    Wrong: `{"data_efficiency": {"data_sampling": {"curriculum_learning": {"enabled": true, ...}}}}` under HF Trainer
    Right: a sampler of your own in the Trainer
    """
    for section in (CURRICULUM, BATCHING):
        if case.reader != "raw" and _is_on(case.mapping(section)):
            message = f"the loader of the framework knows nothing of `{section.rpartition('.')[2]}`"
            yield case.warning(f"{section}.enabled", message, help="give the framework a sampler of your own")


RULES: tuple[Rule, ...] = (
    data_efficiency_is_incomplete,
    outer_switch_is_not_read,
    nothing_is_switched_on_inside,
    sampling_needs_deepspeeds_loader,
)
