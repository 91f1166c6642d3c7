"""What people get wrong in a DeepSpeed config, each as a change to a config that is sound."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Config = dict[str, Any]
Mistake = Callable[[Config, Random], None]

WRONG_VALUES: tuple[Any, ...] = ("auto", None, [], {}, [1], {"a": 1}, -1, 0, 1.5, True, False, "yes", "1", "")


def keys_of(config: Config) -> Iterator[tuple[Config, str]]:
    """Yields every key with the section it stands in."""
    for key, value in config.items():
        yield config, key
        if isinstance(value, dict):
            yield from keys_of(value)


def leaves_of(config: Config) -> list[tuple[Config, str]]:
    return [(section, key) for section, key in keys_of(config) if not isinstance(section[key], dict)]


def misspell(config: Config, random: Random) -> None:
    _rename(config, random, [key for key in keys_of(config) if len(key[1]) > 2])


def misspell_a_section(config: Config, random: Random) -> None:
    _rename(config, random, [(config, key) for key in config])


def misspell_inside(config: Config, random: Random) -> None:
    inside = [key for key in keys_of(config) if key[0] is not config and len(key[1]) > 2]
    _rename(config, random, inside or list(keys_of(config)))


def _rename(config: Config, random: Random, keys: list[tuple[Config, str]]) -> None:
    section, key = random.choice(keys)
    at = random.randrange(1, len(key) - 1)
    wrong = random.choice((key[:at] + key[at + 1 :], key[:at] + key[at] + key[at:], key[:at] + "_" + key[at:]))
    items = [(wrong if name == key else name, value) for name, value in section.items()]
    section.clear()
    section.update(items)


def misplace_inside(config: Config, random: Random) -> None:
    """Moves a key of the top level into a section."""
    sections = [value for value in config.values() if isinstance(value, dict)]
    loose = [key for key, value in config.items() if not isinstance(value, dict)]
    if sections and loose:
        key = random.choice(loose)
        random.choice(sections)[key] = config.pop(key)


def misplace_outside(config: Config, random: Random) -> None:
    """Moves a key of a section to the top level."""
    inside = [(section, key) for section, key in leaves_of(config) if section is not config]
    if inside:
        section, key = random.choice(inside)
        config[key] = section.pop(key)


def wrong_value(config: Config, random: Random) -> None:
    section, key = random.choice(leaves_of(config))
    section[key] = random.choice(WRONG_VALUES)


def wrong_section(config: Config, random: Random) -> None:
    sections = [(section, key) for section, key in keys_of(config) if isinstance(section[key], dict)]
    section, key = random.choice(sections or list(keys_of(config)))
    section[key] = random.choice((True, False, None, [], [1], "on", 1))


def auto(config: Config, random: Random) -> None:
    section, key = random.choice(leaves_of(config))
    section[key] = "auto"


def number_as_text(config: Config, random: Random) -> None:
    numbers = [(s, k) for s, k in leaves_of(config) if isinstance(s[k], int | float) and not isinstance(s[k], bool)]
    section, key = random.choice(numbers)
    section[key] = str(section[key])


def whole_float(config: Config, random: Random) -> None:
    numbers = [(s, k) for s, k in leaves_of(config) if isinstance(s[k], int) and not isinstance(s[k], bool)]
    section, key = random.choice(numbers)
    section[key] = float(section[key])


def values(*choices: dict[str, Any]) -> Mistake:
    """Puts one of several sets of values into the config, by dotted path."""

    def change(config: Config, random: Random) -> None:
        for path, value in random.choice(choices).items():
            *sections, last = path.split(".")
            section = config
            for name in sections:
                if not isinstance(section.get(name), dict):
                    section[name] = {}
                section = section[name]
            section[last] = copy.deepcopy(value)

    return change


def optimizer(kind: str, **params: Any) -> dict[str, Any]:
    return {"optimizer": {"type": kind, "params": {"lr": 1e-3, **params}}}


def scheduler(kind: str, **params: Any) -> dict[str, Any]:
    return {"scheduler": {"type": kind, "params": params}}


ZERO = "zero_optimization"
MISTAKES: dict[str, Mistake] = {
    "misspelt": misspell,
    "misspelt section": misspell_a_section,
    "misspelt inside": misspell_inside,
    "misplaced inside": misplace_inside,
    "misplaced outside": misplace_outside,
    "wrong value": wrong_value,
    "wrong value again": wrong_value,
    "wrong section": wrong_section,
    "auto": auto,
    "number as text": number_as_text,
    "whole float": whole_float,
    "auto everywhere": values({"train_batch_size": "auto", "gradient_clipping": "auto", "bf16": {"enabled": "auto"}}),
    "indivisible batch": values(
        {"train_batch_size": 10, "train_micro_batch_size_per_gpu": 4},
        {"train_batch_size": 7, "gradient_accumulation_steps": 3},
        {"train_batch_size": 8, "train_micro_batch_size_per_gpu": 3, "gradient_accumulation_steps": 2},
        {"train_batch_size": 1, "train_micro_batch_size_per_gpu": 2},
        {"train_batch_size": 5},
    ),
    "zero batch": values(
        {"gradient_accumulation_steps": 0},
        {"train_micro_batch_size_per_gpu": 0},
        {"train_batch_size": 0},
        {"gradient_accumulation_steps": -1},
    ),
    "removed key": values(
        {"elasticity": {"enabled": False}},
        {"amp": {"enabled": False}},
        {"sparse_gradients": False},
        {"compression_training": {}},
        {"nebula": {"enabled": False}},
        {"curriculum_learning": {"enabled": False}},
        {"progressive_layer_drop": {"enabled": False}},
        {f"{ZERO}.mics_shard_size": -1},
        {f"{ZERO}.zeropp_loco_param": {}},
    ),
    "both spellings": values(
        {f"{ZERO}.stage3_prefetch_bucket_size": 100, f"{ZERO}.prefetch_bucket_size": 100},
        {"bf16": {"enabled": True}, "bfloat16": {"enabled": False}},
        {f"{ZERO}.cpu_offload": True, f"{ZERO}.offload_optimizer": {"device": "cpu"}},
        {f"{ZERO}.stage3_gather_fp16_weights_on_model_save": True},
    ),
    "both precisions": values({"fp16.enabled": True, "bf16.enabled": True}),
    "fp16": values({"fp16.enabled": True, "bf16.enabled": False, "bfloat16": {}}, {"fp16": {"auto_cast": True}}),
    "fp16 scale": values(
        {"fp16": {"enabled": False, "loss_scale": -1}},
        {"fp16": {"enabled": False, "loss_scale_window": 0}},
        {"fp16": {"enabled": False, "hysteresis": 0, "min_loss_scale": 0, "loss_scale": 8}},
    ),
    "master weights": values(
        {"bf16": {"enabled": True, "bf16_master_weights_and_grads": True}},
        {"bf16": {"enabled": True, "bf16_optimizer_states": True}},
        {"bf16": {"enabled": True, "check_overflow": True}},
        {"bf16": {"enabled": True, "immediate_grad_update": True}},
    ),
    "autocast": values(
        {"torch_autocast": {"enabled": True, "dtype": "fp15"}},
        {"torch_autocast": {"enabled": True}},
        {"torch_autocast": {"enabled": True, "dtype": "bf16", "lower_precision_safe_modules": ["torch.nn.Nothing"]}},
        {"torch_autocast": {"enabled": True, "dtype": "bf16", "lower_precision_safe_modules": ["torch.nn.Linear"]}},
    ),
    "data types": values(
        {"data_types.grad_accum_dtype": "fp64"},
        {"data_types.grad_accum_dtype": "float32"},
        {"data_types.param_dtype": "fp32"},
        {"data_types.param_dtype": "bf16"},
        {"data_types.buffer_dtype": "fp32"},
        {"data_types.keep_in_fp32_modules": "norm"},
    ),
    "unknown optimizer": values(
        optimizer("OneBitAdam"), optimizer("adam8bit"), optimizer("sgd"), optimizer("lr_scheduler"), optimizer("MuAdam")
    ),
    "unknown parameter": values(
        optimizer("AdamW", max_grad_norm=1.0),
        optimizer("AdamW", beta1=0.9),
        optimizer("Muon", nesterov=True),
        optimizer("AdamW", foreach=True),
        optimizer("AdamW", torch_adam=True, bias_correction=True),
        optimizer("Adagrad", momentum=0.9),
    ),
    "optimizer's values": values(
        optimizer("AdamW", amsgrad=True),
        optimizer("AdamW", betas=0.9),
        optimizer("AdamW", eps="1e-8"),
        {"optimizer": {"type": "AdamW", "params": {"lr": "1e-4"}}},
        {"optimizer": {"type": "AdamW"}},
        {"optimizer": {"params": {"lr": 1e-3}}},
        {"optimizer": {"type": "AdamW", "params": {"lr": 1e-3}, "legacy_fusion": True}},
        optimizer("Muon", ns_method="none"),
    ),
    "other hardware": values(
        optimizer("Lamb"),
        optimizer("Lion"),
        optimizer("FusedAdam"),
        {f"{ZERO}.zero_quantized_weights": True},
        {f"{ZERO}.zero_quantized_nontrainable_weights": True},
        {"aio": {"use_gds": True}},
    ),
    "scheduler": values(
        scheduler("warmuplr", warmup_num_steps=2),
        scheduler("WarmupLR", warmup_num_steps=0),
        scheduler("WarmupLR", warmup_num_steps=10.0),
        scheduler("WarmupLR", warmup_steps=10),
        scheduler("WarmupLR", warmup_type="cubic"),
        scheduler("WarmupDecayLR", warmup_num_steps=2),
        scheduler("WarmupDecayLR", warmup_num_steps=20, total_num_steps=10),
        scheduler("WarmupCosineLR", total_num_steps=10, lr=1e-3),
        scheduler("CosineAnnealingLR", T_max=10),
        scheduler("OneCycle", cycle_min_lr=1e-3),
        {"scheduler": {"type": "WarmupLR"}},
        {"scheduler": {"params": {"warmup_num_steps": 10}}},
    ),
    "nvme": values(
        {f"{ZERO}.offload_optimizer": {"device": "nvme"}},
        {f"{ZERO}.offload_param": {"device": "nvme"}},
        {f"{ZERO}.offload_optimizer": {"device": "nvme", "nvme_path": "nvme"}},
        {f"{ZERO}.offload_param": {"device": "nvme", "nvme_path": "nvme"}},
    ),
    "offload's values": values(
        {f"{ZERO}.offload_optimizer": {"device": "cpu", "ratio": 0.5}},
        {f"{ZERO}.offload_optimizer": {"device": "cpu", "ratio": 1.5}},
        {f"{ZERO}.offload_optimizer": {"device": "cpu", "super_offload": True}},
        {f"{ZERO}.offload_optimizer": {"device": "gpu"}},
        {f"{ZERO}.offload_optimizer": True},
        {f"{ZERO}.offload_param": {"device": "cpu", "buffer_count": 0}},
        {f"{ZERO}.cpu_offload_parms": True},
    ),
    "zero's values": values(
        {f"{ZERO}.stage": 4},
        {f"{ZERO}.stage": "2"},
        {f"{ZERO}.stage": 2.0},
        {ZERO: True},
        {f"{ZERO}.legacy_stage1": True},
        {f"{ZERO}.compute_grad_norm": False},
        {f"{ZERO}.compute_grad_norm": False, "gradient_clipping": 0},
        {f"{ZERO}.elastic_checkpoint": True},
        {f"{ZERO}.reduce_bucket_size": 1.5},
        {f"{ZERO}.reduce_bucket_size": 5e8},
        {f"{ZERO}.sub_group_size": 0},
        {f"{ZERO}.pipeline_loading_checkpoint": True},
        {f"{ZERO}.parameter_alignment": True},
        {f"{ZERO}.leaf_module": {"classes": ["Nothing"]}},
    ),
    "zenflow": values(
        {f"{ZERO}.zenflow": {"topk_ratio": 0.1}},
        {f"{ZERO}.zenflow": {"select_interval": 4}},
        {f"{ZERO}.zenflow": {"update_interval": 0}},
        {f"{ZERO}.zenflow": {"topk_ratio": 0.1}, f"{ZERO}.offload_optimizer": {"device": "cpu"}},
        {f"{ZERO}.zenflow": {"topk_ratio": 0.1, "update_interval": 4}, f"{ZERO}.offload_optimizer": {"device": "cpu"}},
    ),
    "communication": values(
        {"communication_data_type": "bfloat16"},
        {"communication_data_type": 16},
        {"communication_data_type": "fp16"},
        {"gradient_allreduce_op": "max"},
        {"gradient_predivide_factor": 0},
        {"seq_parallel_communication_data_type": "bfloat16"},
        {"allgather_size": 100},
        {"disable_allgather": True},
    ),
    "accumulation": values({"managed_gradient_accumulation": False}),
    "reporting": values(
        {"steps_per_print": 0},
        {"steps_per_print": "auto"},
        {"log_level": "verbose"},
        {"log_level": "warning"},
        {"wall_clock_breakdown": "auto"},
        {"wandb": {"enabled": True}},
        {"comet": {"enabled": True}},
        {"monitor_config": {"tensorboard": {"enabled": True}}},
        {"comms_logger": {"enabled": False}},
        {"flops_profiler": {"enabled": True, "profile_steps": 1}},
        {"timers": {"throughput": {"enable": True}}},
        {"vocabulary_size": 100},
        {"dump_state": True},
    ),
    "checkpoint": values(
        {"checkpoint": {"tag_validation": "Never"}},
        {"checkpoint": {"writer": {"type": "python"}}},
        {"checkpoint": {"writer": {"type": "fast", "data_parallel": "replica"}}},
        {"checkpoint": {"writer": {"type": "python", "data_parallel": "replica"}}},
        {"checkpoint": {"writer": {"type": "slow"}}},
        {"checkpoint": {"parallel_write": {"pipeline_stage": "yes"}}},
        {"datastates_ckpt": {"enabled": False}},
        {"checkpoint": {"checkpoint_serialization": False}},
    ),
    "parallelism": values(
        {"tensor_parallel": {"autotp_size": 3}},
        {"tensor_parallel": {"autotp_size": 2, "tp": {"tp_size": 4}}},
        {"tensor_parallel": {"autotp_size": -1}},
        {"tensor_parallel": {"tp_size": 2}},
        {"tensor_parallel": {"dtype": "bf16"}},
        {"sequence_parallel_size": 3},
        {"sequence_parallel_size": 0},
        {"data_parallel_size": 2},
        {"expert_parallel": {"enabled": True, "autoep_size": 3}},
        {"expert_parallel": {"enabled": True, "preset_model": "gpt"}},
        {"expert_parallel": {"enabled": True, "load_balance_coeff": 0.1}},
        {"expert_parallel": {"enabled": True, "autoep_size": 1, "expert_tensor_parallel_size": 2}},
        {"expert_parallel": {"enabled": False, "score_func": "tanh"}},
        {"pipeline": {"stages": 2, "partition": "nothing"}},
        {"pipeline": True},
    ),
    "compile": values(
        {"compile": {"deepcompile": True}},
        {"compile": {"enabled": True}},
        {"compile": {"deepcompile": True}, "gradient_allreduce_op": "sum"},
        {"compile": {"passes": ["z9"]}},
    ),
    "data": values(
        {"data_efficiency": {"enabled": True, "data_sampling": {"curriculum_learning": {"enabled": True}}}},
        {"data_efficiency": {"data_sampling": {"dynamic_batching": {"enabled": True}}}},
        {"data_efficiency": {"data_routing": {"random_ltd": {"enabled": True}}}},
        {"data_efficiency": {"enabled": True}},
        {"dataloader_drop_last": "yes"},
    ),
    "comments": values({"_comment": "ours"}, {f"{ZERO}._comment": "ours"}, {"bf16": {"enabled": True, "_note": "x"}}),
    "other sections": values(
        {"hybrid_engine": {"enabled": True}},
        {"hybrid_engine": {"max_out_tokens": 0}},
        {"autotuning": {"enabled": True}},
        {"autotuning": {"results_dir": ""}},
        {"weight_quantization": {"enabled": True, "bits": 8}},
        {"aio": {"block_sizes": 1}},
        {"activation_checkpointing": {"partitioned_activations": True}},
        {"quantize_training": {}},
        {"use_data_before_expert_parallelism": True},
        {"activation_checkpointing": True},
    ),
}
"""By name."""
