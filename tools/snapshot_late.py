"""What `snapshot.py` cannot see by running DeepSpeed's parser: keys read later than at parsing, values checked by hand.

Every name here is looked up in the file it is said to be read in.
"""

from __future__ import annotations

from typing import Any

_BOOL = {"kinds": ["bool"]}
_INT = {"kinds": ["int"]}
_STR = {"kinds": ["str"]}
_LIST = {"kinds": ["list"]}
_DICT = {"kinds": ["dict"]}
_SECTION = {"kinds": ["dict"], "section": True}
_NUMBER = {"kinds": ["float", "int"]}
_COUNT = {"kinds": ["int", "null"]}
_NAME = {"kinds": ["str", "null"]}


def _one_of(*values: Any, any_case: bool = False) -> dict[str, Any]:
    return {"choices": list(values)} | ({"any_case": True} if any_case else {})


_SENT = _NAME | _one_of("fp16", "bf16", "fp32", any_case=True)
_DTYPE = _one_of(
    *("torch.float16", "fp16", "float16", "half"),
    *("torch.float32", "fp32", "float32", "float"),
    *("torch.bfloat16", "bf16", "bfloat16"),
    *("torch.int8", "int8"),
)
_SAMPLING = "data_efficiency.data_sampling"
_METRIC = f"{_SAMPLING}.curriculum_learning.curriculum_metrics.*"
_RANDOM_LTD = "data_efficiency.data_routing.random_ltd"
_EFFICIENCY_NAMES = "runtime/data_pipeline/constants.py"

