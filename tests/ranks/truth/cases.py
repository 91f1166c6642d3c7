"""Seeded DeepSpeed configs: pairwise over what people combine, half of them with one deliberate mistake."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from truth.mistakes import MISTAKES

Patch = Mapping[str, Any]
"""Values by dotted path."""
Row = dict[str, str]
"""The name of the choice made for each factor."""


@dataclass(frozen=True)
class Case:
    """A config, and the ranks that are to run it."""

    config: dict[str, Any]
    world_size: int
    mistake: str | None = None
    """What was done to it on purpose."""
    model: str = "llama"
    """What the script trains with it: a name of `models.MODELS`."""

    @property
    def text(self) -> str:
        return json.dumps(self.config, indent=2)

    def smaller(self) -> Iterator[Case]:
        """Yields this case with fewer ranks, with the plain model, then without each of its keys, sections first."""
        if self.world_size > 1:
            yield replace(self, world_size=self.world_size - 1)
        if self.model != "llama":
            yield replace(self, model="llama")
        for path in sorted(paths_of(self.config), key=len):
            yield replace(self, config=without(self.config, path))


def paths_of(config: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yields the path of every key."""
    for key, value in config.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *path) for path in paths_of(value))


def without(config: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Returns a config without the key at a path."""
    if len(path) == 1:
        return {key: value for key, value in config.items() if key != path[0]}
    return {**config, path[0]: without(config[path[0]], path[1:])}


def adam(kind: str, **params: Any) -> Patch:
    return {"optimizer": {"type": kind, "params": {"lr": 1e-3, **params}}}


def schedule(kind: str, **params: Any) -> Patch:
    return {"scheduler": {"type": kind, "params": params}}


def expert_parallel(**values: Any) -> Patch:
    return {f"expert_parallel.{name}": value for name, value in {"enabled": True, **values}.items()}


FACTORS: dict[str, dict[str, Patch]] = {
    "world": {name: {} for name in ("1", "2", "3", "4")},
    "model": {
        "llama": {},
        "mixtral": {},
        "mixtral, ep 1": expert_parallel(autoep_size=1),
        "mixtral, ep 2": expert_parallel(autoep_size=2, preset_model="mixtral"),
        "moe layer": {},
        "lora": {},
    },
    "stage": {
        "2": {"zero_optimization.stage": 2},
        "1": {"zero_optimization.stage": 1},
        "3": {"zero_optimization.stage": 3},
        "0": {"zero_optimization.stage": 0},
        "absent": {},
    },
    "precision": {
        "bf16": {"bf16.enabled": True},
        "fp32": {},
        "autocast": {"torch_autocast.enabled": True, "torch_autocast.dtype": "bfloat16"},
        "bfloat16": {"bfloat16.enabled": True},
        "explicit": {"bf16.enabled": True, "data_types.param_dtype": "bf16"},
    },
    "optimizer": {
        "AdamW": adam("AdamW", betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1),
        "Adam": adam("Adam", adam_w_mode=False),
        "torch_adam": adam("AdamW", torch_adam=True),
        "Adagrad": adam("Adagrad"),
        "SGD": adam("SGD", momentum=0.9),
        "SGD allowed": {**adam("SGD"), "zero_allow_untested_optimizer": True},
        "RMSprop allowed": {**adam("RMSprop"), "zero_allow_untested_optimizer": True},
        "Muon": adam("Muon", muon_lr=2e-2, momentum=0.95),
        "the script's": {},
    },
    "scheduler": {
        "none": {},
        "WarmupLR": schedule("WarmupLR", warmup_min_lr=0, warmup_max_lr=1e-3, warmup_num_steps=10),
        "WarmupDecayLR": schedule("WarmupDecayLR", warmup_num_steps=2, warmup_max_lr=1e-3, total_num_steps=20),
        "WarmupCosineLR": schedule("WarmupCosineLR", warmup_num_steps=2, total_num_steps=20),
        "OneCycle": schedule("OneCycle", cycle_min_lr=1e-4, cycle_max_lr=1e-3, cycle_first_step_size=5),
        "LRRangeTest": schedule("LRRangeTest", lr_range_test_min_lr=1e-4, lr_range_test_step_size=5),
        "StepLR": schedule("StepLR", step_size=2),
    },
    "offload_optimizer": {
        "absent": {},
        "none": {"zero_optimization.offload_optimizer.device": "none"},
        "cpu": {"zero_optimization.offload_optimizer": {"device": "cpu", "pin_memory": False}},
        "deprecated": {"zero_optimization.cpu_offload": True},
    },
    "offload_param": {"absent": {}, "cpu": {"zero_optimization.offload_param.device": "cpu"}},
    "accumulation": {name: {} for name in ("1", "2", "3", "4")},
    "batch": {name: {} for name in ("micro", "micro and steps", "train", "train and micro", "train and steps", "all")},
    "clipping": {
        "absent": {},
        "1": {"gradient_clipping": 1.0},
        "0": {"gradient_clipping": 0},
        "negative": {"gradient_clipping": -1.0},
    },
    "recompute": {
        "absent": {},
        "on": {"activation_checkpointing": {"partition_activations": True, "cpu_checkpointing": False}},
    },
    "zero++": {
        "absent": {},
        **{f"hpZ {size}": {"zero_optimization.zero_hpz_partition_size": size} for size in (1, 2, 3)},
        "qgZ": {"zero_optimization.zero_quantized_gradients": True},
    },
    "communication": {
        "absent": {},
        "fp32": {"communication_data_type": "fp32"},
        "prescale": {"prescale_gradients": True},
        "predivide": {"gradient_predivide_factor": 2.0},
        "sum": {"gradient_allreduce_op": "sum"},
    },
    "grad_accum_dtype": {
        "absent": {},
        "fp32": {"data_types.grad_accum_dtype": "fp32"},
        "bf16": {"data_types.grad_accum_dtype": "bf16"},
    },
    "buckets": {
        "absent": {},
        "even": {"zero_optimization.allgather_bucket_size": 20000, "zero_optimization.reduce_bucket_size": 20000},
        "odd": {"zero_optimization.allgather_bucket_size": 20001},
        "scattered": {"zero_optimization.reduce_scatter": False},
        "stage3": {"zero_optimization.stage3_param_persistence_threshold": 0},
    },
    "overlap": {
        "absent": {},
        "overlap": {"zero_optimization.overlap_comm": True},
        "not contiguous": {"zero_optimization.contiguous_gradients": False},
        "round robin": {"zero_optimization.round_robin_gradients": True},
    },
    "parallel": {
        "none": {},
        "tp": {"tensor_parallel.autotp_size": 2},
        "sp": {"sequence_parallel_size": 2},
        "sp and dp": {"sequence_parallel_size": 2},
        "ep": expert_parallel(autoep_size=2),
        "pp": {"pipeline": {"stages": 2, "activation_checkpoint_interval": 1}},
    },
    "reporting": {
        "none": {},
        "print": {"steps_per_print": 1, "wall_clock_breakdown": True},
        "tensorboard": {"tensorboard": {"enabled": True, "output_path": "events"}},
        "csv": {"csv_monitor": {"enabled": True, "output_path": "csv"}},
        "flops": {"flops_profiler": {"enabled": True, "profile_step": 1, "output_file": "flops.txt"}},
        "comms": {"comms_logger": {"enabled": True, "verbose": False}},
    },
    "checkpoint": {
        "absent": {},
        "tag": {"checkpoint": {"tag_validation": "Fail"}},
        "local": {"checkpoint": {"use_node_local_storage": True}},
        "parallel": {"checkpoint": {"parallel_write": {"pipeline_stage": True}}},
    },
}
"""What is combined; the first choice of each is the ordinary one."""

ORDINARY = {"plain": 0.5, "mistaken": 0.9}
"""How often a factor is left at its ordinary choice; what is refused anyway would hide the mistake."""
ALWAYS_VARIED = ("world", "stage", "precision", "batch")
OFTEN_VARIED = ("model",)
"""What hides no mistake."""
SELDOM_VARIED = ("parallel",)
"""What more often than not refuses the number of ranks, and hides the rest."""
TRIES = 8


def cases(seed: int, count: int) -> Iterator[Case]:
    """Yields cases: every other one with a mistake."""
    random = Random(seed)
    mistakes = itertools.cycle(random.sample(list(MISTAKES), len(MISTAKES)))
    for number, row in enumerate(rows(random, count)):
        case = build(row)
        yield spoil(case, next(mistakes), random) if number % 2 else case


def rows(random: Random, count: int) -> Iterator[Row]:
    """Yields rows that together cover pairs of choices as fast as chance allows; every other one is mostly ordinary."""
    uncovered = set(itertools.chain.from_iterable(_all_pairs()))
    for number in range(count):
        ordinary = ORDINARY["mistaken" if number % 2 else "plain"]
        row = max((draw(random, ordinary) for _ in range(TRIES)), key=lambda row: len(uncovered & pairs(row)))
        uncovered -= pairs(row)
        yield row


def draw(random: Random, ordinary: float) -> Row:
    """Returns a choice for each factor."""
    chances = dict.fromkeys(FACTORS, ordinary) | dict.fromkeys(ALWAYS_VARIED, 0.0)
    chances |= dict.fromkeys(OFTEN_VARIED, 0.5) | dict.fromkeys(SELDOM_VARIED, 0.85)
    return {
        factor: next(iter(choices)) if random.random() < chances[factor] else random.choice(list(choices))
        for factor, choices in FACTORS.items()
    }


def pairs(row: Row) -> set[tuple[tuple[str, str], ...]]:
    """Returns all pairs of choices of a row."""
    return set(itertools.combinations(sorted(row.items()), 2))


def _all_pairs() -> Iterator[Iterator[tuple[tuple[str, str], ...]]]:
    for one, other in itertools.combinations(sorted(FACTORS), 2):
        yield itertools.product(((one, name) for name in FACTORS[one]), ((other, name) for name in FACTORS[other]))


def build(row: Row) -> Case:
    """Returns the case of a row."""
    config: dict[str, Any] = {}
    world, steps, micro = int(row["world"]), int(row["accumulation"]), 2
    config.update(batch(row["batch"], world, steps, micro))
    for factor, choice in row.items():
        for path, value in FACTORS[factor][choice].items():
            put(config, path, value)
    if row["parallel"] == "sp and dp":
        config["data_parallel_size"] = max(1, world // 2)
    # Which layers tensor parallelism can split follows from the model alone.
    model = "llama" if row["parallel"] == "tp" else row["model"].partition(",")[0]
    return Case(config, world, model=model)


def batch(form: str, world: int, steps: int, micro: int) -> dict[str, int]:
    """Returns the batch sizes, those that are written in this form; the others follow."""
    train = {"train_batch_size": world * steps * micro}
    accumulated, small = {"gradient_accumulation_steps": steps}, {"train_micro_batch_size_per_gpu": micro}
    forms = {
        "micro": small,
        "micro and steps": small | accumulated,
        "train": {"train_batch_size": world * micro},
        "train and micro": train | small,
        "train and steps": train | accumulated,
        "all": train | small | accumulated,
    }
    return dict(forms[form])


def put(config: dict[str, Any], path: str, value: Any) -> None:
    """Puts a value at a dotted path."""
    *sections, last = path.split(".")
    for section in sections:
        config = config.setdefault(section, {})
    if isinstance(value, dict) and isinstance(config.get(last), dict):
        config[last].update(copy.deepcopy(value))
    else:
        config[last] = copy.deepcopy(value)


def spoil(case: Case, name: str, random: Random) -> Case:
    """Returns the case with a mistake in it."""
    config = copy.deepcopy(case.config)
    MISTAKES[name](config, random)
    return replace(case, config=config, mistake=name)
