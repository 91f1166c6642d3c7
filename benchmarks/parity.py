"""Every layout beside one plain rank: the largest relative difference of losses and gradient norms, in fp32.

`make parity` runs `zerotrain parity` for each of them, five optimizer steps from the same weights and samples, and
fails when one differs by more than 1e-4. `make parity ONLY=tp` runs those with these letters in their name.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SPEC = Path(__file__).with_name("parity.yaml")
STEPS = 5

TWO, FOUR = "hardware.gpus_per_node=2", "hardware.gpus_per_node=4"
_SIZES = "hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 4"
_LATENT = (
    "first_k_dense_replace: 1, q_lora_rank: 16, kv_lora_rank: 16, qk_rope_head_dim: 8, qk_nope_head_dim: 8, "
    "v_head_dim: 16"
)
_MODELS = {
    "mixtral": f"{{{_SIZES}, intermediate_size: 64, num_local_experts: 4}}",
    "qwen3_moe": f"{{{_SIZES}, head_dim: 16, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 64}}",
    "deepseek_v3": f"{{{_SIZES}, n_routed_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 64, "
    f"n_group: 2, topk_group: 1, {_LATENT}}}",
    "deepseek_v2": f"{{{_SIZES}, n_routed_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 64, {_LATENT}}}",
}
_STATES_ON_HOST = "zero.offload_optimizer={device: cpu}"


def layouts() -> dict[str, Sequence[str]]:
    """Returns what is laid over the spec for each layout."""
    return {**_of_zero(), **_of_axes(), **_of_experts(), **_of_expert_layers(), **_of_recompute(), **_of_tiling()}


def _of_zero() -> Mapping[str, Sequence[str]]:
    plain = {f"ZeRO {stage} x dp 2": (f"zero.stage={stage}", TWO) for stage in range(4)}
    return {
        **plain,
        "ZeRO 3 x dp 4": ("zero.stage=3", FOUR),
        "ZeRO 3, hpZ 2 x dp 4": ("zero.stage=3", "zero.hpz_partition_size=2", FOUR),
        "ZeRO 2, states on the host": ("zero.stage=2", _STATES_ON_HOST, TWO),
        "ZeRO 3, states and parameters on the host": (
            *("zero.stage=3", _STATES_ON_HOST, "zero.offload_param={device: cpu}"),
            TWO,
        ),
    }


def _of_axes() -> Mapping[str, Sequence[str]]:
    return {
        **{f"ZeRO {stage} x tp 2": (f"zero.stage={stage}", "parallel.tp=2", TWO) for stage in range(4)},
        "ZeRO 2 x tp 2 x dp 2": ("zero.stage=2", "parallel.tp=2", FOUR),
        "ZeRO 1 x tp 4": ("zero.stage=1", "parallel.tp=4", FOUR),
        **{f"ZeRO {stage} x sp 2": (f"zero.stage={stage}", "parallel.sp=2", TWO) for stage in range(4)},
        "ZeRO 3 x sp 2 x dp 2": ("zero.stage=3", "parallel.sp=2", FOUR),
        **{f"ZeRO {stage} x pp 2": (f"zero.stage={stage}", "parallel.pp=2", TWO) for stage in range(2)},
        "ZeRO 1 x pp 2 x dp 2": ("zero.stage=1", "parallel.pp=2", FOUR),
        "ZeRO 1 x pp 4": ("zero.stage=1", "parallel.pp=4", FOUR),
        **{
            f"ZeRO {stage} x tp 2 x pp 2": (f"zero.stage={stage}", "parallel={tp: 2, pp: 2}", FOUR)
            for stage in range(2)
        },
    }


def _of_experts() -> Mapping[str, Sequence[str]]:
    return {
        f"{name}: ZeRO {stage} x ep {ep} x dp {ranks}": (
            *(f"model={{architecture: {name}, config: {config}}}", f"zero.stage={stage}", f"parallel.ep={ep}"),
            f"hardware.gpus_per_node={ranks}",
        )
        for name, config in _MODELS.items()
        for stage, ep, ranks in ((0, 2, 2), (2, 2, 4), (3, 2, 2), (3, 1, 2))
    }


def _of_expert_layers() -> Mapping[str, Sequence[str]]:
    """Returns layouts of a dense model that gets experts; tokens are dropped as in the same micro-batches elsewhere."""
    chosen = {"": "{experts: 4}", ", drops": "{experts: 4, drop_tokens: true, capacity_factor: 0.8}"}
    return {
        f"moe{what}: ZeRO {stage} x ep {ep} x dp {ranks}": (
            *(f"moe={given}", f"zero.stage={stage}", f"parallel.ep={ep}"),
            f"hardware.gpus_per_node={ranks}",
        )
        for what, given in chosen.items()
        for stage, ep, ranks in ((0, 1, 2), (0, 2, 2), (2, 1, 2), (2, 2, 2), (2, 2, 4))
    }


def _of_recompute() -> Mapping[str, Sequence[str]]:
    chosen = {
        "every layer": "{granularity: full}",
        "every second layer": "{granularity: full, every: 2}",
        "attention": "{granularity: selective}",
        "attention and MLP": "{granularity: selective, parts: [attention, mlp]}",
        "every layer by DeepSpeed": "{granularity: full, implementation: deepspeed}",
    }
    return {
        f"ZeRO 2 x dp 2, recomputing {what}": ("zero.stage=2", f"activation_checkpointing={given}", TWO)
        for what, given in chosen.items()
    }


def _of_tiling() -> Mapping[str, Sequence[str]]:
    layouts = {
        "ZeRO 0 x dp 2": ("zero.stage=0",),
        "ZeRO 3 x dp 2": ("zero.stage=3",),
        "ZeRO 3 x dp 2, recomputing every layer": ("zero.stage=3", "activation_checkpointing=full"),
        "ZeRO 2 x tp 2": ("zero.stage=2", "parallel={tp: 2}"),
        "ZeRO 3 x sp 2": ("zero.stage=3", "parallel={sp: 2}"),
    }
    return {f"{name}, tiled": (*laid, "tiling={mlp: 3, logits: 5}", TWO) for name, laid in layouts.items()}


def main(only: str = "") -> int:
    """Prints a line for each layout whose name has the letters, and returns 1 when one learns something else."""
    failed = 0
    print(f"{'layout':<44}  {'losses':>8}  {'norms':>8}")
    with tempfile.TemporaryDirectory() as directory:
        for name, overrides in layouts().items():
            if only in name:
                differences = compared(Path(directory), overrides)
                failed += differences is None
                cells = differences or ("DIFFER", "")
                print(f"{name:<44}  {cells[0]:>8}  {cells[1]:>8}", flush=True)
    return int(failed > 0)


def compared(directory: Path, overrides: Sequence[str]) -> tuple[str, str] | None:
    """Returns the largest differences of losses and of norms; None when they are too large or nothing was trained."""
    words = [sys.executable, "-m", "zerotrain", "parity", str(SPEC), *overrides, f"--steps={STEPS}"]
    done = subprocess.run(
        words, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    found = re.findall(r"they differ by (\S+) at most", done.stdout)
    if done.returncode or len(found) != 2:
        print(done.stdout, file=sys.stderr)
        return None
    return found[0], found[1]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
