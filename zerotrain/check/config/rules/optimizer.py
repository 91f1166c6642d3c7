"""DeepSpeed configs: optimizer and clipping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase
from zerotrain.check.config.partitioning import device_is_filled
from zerotrain.check.config.rules.precision import ADAMS
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

TORCH_OPTIMIZERS = (
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam",
    "RMSprop", "Rprop", "SGD", "SparseAdam",
)  # fmt: skip
"""Classes of `torch.optim`, in which DeepSpeed looks for what it does not know itself."""

ONE_BIT_OPTIMIZERS = ("onebitadam", "zerooneadam", "onebitlamb")
"""What DeepSpeed had once."""

TESTED_WITH_ZERO = ("adam", "adamw", "adagrad", "lion", "muon", "muadam", "muadamw")
"""What ZeRO takes unasked, in lower case; runtime/zero/utils.py. The last two are torch's Adam and AdamW."""

_CPU_ADAGRAD = ("lr", "eps", "weight_decay", "amsgrad", "fp32_optimizer_states")
_NUMBERS = ("lr", "eps", "weight_decay", "momentum", "muon_lr", "adam_lr")
_NS_METHODS = ("gram", "standard")


def is_known(case: ConfigCase) -> bool:
    """Tells whether DeepSpeed finds the optimizer of the config."""
    return case.optimizer in case.schema.optimizers or case.get("optimizer.type") in TORCH_OPTIMIZERS


def _is_on_host(case: ConfigCase) -> bool:
    return case.device("offload_optimizer") is not None


@config_rule("ZT127", "unknown-optimizer")
def unknown_optimizer(case: ConfigCase) -> Iterator[Diagnostic]:
    """DeepSpeed does not know the optimizer.

    Why: the type is one of DeepSpeed's own in any case, or a class of `torch.optim` spelled exactly. The config is read
    without complaint; `deepspeed.initialize` fails. The 1-bit optimizers are gone from DeepSpeed.
    Wrong: `{"optimizer": {"type": "sgd", "params": {"lr": 0.1}}}`
    Right: `{"optimizer": {"type": "SGD", "params": {"lr": 0.1}}}`
    """
    kind = case.get("optimizer.type")
    if not isinstance(kind, str) or is_known(case) or (kind == AUTO and case.reader != "raw"):
        return
    if kind.lower() in ONE_BIT_OPTIMIZERS:
        message = f"DeepSpeed {case.schema.version} has no `{kind}` any more"
        yield case.error("optimizer.type", message, help="use `AdamW` or `Lamb`")
    else:
        names = {name.lower(): name for name in (*case.schema.optimizers, *TORCH_OPTIMIZERS)}
        near = get_close_matches(kind.lower(), names, 1)
        help = f"did you mean `{names[near[0]]}`?" if near else "use one of DeepSpeed's, such as `AdamW`"
        yield case.error("optimizer.type", f"DeepSpeed knows no optimizer `{kind}`", help=help)


