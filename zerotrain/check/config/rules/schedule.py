"""DeepSpeed configs: the scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase
from zerotrain.check.config.conversion import shown
from zerotrain.check.config.rules.precision import settled_precision
from zerotrain.check.dsschema.schema import Signature
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

TORCH_SCHEDULERS = (
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau",
    "SequentialLR", "StepLR",
)  # fmt: skip
"""Classes of `torch.optim.lr_scheduler`, in which DeepSpeed looks for what it does not know itself."""

_WHOLE = ("warmup_num_steps", "lr_range_test_step_size")
"""Parameters that must be positive and whole."""
_NUMBERS = ("total_num_steps", "warmup_min_lr", "cycle_min_lr", "cycle_max_lr", "lr_range_test_min_lr")
"""Parameters that may not be null."""
_WARMUP_TYPES = ("log", "linear")


def _signature(case: ConfigCase) -> Signature | None:
    kind = case.get("scheduler.type")
    return case.schema.schedulers.get(kind) if isinstance(kind, str) else None


def _param(case: ConfigCase, name: str) -> float | None:
    """Returns a parameter that is a number, as written or by default, or None."""
    signature, params = _signature(case), case.mapping("scheduler.params")
    value = params.get(name, signature.params.get(name) if signature else None)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_filled(case: ConfigCase, value: Any) -> bool:
    return value == AUTO and case.reader != "raw"


@config_rule("ZT140", "unknown-scheduler")
def unknown_scheduler(case: ConfigCase) -> Iterator[Diagnostic]:
    """DeepSpeed does not know the scheduler.

    Why: the type is one of DeepSpeed's own or a class of `torch.optim.lr_scheduler`, both spelled exactly. The config
    is read without complaint; `deepspeed.initialize` fails.
    Wrong: `{"scheduler": {"type": "warmuplr", "params": {}}}`
    Right: `{"scheduler": {"type": "WarmupLR", "params": {}}}`
    """
    kind = case.get("scheduler.type")
    if kind is not None and not isinstance(kind, str):
        yield case.error("scheduler.type", f"the name of a scheduler is text, not {shown(kind)}")
    names = {name.lower(): name for name in (*TORCH_SCHEDULERS, *case.schema.schedulers)}
    if isinstance(kind, str) and kind not in names.values() and not _is_filled(case, kind):
        near = get_close_matches(kind.lower(), names, 1)
        help = f"did you mean `{names[near[0]]}`?" if near else f"one of {', '.join(case.schema.schedulers)}"
        yield case.error("scheduler.type", f"DeepSpeed knows no scheduler `{kind}`", help=help)


@config_rule("ZT141", "missing-scheduler-params")
def missing_scheduler_params(case: ConfigCase) -> Iterator[Diagnostic]:
    """The scheduler lacks its parameters, or one that it needs.

    Why: DeepSpeed unpacks `params` even when there are none, which fails with a `TypeError`, as does a required
    parameter that is absent. Frameworks fill only those that are there as `auto`.
    Wrong: `{"scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": 100}}}`
    Right: `{"scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": 100, "total_num_steps": 1000}}}`
    """
    signature = _signature(case)
    if not isinstance(case.get("scheduler.type"), str):
        return
    if case.get("scheduler.params") is None:
        message = f"`{case.get('scheduler.type')}` has no `params`"
        yield case.error("scheduler", message, help='add `"params": {}`')
    elif signature and isinstance(case.get("scheduler.params"), Mapping):
        for name in signature.required:
            if not case.has(f"scheduler.params.{name}"):
                message = f"`{case.get('scheduler.type')}` needs `{name}`"
                yield case.error("scheduler.params", message, help=f"add `{name}`")


@config_rule("ZT142", "refused-scheduler-param")
def refused_scheduler_param(case: ConfigCase) -> Iterator[Diagnostic]:
    """The scheduler does not take a parameter.

    Why: the parameters are handed to the scheduler as they are, which refuses those it does not know with a
    `TypeError` when the engine is built.
    Wrong: `{"scheduler": {"type": "WarmupLR", "params": {"total_num_steps": 1000}}}`
    Right: `{"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 1000}}}`
    """
    signature = _signature(case)
    for name in case.mapping("scheduler.params") if signature else ():
        if signature and name not in signature.params:
            takers = [kind for kind, other in case.schema.schedulers.items() if name in other.params]
            near = get_close_matches(str(name), signature.params, 1)
            help = f"did you mean `{near[0]}`?" if near else f"`{takers[0]}` does" if takers else "remove it"
            message = f"`{case.get('scheduler.type')}` does not take `{name}`"
            yield case.refused_key(f"scheduler.params.{name}", message, help=help)


@config_rule("ZT143", "refused-scheduler-value")
def refused_scheduler_value(case: ConfigCase) -> Iterator[Diagnostic]:
    """A parameter of the scheduler has a value that the scheduler refuses.

    Why: the length of a warm-up must be a positive whole number, and so must the step of a range test; 0 is refused
    since 0.19.6, and so is 100.0 where a framework reads the file. A cycle may not be empty.
    Wrong: `{"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 0}}}`
    Right: `{"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 1}}}`
    """
    signature, params = _signature(case), case.mapping("scheduler.params")
    for name, value in params.items():
        complaint = _complaint(name, value)
        if signature and name in signature.params and complaint:
            shown = "null" if value is None else "a list" if isinstance(value, list) else str(value).lower()
            message = f"`{name}` must be {complaint}, not {shown}"
            yield case.error(f"scheduler.params.{name}", message)


def _complaint(name: str, value: Any) -> str | None:
    """Returns what a parameter has to be, or None when it is; text is another rule's."""
    if isinstance(value, str | Mapping):
        return None
    number = value if isinstance(value, int | float) else None
    if name in _WHOLE:
        return None if isinstance(value, int) and value > 0 else "a positive whole number"
    if name == "cycle_first_step_size":
        return "positive" if number is None or number <= 0 else None
    if name == "cycle_second_step_size":
        return "at least 0" if number is not None and number < 0 else None
    return "a number" if name in _NUMBERS and value is None else None


