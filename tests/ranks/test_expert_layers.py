"""Dense decoders that got experts: the same training however they are spread, and whole weights again in the end."""

from __future__ import annotations

from typing import Any

import pytest

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {"llama": SIZES, "mistral": SIZES, "qwen3": {**SIZES, "head_dim": 8}}


def of(architecture: str = "llama", stage: int = 0, ep: int = 1, **moe: Any) -> dict[str, Any]:
    """Returns the changes that give the tiny spec's decoder experts."""
    model = {"architecture": architecture, "config": CONFIGS[architecture]}
    return {"model": model, "precision": "fp32", "zero.stage": stage, "parallel.ep": ep, "moe": {"experts": 4} | moe}


@pytest.fixture(scope="module")
def plain(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a run on one plain rank; each is trained once."""
    runs: dict[str, Any] = {}

    def run(architecture: str = "llama", **moe: Any) -> Any:
        key = f"{architecture} {moe}"
        if key not in runs:
            runs[key] = ranks.train(tmp_path_factory.mktemp("plain"), of(architecture, **moe), 1)
        return runs[key]

    return run


LEAN = [(0, 2, 2), (2, 2, 2)]
CASES = [
    pytest.param(stage, ep, world, marks=() if (stage, ep, world) in LEAN else pytest.mark.slow)
    for stage in (0, 1, 2)
    for ep, world in ((1, 1), (1, 2), (2, 2))
    if (stage, ep, world) != (0, 1, 1)
]


@pytest.mark.parametrize(("stage", "ep", "world"), CASES)
def test_it_trains_what_one_plain_rank_does(train, plain, stage, ep, world):
    reference = plain()

    result = train(of(stage=stage, ep=ep), world)

    assert result.losses == pytest.approx(reference.losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(reference.grad_norms, rel=1e-4)


EXPORTED = [("llama", 2, 2, 2, 1), ("qwen3", 0, 2, 1, 2)]
EXPORTS = [
    pytest.param(*case, marks=() if case in EXPORTED else pytest.mark.slow)
    for case in [*EXPORTED, ("mistral", 1, 1, 3, 1), ("qwen3", 2, 2, 2, 2), ("llama", 0, 2, 2, 1)]
]


@pytest.mark.parametrize(("architecture", "stage", "ep", "top_k", "every"), EXPORTS)
def test_plain_transformers_computes_the_same_logits_from_the_export(train, architecture, stage, ep, top_k, every):
    import torch

    from zerotrain.checkpoint.weights import whole_weights
    from zerotrain.runs.catalogue import catalogue

    changes = of(architecture, stage, ep, top_k=top_k, every=every)
    result = train(changes, 2)

    own = built(result.run, changes)
    own.load_state_dict(whole_weights(catalogue(result.run)[0][0]))
    tokens = torch.arange(64).reshape(2, 32)
    with torch.no_grad():
        said, expected = exported(result)(tokens).logits, own.eval()(tokens).logits
    assert (said - expected).abs().max().item() < 1e-5


def built(run: Any, changes: dict[str, Any]) -> Any:
    """Returns the model that a run begins with, whole on one rank."""
    from zerotrain.modeling.experts import add_experts
    from zerotrain.modeling.load import load_model
    from zerotrain.runs.record import read_record
    from zerotrain.spec.run import RunSpec

    spec = RunSpec.model_validate(read_record(run).resolved)
    model = load_model(spec.model, {"zero_optimization": {"stage": 0}}, spec.seed)
    if spec.moe is not None:
        add_experts(model, spec.moe, 1, 0, spec.seed)
    return model


def exported(result: Any) -> Any:
    """Returns what plain transformers makes of the export."""
    from transformers import AutoModelForCausalLM

    from zerotrain.checkpoint.export import export_run

    export_run(result.run, result.run.export)
    return AutoModelForCausalLM.from_pretrained(result.run.export).eval()
