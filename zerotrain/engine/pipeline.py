"""Training and measuring through a pipeline: DeepSpeed's engine runs the micro-batches, a task judges the logits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.pipe.engine import PipelineEngine
from deepspeed.runtime.utils import is_model_parallel_parameter
from torch import nn
from transformers.modeling_outputs import CausalLMOutput

from zerotrain.data.batch import Batch
from zerotrain.data.loader import GlobalBatch, MicroBatch
from zerotrain.engine.device import device_of
from zerotrain.modeling.initialize import derived_seed
from zerotrain.modeling.unwrap import module_of
from zerotrain.tasks.base import Meter, Model, Task

Judge = Callable[[torch.Tensor, Batch], torch.Tensor]
"""Logits of the last stage and the batch they belong to, to a scalar."""


class Computed(nn.Module):
    """Stands for the model at the last stage, where a task asks for logits that the pipeline has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.logits: torch.Tensor | None = None

    def forward(self, **_: Any) -> CausalLMOutput:
        """Returns the logits of the micro-batch that is judged."""
        return CausalLMOutput(logits=self.logits)  # pyright: ignore[reportArgumentType]


class Piped(nn.Module):
    """Stands for the model on every rank: one batch through all stages, for a look before the first step."""

    def __init__(self, engine: PipelineEngine) -> None:
        super().__init__()
        self._engine = [engine]  # in a list, so that the engine is no part of this module

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor, **_: Any) -> CausalLMOutput:
        """Returns the logits, without gradients. All ranks must call this."""
        (engine,) = self._engine
        said: list[torch.Tensor] = []

        def keep(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
            said.append(logits.cpu())
            return logits.new_zeros(())

        batch = Batch({"input_ids": input_ids, "position_ids": position_ids})
        # The stages have agreed on the shape of a micro-batch, and this is another one.
        engine.reset_activation_shape()
        _judge(engine, keep, [batch])
        engine.reset_activation_shape()
        shared: list[Any] = [said[0] if said else None]
        last = engine.grid.stage_to_global(engine.num_stages - 1)
        group: Any = engine.grid.get_pipe_parallel_group()
        dist.broadcast_object_list(shared, src=last, group=group)
        return CausalLMOutput(logits=shared[0].to(device_of(engine)))


def model_to_call(engine: DeepSpeedEngine) -> Model:
    """Returns what is called with a batch to see its logits: the engine, or what stands for a pipeline."""
    return Piped(engine) if isinstance(engine, PipelineEngine) else engine


def accumulate(engine: PipelineEngine, task: Task, batch: GlobalBatch, scale: float, seed: int) -> torch.Tensor:
    """Puts the micro-batches of a global batch through the pipeline and lets the optimizer step once.

    Returns the loss summed over the targets of this rank's micro-batches, at the last stage; 0 at the others. The
    gradient is that of the sum of all losses times `scale`, averaged over the pipelines. Dropout at a stage is drawn
    from the seed, the step, the stage and the pipeline: it does not depend on the steps before, but on how the model is
    divided. The ranks of a tensor-parallel group draw the same, because they have the same hidden states.
    """
    computed, total = Computed(), torch.zeros((), dtype=torch.float64, device=device_of(engine))
    # The engine divides what it is given by the number of micro-batches (`_scale_loss_by_gas`, runtime/engine.py).
    scale *= engine.gradient_accumulation_steps()

    def judge(logits: torch.Tensor, micro_batch: Batch) -> torch.Tensor:
        computed.logits = logits
        loss = task.loss(computed, micro_batch).total
        computed.logits = None
        total.add_(loss.detach())
        return loss * scale

    module_of(engine).loss_fn = judge
    place = dist.get_rank() // engine.grid.get_slice_parallel_world_size()
    with _reseeded(module_of(engine), derived_seed(seed, "dropout", batch.first_sample, "rank", place)):
        engine.train_batch(_fed((micro.batch for micro in batch.micro_batches), device_of(engine)))
    return total


def measure(engine: PipelineEngine, task: Task, micro_batches: Iterator[MicroBatch]) -> Meter:
    """Returns the task's meter with the batches added, at the last stage; without any at the others.

    As many micro-batches as a step has are under way at a time. All ranks must call this.
    """
    computed = Computed()
    meter = task.meter(computed, device_of(engine))

    def judge(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        computed.logits = logits
        meter.add(batch)
        computed.logits = None
        return logits.new_zeros(())

    while some := [micro.batch for micro in islice(micro_batches, engine.micro_batches)]:
        _judge(engine, judge, some)
    return meter


def clip_by_norm_over_stages(engine: PipelineEngine) -> None:
    """Lets a pipeline at stage 0 in fp32 clip by the norm of the whole gradient.

    There DeepSpeed clips by the norm of the first stage alone (`clip_grad_norm_` in runtime/utils.py counts ranks whose
    `get_model_parallel_rank()` is 0, which for a pipeline is the stage; DeepSpeed 0.19.8).
    """

    def clip() -> None:
        norm: Any = engine._global_grad_norm
        factor = min(1.0, engine.gradient_clipping() / (norm + 1e-6))
        for parameter in module_of(engine).parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    engine.clip_fp32_gradients = clip


def norm_over_stages(engine: PipelineEngine) -> float:
    """Returns the norm of the gradients of all stages; all ranks of a pipeline must call this.

    Weights that two stages or the ranks of a tensor-parallel group share count once, as in ZeRO's own norm and as in a
    model that is not divided.
    """
    is_first: bool = engine.grid.get_slice_parallel_rank() == 0
    own = [
        parameter
        for parameter in module_of(engine).parameters()
        if parameter.grad is not None
        and not parameter.ds_pipe_replicated
        and (is_first or is_model_parallel_parameter(parameter))
    ]
    norms = [torch.linalg.vector_norm(parameter.grad, dtype=torch.float64) for parameter in own]
    square = torch.stack(norms).square().sum() if norms else torch.zeros((), dtype=torch.float64)
    square = square.to(device_of(engine))
    dist.all_reduce(square, group=engine.grid.get_model_parallel_group())
    return square.sqrt().item()


def _judge(engine: PipelineEngine, judge: Judge, batches: Sequence[Batch]) -> None:
    module_of(engine).loss_fn = judge
    run: Any = engine.eval_batch
    fed = _fed(batches, device_of(engine))
    run(fed, reduce_output=None, bcast_loss=False, num_micro_batches=len(batches))


def _fed(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[tuple[torch.Tensor, torch.Tensor], Batch]]:
    """Yields what the first stage computes with, and what the last one judges by."""
    for batch in (batch.to(device) for batch in batches):
        yield (batch["input_ids"], batch["position_ids"]), batch


@contextmanager
def _reseeded(module: nn.Module, seed: int) -> Generator[None]:
    """Draws dropout anew before each forward pass of this stage, which has them in the order of the micro-batches."""
    passes = iter(range(2**63))
    hook = module.register_forward_pre_hook(lambda *_: torch.manual_seed(derived_seed(seed, next(passes))) and None)
    try:
        yield
    finally:
        hook.remove()