LATE: list[tuple[str, str, dict[str, dict[str, Any]]]] = [
    (
        "",
        "__init__.py",
        {
            "communication_data_type": _SENT,
            "data_parallel_size": _INT,
            "disable_allgather": {"deprecated": ""},
            "datastates_ckpt": {"kinds": ["bool", "dict", "null"]},
            "gradient_accumulation_steps": _COUNT,
            "gradient_allreduce_op": _one_of("mean", "sum", any_case=True),
            "log_level": _NAME | _one_of("debug", "info", "warning", "error", "critical", any_case=True),
            "optimizer": _SECTION,
            "scheduler": _SECTION,
            "seq_parallel_communication_data_type": _SENT,
            "sequence_parallel_size": _INT,
            "steps_per_print": _COUNT,
            "train_batch_size": _COUNT,
            "train_micro_batch_size_per_gpu": _COUNT,
            "vocabulary_size": _COUNT,
            "zero_optimization": {"kinds": ["dict", "bool"], "section": True},
        },
    ),
    (
        "",
        "runtime/zero/config.py",
        {"allgather_size": _NUMBER | {"deprecated": "zero_optimization.allgather_bucket_size"}},
    ),
    (
        "activation_checkpointing",
        "runtime/activation_checkpointing/config.py",
        {"number_checkpoints": _COUNT},
    ),
    (
        "autotuning",
        "autotuning/constants.py",
        {
            "arg_mappings": {"kinds": ["dict", "null"]},
            "max_train_batch_size": _COUNT,
            "metric_path": _NAME,
            "model_info_path": _NAME,
        },
    ),
    (
        "autotuning.model_info",
        "autotuning/constants.py",
        {"hidden_size": _COUNT, "num_layers": _COUNT, "num_params": _COUNT},
    ),
    (
        "checkpoint",
        "runtime/model_checkpointing/constants.py",
        {"tag_validation": _one_of("WARN", "IGNORE", "FAIL", any_case=True)},
    ),
    ("checkpoint.parallel_write", "runtime/constants.py", {"pipeline_stage": _one_of(True, False)}),
    (
        "checkpoint.writer",
        "runtime/model_checkpointing/constants.py",
        {
            "data_parallel": _NAME | _one_of("REPLICA", "SOCKET", "MACHINE", any_case=True),
            "type": _NAME | _one_of("MOCK", "PYTHON", "FAST", any_case=True),
        },
    ),
    (
        f"{_SAMPLING}.curriculum_learning",
        _EFFICIENCY_NAMES,
        {"curriculum_metrics": _SECTION, "data_cluster_path": _STR},
    ),
    (
        _METRIC,
        _EFFICIENCY_NAMES,
        {
            "clustering_type": _STR,
            "difficulty_type": _STR,
            "index_to_metric_path": _STR,
            "index_to_sample_path": _STR,
            "max_difficulty": _INT,
            "min_difficulty": _INT,
            "schedule_config": _SECTION,
            "schedule_type": _STR | _one_of("fixed_discrete", "fixed_root", "fixed_linear", "custom"),
        },
    ),
    (
        f"{_METRIC}.schedule_config",
        _EFFICIENCY_NAMES,
        {
            "difficulty": _LIST,
            "difficulty_step": _INT,
            "max_step": _LIST,
            "root_degree": _NUMBER,
            "total_curriculum_step": _INT,
        },
    ),
    (
        f"{_SAMPLING}.dynamic_batching",
        _EFFICIENCY_NAMES,
        {
            "max_batch_size": _INT,
            "max_tokens": _INT,
            "metrics_path": _STR,
            "sequence_picking_order": _one_of("dataloader", "random", "seqlen"),
        },
    ),
    (
        _RANDOM_LTD,
        _EFFICIENCY_NAMES,
        {
            "hidden_state_order": _STR | _one_of("batch_seq_dim", "seq_batch_dim"),
            "layer_token_lr_schedule": _SECTION,
            "model_mask_name": _NAME,
            "model_type": _STR | _one_of("encoder", "decoder"),
            "random_ltd_layer_id": _LIST,
            "random_ltd_layer_num": _INT,
            "random_ltd_schedule": _SECTION,
            "total_layer_num": _INT,
        },
    ),
    (
        f"{_RANDOM_LTD}.random_ltd_schedule",
        _EFFICIENCY_NAMES,
        {
            "max_value": _INT,
            "min_value": _INT,
            "schedule_config": _SECTION,
            "schedule_type": _STR | _one_of("fixed_linear"),
        },
    ),
    (
        f"{_RANDOM_LTD}.random_ltd_schedule.schedule_config",
        _EFFICIENCY_NAMES,
        {"require_steps": _INT, "seq_per_step": _INT},
    ),
    (
        "data_types",
        "runtime/constants.py",
        {
            "buffer_dtype": _NAME | _DTYPE,
            "grad_accum_dtype": _NAME | _DTYPE,
            "keep_in_fp32_modules": {"kinds": ["str", "list"]},
            "param_dtype": _NAME | _DTYPE,
        },
    ),
    (
        "expert_parallel",
        "module_inject/auto_ep_config.py",
        {
            "combine_impl": _one_of("auto", "weighted_sum", "fused_weighted_sum", "legacy_bmm"),
            "comm_backend": _one_of("comm", "deepep"),
            "comm_max_tokens_per_rank": {"minimum": 0},
            "comm_num_sm": {"minimum": 1},
            "comm_qp_margin": {"minimum": 0},
            "expert_activation": _NAME,
            "expert_pattern": _NAME,
            "expert_w1": _NAME,
            "expert_w2": _NAME,
            "expert_w3": _NAME,
            "gate_up_impl": _one_of("separate", "fused"),
            "has_shared_experts": {"kinds": ["bool", "null"]},
            "load_balance_coeff": {"kinds": ["null"]},
            "moe_layer_pattern": _NAME,
            "num_expert_groups": _COUNT | {"minimum": 1},
            "num_experts_attr": _NAME,
            "num_limited_groups": _COUNT | {"minimum": 1},
            "preset_model": _NAME,
            "route_norm": {"kinds": ["bool", "null"]},
            "routed_scaling_factor": {"kinds": ["str", "float", "int"]},
            "router_pattern": _NAME,
            "row_weighting_impl": _one_of("auto", "eager", "fused"),
            "score_apply": _one_of("auto", "pre", "post"),
            "score_func": _one_of("auto", "softmax", "sigmoid"),
            "shared_experts_gate_pattern": _NAME,
            "shared_experts_pattern": _NAME,
            "top_k": {"kinds": ["str", "int"]},
            "top_k_attr": _NAME,
        },
    ),
    ("flops_profiler", "profiling/constants.py", {"output_file": _NAME}),
    ("fp16", "runtime/precision_config.py", {"loss_scale": {"minimum": 0}}),
    (
        "optimizer",
        "runtime/constants.py",
        {
            "legacy_fusion": _BOOL | {"default": False},
            "params": {"kinds": ["dict", "null"]},
            "type": _NAME,
        },
    ),
    (
        "pipeline",
        "runtime/pipe/engine.py",
        {
            "partition": {"deprecated": ""},
            "seed_layers": {"deprecated": ""},
            "stages": {"kinds": ["str", "int"], "deprecated": ""},
            "use_reentrant": {"kinds": ["bool", "null"], "default": True},
        },
    ),
    ("scheduler", "runtime/constants.py", {"params": _DICT, "type": _NAME}),
    (
        "tensor_parallel.partition_config",
        "module_inject/autotp_config.py",
        {
            "embedding_partition_dim": _INT | {"default": 1},
            "layer_specs": _LIST | {"default": []},
            "lm_head_patterns": _LIST | {"default": ["lm_head", "embed_out"]},
            "strict_mode": _BOOL | {"default": False},
            "tp_size": _INT | {"default": 1},
            "use_default_specs": _BOOL | {"default": True},
        },
    ),
    (
        "tensor_parallel.partition_config.layer_specs.*",
        "module_inject/autotp_config.py",
        {
            "gather_output": _BOOL | {"default": False},
            "grad_allreduce": _BOOL | {"default": False},
            "model_types": {"kinds": ["list", "null"]},
            "partition_dim": _COUNT,
            "partition_type": _STR | _one_of("row", "column", "skip", any_case=True) | {"default": "column"},
            "patterns": _LIST | {"default": []},
            "shape": {"kinds": ["list", "null"]},
        },
    ),
    (
        "torch_autocast",
        "runtime/constants.py",
        {"dtype": _STR | _DTYPE, "lower_precision_safe_modules": _LIST},
    ),
    (
        "zero_optimization.zenflow",
        "runtime/zenflow/zenflow_config.py",
        {"select_strategy": _one_of("auto", "step", "epoch")},
    ),
]
"""Section, the file that names its keys, and what is known of each beside what the parser shows."""

