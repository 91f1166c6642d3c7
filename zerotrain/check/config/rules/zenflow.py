"""DeepSpeed configs: ZenFlow, which updates the important columns of weights first and the others later."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.config.case import AUTO, ConfigCase, whole
from zerotrain.check.config.partitioning import Z, device_is_filled, zenflow_is_on
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

F = f"{Z}.zenflow"

SHARED_PARAMS = ("lr", "betas", "eps", "weight_decay", "amsgrad")
"""Parameters that both DeepSpeed's CPU Adam and `torch.optim.AdamW` take; runtime/zenflow/zenflow_stage_1_and_2.py."""


@config_rule("ZT355", "zenflow-cannot-run")
def zenflow_cannot_run(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZenFlow is on where it cannot run.

    Why: it is a way to step offloaded states. Stages 1 and 2 refuse it without offload, stage 3 works in CUDA tensors,
    and stage 0 has no optimizer that could do it and fails at the first step.
    Wrong: `{"zero_optimization": {"stage": 2, "zenflow": {"update_interval": 4}}}`
    Right: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"},
    "zenflow": {"update_interval": 4}}}`
    """
    stage = case.known_stage if zenflow_is_on(case) else None
    offloads = case.device("offload_optimizer") or device_is_filled(case, "offload_optimizer")
    if stage == 0:
        yield case.error(F, "stage 0 cannot run ZenFlow", help="use `stage: 2`, or remove `zenflow`")
    elif stage in (1, 2) and not offloads:
        message = "ZenFlow needs `offload_optimizer`"
        yield case.error(F, message, help='add `"offload_optimizer": {"device": "cpu"}`, or remove `zenflow`')
    elif stage == 3 and case.gpu is not None and case.gpu.host:
        yield case.error(F, "ZenFlow at stage 3 needs a CUDA GPU", help="use `stage: 2`, or remove `zenflow`")


@config_rule("ZT356", "zenflow-intervals")
def zenflow_intervals(case: ConfigCase) -> Iterator[Diagnostic]:
    """The intervals of ZenFlow do not fit together.

    Why: the strategy `auto` sets the selection interval itself and refuses a number; `step` and `epoch` want one; and a
    selection must not come more often than the update of what it did not select.
    Wrong: `{"zenflow": {"select_interval": 4, "update_interval": 2}}`
    Right: `{"zenflow": {"select_strategy": "step", "select_interval": 4, "update_interval": 2}}`
    """
    if not zenflow_is_on(case):
        return
    strategy = case.get(f"{F}.select_strategy") if case.has(f"{F}.select_strategy") else AUTO
    selects, updates = whole(case.get(f"{F}.select_interval")), whole(case.get(f"{F}.update_interval"))
    if strategy == AUTO and selects is not None:
        message = f"`select_interval` {selects} is refused with `select_strategy: auto`, the default"
        yield case.error(f"{F}.select_interval", message, help='add `"select_strategy": "step"`')
    elif strategy in ("step", "epoch") and case.get(f"{F}.select_interval") in (None, AUTO):
        message = f"`select_strategy: {strategy}` needs a number as `select_interval`"
        yield case.error(f"{F}.select_strategy", message, help="add `select_interval`")
    elif strategy == "step" and selects and updates and selects < updates:
        message = f"`select_interval` {selects} is smaller than `update_interval` {updates}"
        yield case.error(f"{F}.select_interval", message, help=f"use at least {updates}")


@config_rule("ZT357", "zenflow-without-overlap")
def zenflow_without_overlap(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZenFlow is to offload the selected states, and communication is not overlapped.

    Why: DeepSpeed asserts `overlap_comm` for it, which is off by default at stages 1 and 2.
    Wrong: `{"zero_optimization": {"stage": 2, "zenflow": {"offload": true}}}`
    Right: `{"zero_optimization": {"stage": 2, "overlap_comm": true, "zenflow": {"offload": true}}}`
    """
    stage, overlap = case.known_stage, case.value(f"{Z}.overlap_comm")
    overlaps = stage == 3 if overlap is None else overlap
    if stage in (1, 2, 3) and case.on(f"{F}.offload") and overlaps is False:
        message = "`zenflow.offload` needs `overlap_comm`"
        yield case.error(f"{F}.offload", message, help='add `"overlap_comm": true`')


@config_rule("ZT358", "zenflow-optimizer")
def zenflow_optimizer(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZenFlow gets an optimizer or a parameter it cannot use.

    Why: at stages 1 and 2 two optimizers share `optimizer.params`: DeepSpeed's CPU Adam and torch's AdamW. What either
    does not know ends in a `TypeError`, and so does a config without parameters. Another optimizer fails at its first
    update, which never comes when `update_interval: auto` has made the loss NaN.
    Wrong: `{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "adam_w_mode": true}}}` with `zenflow`
    Right: `{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}` with `zenflow`
    """
    if not zenflow_is_on(case) or case.known_stage not in (1, 2):
        return
    if not case.has("optimizer") or (case.optimizer and case.get("optimizer.params") is None):
        key = "optimizer" if case.has("optimizer") else F
        yield case.error(key, "ZenFlow needs an `optimizer` with `params` in the config", help="add them")
    elif case.optimizer and case.optimizer not in ("adam", "adamw"):
        never_updates = case.get(f"{F}.update_interval") in (None, AUTO) and case.reader == "raw"  # ZT359
        found = case.warning if never_updates else case.error
        yield found("optimizer.type", f"ZenFlow cannot step with `{case.get('optimizer.type')}`", help="use `AdamW`")
    else:
        for name in case.mapping("optimizer.params"):
            if name not in SHARED_PARAMS:
                yield case.refused_key(f"optimizer.params.{name}", f"ZenFlow does not take `{name}`", help="remove it")


@config_rule("ZT359", "zenflow-accumulation")
def zenflow_accumulation(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZenFlow overwrites the number of accumulation steps.

    Why: `deepspeed.initialize` sets `gradient_accumulation_steps` to `update_interval`, after the batch sizes have been
    checked. When that is `auto`, the default, it is set to 0; `engine.backward` divides the loss by it unless it is
    told not to, and the loss is NaN from the second step on.
    Wrong: `{"gradient_accumulation_steps": 1, "zero_optimization": {"stage": 2, "zenflow": {}}}`
    Right: `{"gradient_accumulation_steps": 4, "zero_optimization": {"stage": 2, "zenflow": {"update_interval": 4}}}`
    """
    if not zenflow_is_on(case) or case.known_stage not in (1, 2, 3):
        return
    steps, interval = whole(case.get("gradient_accumulation_steps")), case.get(f"{F}.update_interval")
    updates = whole(interval)
    if interval in (None, AUTO) and case.reader != "hf" and not case.is_compiled:
        message = "with `update_interval: auto` `engine.backward` divides the loss by 0 accumulation steps"
        yield case.warning(F, message, help="give `update_interval` a number")
    elif steps is not None and updates is not None and steps != updates:
        message = f"ZenFlow replaces {steps} `gradient_accumulation_steps` by its `update_interval`, {updates}"
        yield case.warning("gradient_accumulation_steps", message, help=f"set it to {updates}")


RULES: tuple[Rule, ...] = (
    zenflow_cannot_run,
    zenflow_intervals,
    zenflow_without_overlap,
    zenflow_optimizer,
    zenflow_accumulation,
)
