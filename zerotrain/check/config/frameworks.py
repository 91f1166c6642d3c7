"""What HF Trainer and Accelerate do to a DeepSpeed config, and which of their own keys end up in one."""

from __future__ import annotations

from collections.abc import Mapping

from zerotrain.check.config.case import Reader

ACCELERATE_FILLS = frozenset(
    {
        "bf16.enabled",
        "fp16.enabled",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "optimizer.params.lr",
        "optimizer.params.weight_decay",
        "scheduler.params.total_num_steps",
        "scheduler.params.warmup_max_lr",
        "scheduler.params.warmup_min_lr",
        "scheduler.params.warmup_num_steps",
        "steps_per_print",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "zero_optimization.offload_optimizer.device",
        "zero_optimization.offload_optimizer.nvme_path",
        "zero_optimization.offload_param.device",
        "zero_optimization.offload_param.nvme_path",
        "zero_optimization.reduce_bucket_size",
        "zero_optimization.stage",
        "zero_optimization.stage3_gather_16bit_weights_on_model_save",
        "zero_optimization.stage3_param_persistence_threshold",
        "zero_optimization.stage3_prefetch_bucket_size",
    }
)
"""`auto` keys Accelerate 1.15 fills: `DeepSpeedPlugin` (utils/dataclasses.py) and `_prepare_deepspeed`
(accelerator.py). The optimizer's and the scheduler's are filled when the script passes `DummyOptim` and
`DummyScheduler`. `steps_per_print` is overwritten whatever it is."""

HF_TRAINER_FILLS = ACCELERATE_FILLS | {"optimizer.params.betas", "optimizer.params.eps"}
"""`auto` keys HF Trainer of transformers 5.23 fills (integrations/deepspeed.py); it runs on Accelerate, which fills
the rest of its own."""

FILLS: Mapping[Reader, frozenset[str]] = {
    "raw": frozenset(),
    "hf": HF_TRAINER_FILLS,
    "accelerate": ACCELERATE_FILLS,
}
"""`auto` keys that are filled before DeepSpeed sees the config, by who hands it over."""

FRAMEWORK: Mapping[Reader, str] = {"raw": "DeepSpeed", "hf": "HF Trainer", "accelerate": "Accelerate"}

TRAINING_ARGUMENTS: Mapping[str, str] = {
    "adam_beta1": "optimizer.params.betas",
    "adam_beta2": "optimizer.params.betas",
    "adam_epsilon": "optimizer.params.eps",
    "dataloader_drop_last": "dataloader_drop_last",
    "dataloader_num_workers": "",
    "ddp_find_unused_parameters": "",
    "do_eval": "",
    "do_train": "",
    "eval_steps": "",
    "eval_strategy": "",
    "evaluation_strategy": "",
    "fp16_full_eval": "",
    "gradient_checkpointing": "",
    "learning_rate": "optimizer.params.lr",
    "logging_dir": "",
    "logging_steps": "steps_per_print",
    "lr_scheduler_type": "scheduler.type",
    "max_grad_norm": "gradient_clipping",
    "max_steps": "scheduler.params.total_num_steps",
    "num_train_epochs": "",
    "optim": "optimizer.type",
    "output_dir": "",
    "per_device_eval_batch_size": "",
    "per_device_train_batch_size": "train_micro_batch_size_per_gpu",
    "remove_unused_columns": "",
    "report_to": "",
    "resume_from_checkpoint": "",
    "save_steps": "",
    "save_strategy": "",
    "save_total_limit": "",
    "warmup_ratio": "",
    "warmup_steps": "scheduler.params.warmup_num_steps",
    "weight_decay": "optimizer.params.weight_decay",
}
"""Fields of HF Trainer's `TrainingArguments` that are found in DeepSpeed configs, with the DeepSpeed key that says the
same; empty when there is none (transformers/training_args.py)."""

ACCELERATE_KEYS: Mapping[str, str] = {
    "compute_environment": "",
    "deepspeed_config": "",
    "deepspeed_config_file": "",
    "deepspeed_hostfile": "",
    "deepspeed_multinode_launcher": "",
    "distributed_type": "",
    "downcast_bf16": "",
    "machine_rank": "",
    "main_process_ip": "",
    "main_process_port": "",
    "main_training_function": "",
    "mixed_precision": "bf16.enabled",
    "num_machines": "",
    "num_processes": "",
    "offload_optimizer_device": "zero_optimization.offload_optimizer.device",
    "offload_optimizer_nvme_path": "zero_optimization.offload_optimizer.nvme_path",
    "offload_param_device": "zero_optimization.offload_param.device",
    "offload_param_nvme_path": "zero_optimization.offload_param.nvme_path",
    "rdzv_backend": "",
    "use_cpu": "",
    "zero3_init_flag": "",
    "zero3_save_16bit_model": "zero_optimization.stage3_gather_16bit_weights_on_model_save",
    "zero_stage": "zero_optimization.stage",
}
"""Keys of an Accelerate config file, likewise (accelerate/commands/config/config_args.py, DeepSpeedPlugin)."""

FOREIGN_KEYS: Mapping[str, Mapping[str, str]] = {
    "HF Trainer's `TrainingArguments`": TRAINING_ARGUMENTS,
    "Accelerate's own config": ACCELERATE_KEYS,
}

FOREIGN_FILES: Mapping[str, frozenset[str]] = {
    "HF Trainer arguments": frozenset(TRAINING_ARGUMENTS) - {"dataloader_drop_last"},
    "an Accelerate config": frozenset(ACCELERATE_KEYS),
    "a GPT-NeoX config": frozenset(
        {
            "attention_config",
            "data_impl",
            "hidden_size",
            "max_position_embeddings",
            "model_parallel_size",
            "no_weight_tying",
            "norm",
            "num_attention_heads",
            "num_layers",
            "pipe_parallel_size",
            "pos_emb",
            "seq_length",
            "train_iters",
        }
    ),
    "Megatron-LM arguments": frozenset(
        {
            "ffn_hidden_size",
            "global_batch_size",
            "hidden_size",
            "max_position_embeddings",
            "micro_batch_size",
            "num_attention_heads",
            "num_layers",
            "pipeline_model_parallel_size",
            "seq_length",
            "tensor_model_parallel_size",
            "train_iters",
            "vocab_file",
        }
    ),
    "a Hugging Face model config": frozenset(
        {
            "architectures",
            "hidden_act",
            "hidden_size",
            "intermediate_size",
            "model_type",
            "num_attention_heads",
            "num_hidden_layers",
            "torch_dtype",
            "transformers_version",
            "vocab_size",
        }
    ),
}
"""Names by which the file of another tool is recognized, dashes written as underscores."""

_MARKS = 4
"""Names that make a file one of another tool's."""


def is_filled(reader: Reader, path: str) -> bool:
    """Tells whether an `auto` at a path is replaced before DeepSpeed sees it."""
    return path in FILLS[reader]


def kind_of_file(names: frozenset[str]) -> str | None:
    """Returns what a file with these top-level keys looks like, or None when it looks like nothing known."""
    plain = {name.replace("-", "_") for name in names}
    shared, best = max((len(plain & marks), title) for title, marks in FOREIGN_FILES.items())
    return best if shared >= _MARKS else None
