"""A run made small is one that can be trained here, with the same layout, and says what it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.check.case import Case
from zerotrain.check.runner import check_reading
from zerotrain.compile.rehearsal import not_rehearsed, rehearsal_of
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import Reading, read_spec
from zerotrain.spec.run import RunSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
AROUND = Surroundings(directory=EXAMPLES.parent, cache=EXAMPLES / "nowhere")
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))

CLUSTER = ("hardware={gpu: H100-SXM, num_nodes: 64, gpus_per_node: 8}", "launch={type: slurm}")
LAYOUTS = {
    "tp and pp": ("parallel={tp: 8, pp: 4}", "zero={stage: 1}"),
    "sp": ("parallel={sp: 4}", "zero={stage: 3}", "tiling={mlp: 8, logits: 256}"),
    "stage 3 on hosts": ("zero={stage: 3, offload_optimizer: {device: cpu}, offload_param: {device: cpu}}",),
    "hpZ": ("zero={stage: 3, hpz_partition_size: 8, quantized_weights: true}",),
    "NVMe": ("zero={stage: 3, offload_param: {device: nvme, nvme_path: /nvme}}",),
    "lamb": ("optimizer={type: lamb, lr: 1.0e-3}", "zero={stage: 0}"),
    "experts": ("moe={experts: 64, top_k: 8}", "parallel={ep: 8}", "zero={stage: 2}"),
    "flash": ("model.attention=flash_attention_2",),
}
LARGE = ("batch={global_batch_size: 4096, micro_batch_size: 2}", "model.config.num_key_value_heads=8")
WIDE = ("model.config.num_attention_heads=16", "model.config.hidden_size=1024", "model.config.num_hidden_layers=8")

FAMILIES = {
    "llama": "{num_hidden_layers: 32}",
    "mistral": "{sliding_window: 4096}",
    "qwen2": "{use_sliding_window: true, sliding_window: 4096, max_window_layers: 20}",
    "qwen3": "{num_hidden_layers: 36, head_dim: 128}",
    "gpt2": "{n_embd: 1024, n_layer: 24, n_head: 16}",
    "mixtral": "{num_local_experts: 8}",
    "qwen3_moe": "{num_experts: 128, decoder_sparse_step: 2, mlp_only_layers: [0, 3]}",
    "deepseek_v2": "{n_routed_experts: 160, num_experts_per_tok: 6, moe_intermediate_size: 1536}",
    "deepseek_v3": "{n_routed_experts: 256}",
}


def small(file: Path, overrides: tuple[str, ...], most_ranks: int = 4) -> tuple[Reading, list[str]]:
    """Returns the reading of the small run, and what it cannot show."""
    reading = read_spec(file, list(overrides))
    assert reading.spec is not None, reading.findings
    case = Case(reading.spec, AROUND)
    changes = rehearsal_of(case.resolved.spec, case.topology, *case.model, most_ranks)
    return read_spec(file, [*overrides, *(change.override for change in changes)]), not_rehearsed(changes)


def trainable(reading: Reading) -> RunSpec:
    """Returns the small run, which has no errors."""
    assert [found.message for found in check_reading(reading, AROUND) if found.is_error] == []
    assert reading.spec is not None
    return reading.spec


@pytest.mark.parametrize("name", NAMES)
def test_every_example_can_be_rehearsed(name: str) -> None:
    spec = trainable(small(EXAMPLES / f"{name}.yaml", ())[0])

    assert str(spec.horizon) == "3 steps"
    assert spec.hardware.gpu == "cpu"
    assert spec.hardware.gpus_per_node <= 4
    assert spec.batch.global_batch_size <= 32


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_can_be_rehearsed(layout: str) -> None:
    overrides = (*CLUSTER, *WIDE, *LARGE, *LAYOUTS[layout])

    given = read_spec(EXAMPLES / "quickstart.yaml", list(overrides)).spec
    spec = trainable(small(EXAMPLES / "quickstart.yaml", overrides)[0])

    assert given is not None
    assert spec.zero.stage == given.zero.stage
    for axis in ("tp", "pp", "sp"):
        assert getattr(spec.parallel, axis) == min(getattr(given.parallel, axis), 2)
    assert (spec.model.config["hidden_size"], spec.model.config["num_hidden_layers"]) == (64, 2)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_decoder_can_be_rehearsed(architecture: str) -> None:
    experts = (
        "parallel={ep: 4}" if architecture in ("mixtral", "qwen3_moe", "deepseek_v2", "deepseek_v3") else "parallel={}"
    )
    model = f"model={{architecture: {architecture}, config: {FAMILIES[architecture]}}}"

    overrides = (*CLUSTER, model, "batch={global_batch_size: 4096, micro_batch_size: 2}", "zero={stage: 2}", experts)
    spec = trainable(small(EXAMPLES / "quickstart.yaml", overrides)[0])

    shape = Case(spec, AROUND).shape
    assert shape is not None
    assert shape.parameters < 1e6
    assert spec.parallel.ep == (2 if "ep" in experts else 1)


@pytest.mark.parametrize(
    ("written", "ep", "few"),
    [
        ("{experts: 64, top_k: 8, every: 3}", 8, (4, 3, 3)),
        ("{experts: 6, top_k: 2}", 3, (4, 2, 1)),
        ("{experts: 3, top_k: 1}", 3, (4, 1, 1)),
        ("{experts: 2, top_k: 1}", 1, (2, 1, 1)),
    ],
)
def test_a_dense_model_gets_few_experts_that_are_shared_evenly(written: str, ep: int, few: tuple[int, ...]) -> None:
    model = "model={architecture: qwen3, config: {num_hidden_layers: 36}}"
    layout = (f"moe={written}", f"parallel={{ep: {ep}}}", f"hardware={{gpu: cpu, gpus_per_node: {2 * ep}}}")
    batch = f"batch={{global_batch_size: {16 * ep}, micro_batch_size: 2}}"

    spec = trainable(small(EXAMPLES / "quickstart.yaml", (model, *layout, batch))[0])

    assert spec.moe is not None
    assert (spec.moe.experts, spec.moe.top_k, spec.moe.every) == few
    assert spec.moe.experts % spec.parallel.ep == 0
    shape = Case(spec, AROUND).shape
    assert shape is not None
    assert shape.experts is not None


def test_the_kinds_of_layers_stay() -> None:
    overrides = (*CLUSTER, "model={architecture: deepseek_v3}", "batch={global_batch_size: 4096, micro_batch_size: 2}")

    shape = Case(trainable(small(EXAMPLES / "quickstart.yaml", overrides)[0]), AROUND).shape

    assert shape is not None
    assert shape.experts is not None
    assert (shape.num_layers, shape.experts.num_experts) == (2, 4)


def test_what_is_lost_is_said() -> None:
    lost = small(EXAMPLES / "llama_405b_16k_gpus.yaml", (), most_ranks=2)[1]

    assert lost == [
        "whether the full size fits into memory, and how fast it is",
        "the network between machines",
        "`parallel.tp`: there are not enough ranks, `--ranks` allows more",
        "the launcher, `slurm`",
        "the kernels of FlashAttention 2",
    ]
