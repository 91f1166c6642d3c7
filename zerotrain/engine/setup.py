"""From a run directory to an engine that is ready to train."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import deepspeed
import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.pipe.engine import PipelineEngine
from torch.distributed import distributed_c10d

from zerotrain.compile.facts import DataFacts
from zerotrain.compile.model import HEADS, refuse_small_vocabulary
from zerotrain.engine.compiling import compile_model
from zerotrain.engine.device import accelerator, groups_of, on_cpu
from zerotrain.engine.experts import refuse_other_experts
from zerotrain.engine.norm import gradient_norm
from zerotrain.engine.pipeline import clip_by_norm_over_stages, norm_over_stages
from zerotrain.engine.quirks import (
    clip_by_whole_norm,
    drop_orphaned_states,
    let_loss_scale_stay,
    refuse_nonfinite_gradients,
    restore_groups,
    undo_dummy_step,
)
from zerotrain.engine.ranks import Ranks
from zerotrain.engine.readback import refuse_differences
from zerotrain.engine.recorder import RecordingDict
from zerotrain.engine.rollcall import call_roll
from zerotrain.hardware.probe import cpu_count
from zerotrain.modeling.adapters import add_adapter
from zerotrain.modeling.batch_norm import even_out, normalize_in_fp32
from zerotrain.modeling.experts import add_experts
from zerotrain.modeling.groups import for_optimizer, freeze, trained_groups
from zerotrain.modeling.load import load_for_pipeline, load_model
from zerotrain.modeling.pipeline import pipeline_of
from zerotrain.modeling.recompute import enable_recompute
from zerotrain.modeling.sequence import divide_attention
from zerotrain.modeling.tiling import tile_head, tile_mlps
from zerotrain.modeling.unwrap import module_of
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.launch import LaunchSpec
from zerotrain.spec.run import RunSpec
from zerotrain.units import TimeSpan


@dataclass(frozen=True)
class ReadyEngine:
    """An engine whose settings have been read back, and the learning rates its groups reach at their peak."""

    engine: DeepSpeedEngine
    peaks: tuple[float, ...]

    def set_learning_rate(self, factor: float) -> None:
        """Sets every group's learning rate to a fraction of its peak."""
        for group, peak in zip(groups_of(self.engine), self.peaks, strict=True):
            group["lr"] = peak * factor


def start_process_group(ranks: Ranks, launch: LaunchSpec) -> None:
    """Lets the ranks meet; on a CPU also shares the processors among them.

    Raises EngineError with the ranks that do not come.
    """
    call_roll(ranks, launch.start_timeout)
    if on_cpu():
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, cpu_count() // ranks.local_world_size))
    else:
        accelerator().set_device(ranks.local_rank)
    timeout = timedelta(seconds=launch.timeout.seconds)
    deepspeed.init_distributed(timeout=timeout, auto_mpi_discovery=False, verbose=False)


def build_engine(run: RunDirectory, spec: RunSpec, facts: DataFacts, say: Callable[[str], None]) -> ReadyEngine:
    """Builds model and engine, and makes sure that the engine uses what was compiled.

    Raises EngineError with every difference or every pattern that matches no parameter, and SpecError when the data
    has tokens without an embedding.
    """
    ds_config = json.loads(run.ds_config.read_text(encoding="utf-8"))
    say("building the model")
    stages = spec.parallel.pp
    load = load_for_pipeline if stages > 1 else partial(load_model, ds_config=ds_config, head=HEADS[spec.task.type])
    model = load(spec.model, seed=spec.seed)
    if facts.vocab_size:
        refuse_small_vocabulary(model.config.get_text_config().vocab_size, facts)
        model.config.use_cache = False
    if spec.moe is not None:
        ep = spec.parallel.ep
        add_experts(model, spec.moe, ep, torch.distributed.get_rank() % ep, spec.seed)
    add_adapter(model, spec.model, HEADS[spec.task.type], spec.seed, ds_config)
    enable_recompute(model, spec.activation_checkpointing, ds_config)
    if spec.tiling.mlp > 1:
        tile_mlps(model, spec.tiling.mlp)
    freeze(model, spec.model.freeze)
    trained = pipeline_of(model, spec.seed, stages, spec.parallel.tp) if stages > 1 else model
    groups = trained_groups(trained, spec.optimizer)
    recorder = RecordingDict(ds_config)
    parameters: Any = for_optimizer(trained, groups, spec.parallel.ep)
    mpu = divide_attention(model, spec.parallel.sp) if spec.parallel.sp > 1 else None
    engine, *_ = deepspeed.initialize(model=trained, model_parameters=parameters, mpu=mpu, config=recorder)
    limit_all_groups(spec.launch.timeout)
    restore_groups(engine)
    refuse_differences(engine, recorder, groups)
    if spec.moe is not None:
        refuse_other_experts(engine, spec.moe, spec.parallel.ep)
    if spec.tiling.logits > 1:
        tile_head(module_of(engine), spec.tiling.logits)
    compile_model(engine, spec.compile)
    undo_dummy_step(engine)
    drop_orphaned_states(engine)
    _watch_gradients(engine)
    _even_out(engine, spec)
    return ReadyEngine(engine, tuple(group["lr"] for group in groups_of(engine)))


def limit_all_groups(timeout: TimeSpan) -> None:
    """Gives every process group the time limit that the first one got.

    DeepSpeed makes groups of its own without one (`new_group` in comm/torch.py), and torch's default for them is
    10 minutes with NCCL.
    """
    for group in list(distributed_c10d._world.pg_map):
        distributed_c10d._set_pg_timeout(timedelta(seconds=timeout.seconds), group)


def _watch_gradients(engine: DeepSpeedEngine) -> None:
    if isinstance(engine, PipelineEngine):
        clip_by_norm_over_stages(engine)
        refuse_nonfinite_gradients(engine, partial(norm_over_stages, engine))
    else:
        clip_by_whole_norm(engine)
        refuse_nonfinite_gradients(engine, lambda: gradient_norm(engine).item())
    let_loss_scale_stay(engine)


def _even_out(engine: DeepSpeedEngine, spec: RunSpec) -> None:
    count = spec.batch.gradient_accumulation_steps
    assert isinstance(count, int), "a run is made of what is settled"
    model = module_of(engine)
    normalize_in_fp32(model)
    even_out(model, count, lambda: engine.micro_steps % count + 1)