REMOVED: dict[str, str] = {
    "amp": "use `bf16`, `fp16` or `torch_autocast`",
    "compression_training": "the compression library is gone; take the section out, and quantize after training",
    "curriculum_learning": "move it to `data_efficiency.data_sampling.curriculum_learning`, whose form is another",
    "eigenvalue": "take the section out; it belonged to mixture-of-quantization, which is gone",
    "elasticity": "take the section out and set the batch keys for the ranks there are",
    "graph_harvesting": "take the key out; DeepSpeed no longer captures graphs",
    "nebula": "take the section out; save with `checkpoint.writer`, or to a disk that others copy from",
    "progressive_layer_drop": "take the section out; dropping layers is the model's own affair now",
    "quantize_training": "take the section out; mixture-of-quantization is gone",
    "sparse_attention": "take the section out; choose the attention in the model",
    "sparse_gradients": "take the key out; an embedding made with `sparse=True` is reduced sparsely without it",
    "zero_optimization.mics_hierarchical_params_gather": "take the key out; MiCS is gone",
    "zero_optimization.mics_shard_size": (
        "take the key out; MiCS is gone, and `zero_hpz_partition_size` keeps a second copy of the weights in each node"
    ),
    "zero_optimization.zeropp_loco_param": (
        "take the key out; `zero_quantized_gradients` works without error feedback"
    ),
}
"""What to do instead of a key that is refused because it was removed."""