@config_rule("ZT144", "torch-scheduler-on-wrapper")
def torch_scheduler_on_wrapper(case: ConfigCase) -> Iterator[Diagnostic]:
    """A scheduler of torch is to drive the optimizer of ZeRO or of 16-bit training.

    Why: DeepSpeed hands its own wrapper to the scheduler, and torch wants an optimizer of torch: `TypeError:
    DeepSpeedZeroOptimizer is not an Optimizer`. They go together only at stage 0 in fp32.
    Wrong: `{"scheduler": {"type": "StepLR", "params": {"step_size": 10}}, "zero_optimization": {"stage": 1}}`
    Right: `{"scheduler": {"type": "WarmupLR", "params": {}}, "zero_optimization": {"stage": 1}}`
    """
    kind, precision = case.get("scheduler.type"), settled_precision(case)
    is_torch = isinstance(kind, str) and kind in TORCH_SCHEDULERS and kind not in case.schema.schedulers
    if is_torch and (case.stage > 0 or precision in ("fp16", "bf16")):
        where = f"at stage {case.stage}" if case.stage else f"in {precision}"
        message = f"`{kind}` of torch does not take DeepSpeed's optimizer {where}"
        yield case.error("scheduler.type", message, help="use a scheduler of DeepSpeed, or build it in the script")


@config_rule("ZT145", "odd-schedule")
def odd_schedule(case: ConfigCase) -> Iterator[Diagnostic]:
    """The schedule runs otherwise than it reads.

    Why: DeepSpeed takes `log` for a warm-up of a kind it does not know, and does not compare the rates with one
    another.
    Wrong: `{"scheduler": {"type": "WarmupLR", "params": {"warmup_type": "cosine"}}}`
    Right: `{"scheduler": {"type": "WarmupLR", "params": {"warmup_type": "linear"}}}`
    """
    shape = case.get("scheduler.params.warmup_type")
    if _signature(case) is None:
        return
    if isinstance(shape, str) and shape not in _WARMUP_TYPES and not _is_filled(case, shape):
        message = f"`warmup_type` `{shape}` is unknown, and `log` is taken"
        yield case.warning("scheduler.params.warmup_type", message, help="use `log` or `linear`")
    for low, high in (("warmup_min_lr", "warmup_max_lr"), ("cycle_min_lr", "cycle_max_lr")):
        least, most = _param(case, low), _param(case, high)
        if least is not None and most is not None and least > most and case.has(f"scheduler.params.{low}"):
            message = f"`{low}` {least} is above `{high}` {most}, so that the rate goes down first"
            yield case.warning(f"scheduler.params.{low}", message, help="exchange them")
    ratio = _param(case, "cos_min_ratio")
    if ratio is not None and ratio > 1:
        message = f"`cos_min_ratio` {ratio} lets the rate grow after the warm-up"
        yield case.warning("scheduler.params.cos_min_ratio", message, help="use a ratio below 1")


