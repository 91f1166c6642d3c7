"""What a DeepSpeed config partitions and offloads, as far as it can be known from the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from zerotrain.check.config.case import AUTO, ConfigCase

Z = "zero_optimization"

_DEPRECATED = {"offload_optimizer": f"{Z}.cpu_offload", "offload_param": f"{Z}.cpu_offload_param"}


def offload_key(case: ConfigCase, which: Literal["offload_optimizer", "offload_param"]) -> str:
    """Returns the dotted path of the key that asks for offload."""
    return _DEPRECATED[which] if case.on(_DEPRECATED[which]) else f"{Z}.{which}"


def device_is_filled(case: ConfigCase, which: Literal["offload_optimizer", "offload_param"]) -> bool:
    """Tells whether a framework fills in the device."""
    return case.reader != "raw" and case.get(f"{Z}.{which}.device") == AUTO


def zenflow_is_on(case: ConfigCase) -> bool:
    """Tells whether ZenFlow is on: its section stands there, even an empty one."""
    return isinstance(case.get(f"{Z}.zenflow"), Mapping)


def may_build_bf16_optimizer(case: ConfigCase) -> bool:
    """Tells whether stage 1 can be DeepSpeed's `BF16_Optimizer`: bf16 weights, fp32 gradients, no offload to the CPU.

    It is when nothing that matters is left to a framework.
    """
    accumulates = case.get("data_types.grad_accum_dtype")
    in_fp32 = isinstance(accumulates, str) and accumulates in ("fp32", "float32", "float", "torch.float32")
    in_bf16 = case.precision == "bf16" or (case.reader != "raw" and case.get("bf16.enabled") == AUTO)
    return case.known_stage == 1 and in_bf16 and in_fp32 and case.device("offload_optimizer") != "cpu"


def builds_bf16_optimizer(case: ConfigCase) -> bool:
    """Tells whether stage 1 is certainly DeepSpeed's `BF16_Optimizer`."""
    settled = case.precision == "bf16" and not device_is_filled(case, "offload_optimizer")
    return settled and may_build_bf16_optimizer(case)


def asked(case: ConfigCase, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names in `settings` for which the ZeRO section holds anything but null, `auto` or the idle value."""
    for name, idle in settings.items():
        value = case.get(f"{Z}.{name}")
        is_known = case.schema.key(f"{Z}.{name}") is not None
        if is_known and value is not None and value not in (AUTO, idle):
            yield name