@config_rule("ZT128", "optimizer-without-type")
def optimizer_without_type(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer has no type.

    Why: DeepSpeed builds nothing then and ignores the parameters; without an optimizer from the script it fails at the
    first step.
    Wrong: `{"optimizer": {"params": {"lr": 1e-4}}}`
    Right: `{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}`
    """
    if isinstance(case.get("optimizer"), Mapping) and case.get("optimizer.type") is None:
        message = "`optimizer` without `type` builds no optimizer"
        yield case.warning("optimizer", message, help='add `"type": "AdamW"`')


@config_rule("ZT129", "refused-optimizer-param")
def refused_optimizer_param(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer does not take a parameter.

    Why: the parameters are handed to the optimizer as they are, which refuses those it does not know with a
    `TypeError` when the engine is built. `max_grad_norm` is refused for every optimizer.
    Wrong: `{"optimizer": {"type": "AdamW", "params": {"max_grad_norm": 1.0}}}`
    Right: `{"optimizer": {"type": "AdamW"}, "gradient_clipping": 1.0}`
    """
    known = _taken(case)
    signature = case.schema.optimizers.get(case.optimizer or "")
    for name in case.mapping("optimizer.params"):
        key = f"optimizer.params.{name}"
        if name == "max_grad_norm":
            message = "`max_grad_norm` is no parameter of an optimizer"
            yield case.refused_key(key, message, help="use `gradient_clipping` at the top level")
        elif known is not None and name not in known and not (signature and signature.drops_unknown):
            near = get_close_matches(str(name), known, 1)
            message = f"`{case.get('optimizer.type')}` does not take `{name}`{_circumstance(case)}"
            yield case.refused_key(key, message, help=f"did you mean `{near[0]}`?" if near else "remove it")


def _taken(case: ConfigCase) -> set[str] | None:
    """Returns the parameters the implementation takes that DeepSpeed picks, or None when nobody knows."""
    kind = case.optimizer or ""
    signature = case.schema.optimizers.get(kind)
    if signature is None:
        return None
    taken = set(signature.params)
    if kind in ADAMS and case.get("optimizer.params.torch_adam"):
        return (taken | set(signature.torch_only)) - {"bias_correction", "set_grad_none"}
    if _is_on_host(case):
        return taken & set(_CPU_ADAGRAD) if kind == "adagrad" else taken - {"set_grad_none"}
    is_filled = device_is_filled(case, "offload_optimizer")
    is_deprecated = bool(case.get("zero_optimization.cpu_offload"))
    unused = (
        {"fp32_optimizer_states"} if kind in ("adagrad", "lion") and not (is_filled or is_deprecated) else set[str]()
    )
    return taken - unused


def _circumstance(case: ConfigCase) -> str:
    if case.optimizer in ADAMS and case.get("optimizer.params.torch_adam"):
        return " with `torch_adam`"
    return " on the CPU" if _is_on_host(case) else ""


@config_rule("ZT130", "dropped-optimizer-param")
def dropped_optimizer_param(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer ignores a parameter.

    Why: DeepSpeed picks from the parameters of Muon the ones it knows and drops the others without a word.
    Wrong: `{"optimizer": {"type": "Muon", "params": {"lr": 0.02, "nesterov": true}}}`
    Right: `{"optimizer": {"type": "Muon", "params": {"lr": 0.02, "momentum": 0.95}}}`
    """
    signature = case.schema.optimizers.get(case.optimizer or "")
    if signature is None or not signature.drops_unknown:
        return
    for name in case.mapping("optimizer.params"):
        if name not in signature.params and name not in (*signature.torch_only, "max_grad_norm"):
            near = get_close_matches(str(name), signature.params, 1)
            message = f"`{case.get('optimizer.type')}` ignores `{name}`"
            help = f"did you mean `{near[0]}`?" if near else "remove it"
            yield case.ignored_key(f"optimizer.params.{name}", message, help=help)


@config_rule("ZT131", "refused-optimizer-value")
def refused_optimizer_value(case: ConfigCase) -> Iterator[Diagnostic]:
    """A parameter of the optimizer has a value that the optimizer cannot use.

    Why: nothing looks at the parameters before the optimizer uses them, at the first step. The Adam and the Lamb of
    DeepSpeed have no AMSGrad, and Muon knows two ways of orthogonalizing.
    Wrong: `{"optimizer": {"type": "AdamW", "params": {"lr": null, "betas": [0.9]}}}`
    Right: `{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "betas": [0.9, 0.999]}}}`
    """
    params = case.mapping("optimizer.params")
    signature = case.schema.optimizers.get(case.optimizer or "")
    if not is_known(case):
        return
    for name in _NUMBERS if signature else ("lr",):
        if name in params and (params[name] is None or isinstance(params[name], list)):
            message = f"`{name}` must be a number, not {_shown(params[name])}"
            yield case.error(f"optimizer.params.{name}", message)
    if signature and "betas" in signature.params and "betas" in params and not _is_pair(params["betas"]):
        message = f"`betas` must be two numbers, not {_shown(params['betas'])}"
        yield case.error("optimizer.params.betas", message, help="such as `[0.9, 0.999]`")
    yield from _refused_switches(case, params)


def _refused_switches(case: ConfigCase, params: Mapping[str, Any]) -> Iterator[Diagnostic]:
    kind, method = case.optimizer, params.get("ns_method", "gram")
    is_own = kind == "lamb" or (kind in ADAMS and not params.get("torch_adam"))
    if is_own and params.get("amsgrad") is True:
        message = f"`{case.get('optimizer.type')}` of DeepSpeed has no `amsgrad`"
        help = "add `torch_adam: true`, or remove it" if kind in ADAMS else "remove it"
        yield case.error("optimizer.params.amsgrad", message, help=help)
    if kind == "muon" and method not in _NS_METHODS:
        message = f"`ns_method` must be one of {', '.join(_NS_METHODS)}, not {_shown(method)}"
        yield case.error("optimizer.params.ns_method", message)


def _is_pair(value: Any) -> bool:
    """Tells whether two values are there; text is another rule's."""
    return isinstance(value, str | Mapping) or (isinstance(value, list) and len(value) == 2)


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else "null" if value is None else f"`{value}`"
    return text if len(text) <= 40 else f"{text[:37]}…"


@config_rule("ZT132", "adam-means-adamw")
def adam_means_adamw(case: ConfigCase) -> Iterator[Diagnostic]:
    """Adam and AdamW are not told apart by the type.

    Why: `Adam` decays weights as AdamW does unless `adam_w_mode` is false, and `AdamW` does so whatever `adam_w_mode`
    says.
    Wrong: `{"optimizer": {"type": "Adam", "params": {"weight_decay": 0.01}}}`
    Right: `{"optimizer": {"type": "AdamW", "params": {"weight_decay": 0.01}}}`
    """
    kind, decay = case.optimizer, case.number("optimizer.params.weight_decay")
    if kind == "adam" and decay and decay > 0 and not case.has("optimizer.params.adam_w_mode"):
        message = f"`Adam` decays weights by {decay} as AdamW does"
        help = 'write `"AdamW"`, or `"adam_w_mode": false` for the L2 term of Adam'
        yield case.warning("optimizer.type", message, help=help)
    elif kind == "adamw" and case.get("optimizer.params.adam_w_mode") is False:
        message = "`AdamW` stays AdamW with `adam_w_mode` false"
        yield case.warning("optimizer.params.adam_w_mode", message, help='write `"type": "Adam"`')


@config_rule("ZT133", "untested-optimizer-with-zero")
def untested_optimizer_with_zero(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer is not one that ZeRO takes unasked.

    Why: ZeRO knows Adam, AdamW, Adagrad, Lion and Muon; any other fails with `You are using an untested ZeRO
    Optimizer` unless it is allowed. HF Trainer and Accelerate allow only an optimizer that is not in the config.
    Wrong: `{"optimizer": {"type": "SGD"}, "zero_optimization": {"stage": 1}}`
    Right: the same with `"zero_allow_untested_optimizer": true`
    """
    is_allowed = bool(case.get("zero_allow_untested_optimizer"))
    if case.stage > 0 and is_known(case) and case.optimizer not in TESTED_WITH_ZERO and not is_allowed:
        message = f"ZeRO refuses `{case.get('optimizer.type')}`, which it is not tested with"
        yield case.error("optimizer.type", message, help='add `"zero_allow_untested_optimizer": true`, or use `AdamW`')


@config_rule("ZT134", "unusable-optimizer")
def unusable_optimizer(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer cannot work under these circumstances.

    Why: Lamb wants a dynamic loss scale; Lamb and Lion are CUDA kernels, and only Lion has one for a CPU, which is used
    for offloaded states. `legacy_fusion` calls the fused Adam in a way it refuses. L-BFGS needs a function to
    evaluate the model, which the engine does not give it.
    Wrong: `{"optimizer": {"type": "Lamb"}, "fp16": {"enabled": true, "loss_scale": 128}}`
    Right: `{"optimizer": {"type": "Lamb"}, "fp16": {"enabled": true, "loss_scale": 0}}`
    """
    kind, scale = case.optimizer, case.number("fp16.loss_scale")
    on_cpu = case.gpu is not None and case.gpu.host
    written = case.get("optimizer.type")
    if kind == "lamb" and scale:
        message = f"`{written}` needs a dynamic loss scale, and `loss_scale` is {scale}"
        yield case.error("optimizer.type", message, help="set `fp16.loss_scale` to 0")
    elif on_cpu and (kind == "lamb" or (kind == "lion" and not _is_on_host(case))):
        yield case.error("optimizer.type", f"`{written}` has no kernel for a CPU", help="use `AdamW`")
    elif written == "LBFGS":
        yield case.error("optimizer.type", "the engine cannot step `LBFGS`, which needs a closure", help="use `AdamW`")
    if case.get("optimizer.legacy_fusion") is True and _is_wrapped_adam(case) and not _is_on_host(case):
        message = "`legacy_fusion` fails at the first step"
        yield case.error("optimizer.legacy_fusion", message, help="remove it")


def _is_wrapped_adam(case: ConfigCase) -> bool:
    """Tells whether it is an Adam that `FP16_Optimizer` wraps, which is in 16 bits without ZeRO."""
    is_own = case.optimizer in ADAMS and not case.get("optimizer.params.torch_adam")
    return is_own and case.precision != "fp32" and case.stage == 0 and case.get("zero_optimization.stage") != AUTO


@config_rule("ZT135", "muon-with-reduce-scatter")
def muon_with_reduce_scatter(case: ConfigCase) -> Iterator[Diagnostic]:
    """Muon is used at stage 3 with scattered gradients.

    Why: Muon works on whole matrices. At stage 3 DeepSpeed refuses it unless `reduce_scatter` is off, and it is on by
    default.
    Wrong: `{"optimizer": {"type": "Muon"}, "zero_optimization": {"stage": 3}}`
    Right: `{"optimizer": {"type": "Muon"}, "zero_optimization": {"stage": 3, "reduce_scatter": false}}`
    """
    if case.optimizer == "muon" and case.stage == 3 and case.on("zero_optimization.reduce_scatter"):
        message = "Muon at stage 3 needs `reduce_scatter` off"
        key = "zero_optimization.reduce_scatter" if case.has("zero_optimization.reduce_scatter") else "optimizer.type"
        yield case.error(key, message, help='add `"reduce_scatter": false` to `zero_optimization`, or use stage 2')


@config_rule("ZT136", "adam-steps-at-start")
def adam_steps_at_start(case: ConfigCase) -> Iterator[Diagnostic]:
    """Adam trains in 16 bits at stage 0.

    Why: the wrapper DeepSpeed uses there takes a step with empty gradients when it is built. Adam counts it, so that
    its first real update is three quarters of what it is at stages 1 to 3, and weights decay once too often.
    Wrong: `{"optimizer": {"type": "AdamW"}, "bf16": {"enabled": true}}`
    Right: the same with `"zero_optimization": {"stage": 1}`
    """
    if not case.is_compiled and not case.has("pipeline") and _is_wrapped_adam(case):
        message = (
            f"in {case.precision} at stage 0 DeepSpeed takes a step of {case.get('optimizer.type')} before training"
        )
        yield case.warning("optimizer.type", message, help="use stage 1, which costs no more memory")


@config_rule("ZT137", "missing-optimizer")
def missing_optimizer(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZeRO is on, and the config has no optimizer.

    Why: stages 1 and 2 partition the states of an optimizer and refuse to start without one, so that the script has to
    hand one to `deepspeed.initialize`.
    Wrong: `{"zero_optimization": {"stage": 2}}`
    Right: the same with `"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}`
    """
    if case.reader == "raw" and case.stage in (1, 2) and not case.has("optimizer"):
        message = f"stage {case.stage} needs an optimizer, and the config has none"
        yield case.info("zero_optimization", message, help="hand one to `deepspeed.initialize`, or add `optimizer`")


@config_rule("ZT138", "negative-clipping")
def negative_clipping(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are to be clipped to a negative norm.

    Why: DeepSpeed clips only to a norm above 0; a negative one switches clipping off.
    Wrong: `{"gradient_clipping": -1}`
    Right: `{"gradient_clipping": 0}` for no clipping
    """
    limit = case.number("gradient_clipping")
    if limit is not None and limit < 0:
        message = f"`gradient_clipping` of {limit} switches clipping off"
        yield case.warning("gradient_clipping", message, help="write 0 for off, or a positive norm")


@config_rule("ZT139", "default-clipping")
def default_clipping(case: ConfigCase) -> Iterator[Diagnostic]:
    """Clipping is not mentioned, and is on.

    Why: since 0.19.3 DeepSpeed clips gradients to a norm of 1.0 unless the config says otherwise; before, it did not
    clip. Where the key is absent, HF Trainer does not put its `max_grad_norm` in.
    Wrong: `{"train_micro_batch_size_per_gpu": 1}` when the gradients are not meant to be clipped
    Right: `{"train_micro_batch_size_per_gpu": 1, "gradient_clipping": 0}`
    """
    key = case.schema.key("gradient_clipping")
    norm = key.default if key else None
    if isinstance(norm, int | float) and norm > 0 and not case.has("gradient_clipping"):
        message = f"gradients are clipped to a norm of {norm}, the default of DeepSpeed {case.schema.version}"
        yield case.info("gradient_clipping", message, help="write `gradient_clipping`; 0 is off")


RULES: tuple[Rule, ...] = (
    unknown_optimizer,
    optimizer_without_type,
    refused_optimizer_param,
    dropped_optimizer_param,
    refused_optimizer_value,
    adam_means_adamw,
    untested_optimizer_with_zero,
    unusable_optimizer,
    muon_with_reduce_scatter,
    adam_steps_at_start,
    missing_optimizer,
    negative_clipping,
    default_clipping,
)
