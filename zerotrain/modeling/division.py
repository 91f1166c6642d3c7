"""Layers of a pipeline's stage divided over a tensor-parallel group, by DeepSpeed's AutoTP."""

from __future__ import annotations

from typing import Any

from deepspeed.checkpoint.constants import PARAMETER_WITH_ROW_PARALLELISM_PATTERNS, TP_REPLICATED_PARAMETER_PATTERNS
from deepspeed.module_inject.auto_tp import AutoTP
from deepspeed.module_inject.autotp_config import AutoTPConfig
from deepspeed.module_inject.layers import set_autotp_mode
from deepspeed.runtime.utils import is_model_parallel_parameter
from deepspeed.utils import groups
from torch import nn

from zerotrain.arch.sharding import TENSOR_SPLITS
from zerotrain.compile.sections.parallel import layer_plan
from zerotrain.diagnostic import error
from zerotrain.errors import EngineError


def divide(layers: nn.ModuleList, config: Any, tp: int) -> None:
    """Divides the layers of this rank over neighbouring ranks, in place; all ranks must call this.

    The engine divides whole models alone: its groups know no stages, and it would forget the pipeline's
    (`_configure_tensor_parallel_states` in runtime/engine.py, DeepSpeed 0.19.8). The layers are divided before a
    pipeline is made of them, so that no accelerator has to hold them whole. Raises EngineError when nothing was.
    """
    set_autotp_mode(training=True)
    groups._init_tp_mesh_device(tensor_model_parallel_size=tp)
    plan = AutoTPConfig.from_dict(layer_plan(TENSOR_SPLITS[config.model_type]))
    plan.tp_size = tp
    auto = AutoTP(
        module=layers,
        all_reduce_linears=(),
        prefix="",
        state_dict=None,
        linear_layer_setting=(nn.Linear, nn.Embedding),
        orig_layer_impl=None,
        partition_config=plan,
        model_config=config,
        training_mode=True,
    )
    auto.set_tensor_parallel_config(tp, groups.get_tensor_model_parallel_group())
    auto.update_linear_policies()
    auto._replace_module(layers)
    auto.register_replicated_grad_hooks(layers)
    if not any(is_model_parallel_parameter(parameter) for parameter in layers.parameters()):
        message = f"no layer of this stage was divided by `tp: {tp}`"
        raise EngineError(error("ZT803", "engine-differs", message, help="remove `parallel.tp`", key="parallel.tp"))


def divided_sides(architecture: str) -> dict[str, list[str]]:
    """Returns what a checkpoint says of divided weights, as AutoTP writes it for models without stages.

    Patterns of the names of those that are divided by their inputs, and of those that are whole on every rank; the
    rest is divided by its outputs.
    """
    split = TENSOR_SPLITS[architecture]
    columns, rows = ("|".join(names) for names in (split.column, split.row))
    return {
        PARAMETER_WITH_ROW_PARALLELISM_PATTERNS: [rf".*\.({rows})\.weight$"],
        TP_REPLICATED_PARAMETER_PATTERNS: [rf"(?!.*\.(({columns})\.(weight|bias)|({rows})\.weight)$)"],
    }