@config_rule("ZT146", "warmup-longer-than-training")
def warmup_longer_than_training(case: ConfigCase) -> Iterator[Diagnostic]:
    """The warm-up is longer than the whole schedule.

    Why: DeepSpeed logs it and goes on; the rate climbs until training ends, never reaches its peak and never decays.
    The warm-up takes 1000 steps unless written.
    Wrong: `{"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 500}}}`
    Right: `{"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 500, "warmup_num_steps": 50}}}`
    """
    warmup, total = _param(case, "warmup_num_steps"), _param(case, "total_num_steps")
    if _signature(case) and warmup is not None and total is not None and warmup > total:
        message = f"a warm-up of {warmup} steps does not end within `total_num_steps` {total}"
        is_written = case.has("scheduler.params.warmup_num_steps")
        key = "scheduler.params.warmup_num_steps" if is_written else "scheduler.params.total_num_steps"
        yield case.warning(key, message, help="set a smaller `warmup_num_steps`")


@config_rule("ZT147", "overridden-learning-rate")
def overridden_learning_rate(case: ConfigCase) -> Iterator[Diagnostic]:
    """The scheduler takes another peak than the learning rate of the optimizer.

    Why: the rates of WarmupLR and WarmupDecayLR replace the optimizer's. Without `warmup_max_lr`, WarmupDecayLR climbs
    to 0.001, whatever `lr` is.
    Wrong: `{"optimizer": {"type": "AdamW", "params": {"lr": 1e-5}}, "scheduler": {"type": "WarmupDecayLR", "params":
    {"total_num_steps": 10000}}}`
    Right: the same with `"warmup_max_lr": 1e-5`
    """
    rate, peak = case.number("optimizer.params.lr"), _param(case, "warmup_max_lr")
    if rate is None or peak is None or rate == peak or _is_refused_by_trainer(case):
        return
    if case.has("scheduler.params.warmup_max_lr"):
        message = f"the rate climbs to `warmup_max_lr` {peak}, not to the optimizer's `lr` {rate}"
        yield case.warning("scheduler.params.warmup_max_lr", message, help="give both the same value")
    elif _signature(case):
        message = f"`{case.get('scheduler.type')}` climbs to {peak}, not to the optimizer's `lr` {rate}"
        yield case.warning("optimizer.params.lr", message, help=f"add `warmup_max_lr` {rate} to the scheduler")


def _is_refused_by_trainer(case: ConfigCase) -> bool:
    rate, peak = case.number("optimizer.params.lr"), case.number("scheduler.params.warmup_max_lr")
    return case.reader == "hf" and rate is not None and peak is not None and rate != peak


@config_rule("ZT148", "learning-rates-hf-refuses")
def learning_rates_hf_refuses(case: ConfigCase) -> Iterator[Diagnostic]:
    """HF Trainer is given two learning rates.

    Why: the Trainer compares `lr` of the optimizer and `warmup_max_lr` of the scheduler with its own `learning_rate`
    and stops with a `ValueError` when one of them differs.
    Wrong: `{"optimizer": {"params": {"lr": 1e-5}}, "scheduler": {"params": {"warmup_max_lr": 3e-4}}}`
    Right: `{"optimizer": {"params": {"lr": "auto"}}, "scheduler": {"params": {"warmup_max_lr": "auto"}}}`
    """
    if _is_refused_by_trainer(case):
        rate, peak = case.number("optimizer.params.lr"), case.number("scheduler.params.warmup_max_lr")
        message = f"HF Trainer wants `warmup_max_lr` {peak} and `lr` {rate} to be its one `learning_rate`"
        yield case.error("scheduler.params.warmup_max_lr", message, help='set both to `"auto"`')


@config_rule("ZT149", "trainer-without-warmup")
def trainer_without_warmup(case: ConfigCase) -> Iterator[Diagnostic]:
    """HF Trainer is to fill the length of the warm-up.

    Why: the Trainer's `warmup_steps` is 0 unless it is set, and since 0.19.6 DeepSpeed refuses a warm-up of 0 steps
    when the engine is built.
    Wrong: `{"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "auto"}}}` without `--warmup_steps`
    Right: the same with `--warmup_steps 100`
    """
    key = "scheduler.params.warmup_num_steps"
    if case.reader == "hf" and _signature(case) and case.get(key) == AUTO:
        message = "`auto` is 0 unless the Trainer is told `warmup_steps`, and DeepSpeed refuses 0"
        yield case.info(key, message, help="give the Trainer `warmup_steps` of at least 1")


RULES: tuple[Rule, ...] = (
    unknown_scheduler,
    missing_scheduler_params,
    refused_scheduler_param,
    refused_scheduler_value,
    torch_scheduler_on_wrapper,
    odd_schedule,
    warmup_longer_than_training,
    overridden_learning_rate,
    learning_rates_hf_refuses,
    trainer_without_warmup,
)
