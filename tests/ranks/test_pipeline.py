"""A model in stages is the same model: same losses and gradients, same checkpoint, same export."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import whole_weights
from zerotrain.runs.catalogue import catalogue

slow = pytest.mark.slow

TIED = {"model.config.tie_word_embeddings": True}
LAYERS = {"model.config.num_hidden_layers": 4}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}

MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "tied": TIED,
    "mistral": {"model.architecture": "mistral", "model.config.sliding_window": 16},
    "qwen2": {"model.architecture": "qwen2"}
    | {"model.config.use_sliding_window": True, "model.config.sliding_window": 16, "model.config.max_window_layers": 1},
    "qwen3": {"model.architecture": "qwen3", "model.config.head_dim": 8},
    "gpt2": {"model.architecture": "gpt2", "model.config": GPT2 | NO_DROPOUT},
}
CASES = [
    pytest.param(model, stage, ranks, marks=[] if chosen else [slow], id=f"{model}-stage{stage}-{ranks}ranks")
    for model in MODELS
    for stage in (0, 1)
    for ranks in (2, 4)
    for chosen in [(model, stage, ranks) in {("tied", 0, 2), ("tied", 1, 4), ("gpt2", 1, 2)}]
]


def assert_same(divided: Any, plain: Any) -> None:
    assert divided.losses == pytest.approx(plain.losses, rel=1e-5)
    # On one plain rank a norm of the small qwen3 differs by 1.9e-5 between micro-batches of 2 and of 8.
    assert divided.grad_norms == pytest.approx(plain.grad_norms, rel=1e-4)
    (measured,), (expected,) = (result.rows("eval")[-1:] for result in (divided, plain))
    assert measured["metrics"] == pytest.approx(expected["metrics"], rel=1e-5)


@pytest.mark.parametrize(("model", "stage", "world"), CASES)
def test_losses_norms_and_metrics_are_those_of_one_plain_rank(train, model, stage, world):
    changes = {**MODELS[model], "precision": "fp32"}
    plain = train({**changes, "batch.micro_batch_size": 8}, 1)

    divided = train({**changes, "zero.stage": stage, "parallel.pp": 2}, world)

    assert_same(divided, plain)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"data.packing": "none"}, id="one document per sample", marks=slow),
        pytest.param({"activation_checkpointing": "full"}, id="recompute"),
        pytest.param({"zero.stage": 0, "optimizer.clip_norm": None}, id="not clipped", marks=slow),
        pytest.param({"zero.stage": 0, "optimizer.clip_norm": 0.01, **TIED}, id="clipped hard"),
        pytest.param({"batch.micro_batch_size": 8}, id="one micro-batch", marks=slow),
        pytest.param({"task": {"type": "pretrain", "label_smoothing": 0.1}}, id="smoothed", marks=slow),
    ],
)
def test_choices_have_the_same_effect_as_on_one_plain_rank(train, changes):
    plain = train({"precision": "fp32", **changes, "zero.stage": 0}, 1)

    divided = train({"precision": "fp32", "zero.stage": 1, **changes, "parallel.pp": 2}, 2)

    assert_same(divided, plain)


@pytest.mark.parametrize("stage", [0, 1])
@slow
def test_four_stages_with_shared_ends(train, stage):
    changes = {**LAYERS, **TIED, "precision": "fp32"}

    assert_same(train({**changes, "zero.stage": stage, "parallel.pp": 4}, 4), train(changes, 1))


@pytest.mark.parametrize("precision", ["bf16", pytest.param("autocast-bf16", marks=slow)])
def test_16_bits_have_the_losses_of_one_plain_rank_within_their_rounding(train, precision):
    changes = {"precision": precision, "zero.stage": 1}

    divided = train({**changes, "parallel.pp": 2}, 2)

    plain = train(changes, 1)
    assert divided.losses == pytest.approx(plain.losses, rel=3e-3)
    assert divided.grad_norms == pytest.approx(plain.grad_norms, rel=2e-2)


def test_answers_are_learned_in_stages_too(train):
    root = Path(__file__).parents[2] / "examples" / "data"
    changes = {
        "precision": "fp32",
        "task": {"type": "sft", "train_on": "answers", "too_long": "drop"},
        "data.train": [{"type": "jsonl", "path": str(root / "chat.jsonl")}],
        "data.validation": [{"type": "jsonl", "path": str(root / "chat-validation.jsonl")}],
        "data.tokenizer": {"type": "bpe", "vocab_size": 400},
        "data.seq_len": 192,
    }

    assert_same(train({**changes, "zero.stage": 1, "parallel.pp": 2}, 2), train(changes, 1))


HELD = """
    import torch
    from deepspeed.accelerator import get_accelerator
    from zerotrain.modeling.load import load_for_pipeline, load_model
    from zerotrain.modeling.pipeline import name_in_model, pipeline_of
    from zerotrain.spec.model import ModelSpec

    config = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4}
    spec = ModelSpec.model_validate({"architecture": "llama", "config": {**config, "vocab_size": 99, **CHANGES}})
    held = pipeline_of(load_for_pipeline(spec, 7), 7, 2)
    whole = load_model(spec, {"zero_optimization": {"stage": 0}}, 7)
    weights = {name_in_model(name): parameter for name, parameter in held.named_parameters()}
    expected = whole.state_dict()
    buffers = [b for name, b in held.named_buffers() if name.endswith("rotary.inv_freq")]
    same = all(torch.equal(weight, expected[name]) for name, weight in weights.items())
    turned = all(torch.equal(b, whole.model.rotary_emb.inv_freq) for b in buffers)
    print("same", same, turned, "held", sum(w.numel() for w in weights.values()), "of", whole.num_parameters())
    print(*sorted(weights))
"""


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}], ids=["two ends", "tied"])
def test_each_rank_has_its_own_layers_alone_with_the_weights_of_the_whole_model(ranks, tmp_path, changes):
    ranks.script(tmp_path, HELD.replace("CHANGES", repr(changes)), 2)

    said = [(tmp_path / f"output-{rank}.txt").read_text() for rank in (0, 1)]
    names = [set(text.strip().splitlines()[-1].split()) for text in said]
    assert all("same True True" in text for text in said)
    assert names[0] & names[1] == ({"model.embed_tokens.weight"} if changes else set())
    assert {"model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight"} <= names[0]
    assert {"model.layers.5.mlp.up_proj.weight", "model.norm.weight"} <= names[1]
    counts = [int(text.partition("held ")[2].split()[0]) for text in said]
    assert max(counts) < 1.2 * min(counts), "stages are balanced by parameters"


def test_a_rank_that_trains_holds_half_of_the_weights_and_of_the_optimizer(train):
    result = train({**LAYERS, "precision": "fp32", "zero.stage": 0, "parallel.pp": 2}, 2)

    directory = catalogue(result.run)[0][0].path
    whole = sum(weight.numel() for weight in whole_weights(catalogue(result.run)[0][0]).values())
    for stage in (0, 1):
        states = torch.load(directory / f"mp_rank_0{stage}_model_states.pt", weights_only=False)["optimizer"]["state"]
        moments = sum(state["exp_avg"].numel() for state in states.values())
        assert 0.4 * whole < moments < 0.6 * whole


@pytest.mark.parametrize(
    ("stage", "precision", "world"),
    [
        (1, "bf16", 2),
        pytest.param(0, "fp32", 2, marks=slow),
        pytest.param(1, "fp32", 4, marks=slow),
        pytest.param(1, "bf16", 4, marks=slow),
    ],
)
def test_a_resumed_run_is_the_same_bit_for_bit(train, ranks, stage, precision, world):
    changes = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "model.config.attention_dropout": 0.1}
    result = train({**changes, **TIED, "zero.stage": stage, "precision": precision, "parallel.pp": 2}, world)
    first = [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in result.rows("train")]
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], world)

    second = [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in again.rows("train") if r["attempt"] == 2]
    assert second == first[3:]
    before, after = (row["metrics"] for row in again.rows("eval"))
    assert after == before


@pytest.mark.parametrize(
    ("model", "precision", "world"),
    [
        ("tied", "fp32", 2),
        ("llama", "bf16", 4),
        pytest.param("gpt2", "fp32", 2, marks=slow),
        pytest.param("qwen3", "fp32", 4, marks=slow),
    ],
)
def test_an_export_is_the_model_that_was_trained(train, model, precision, world, tmp_path):
    changes = {**MODELS[model], "precision": precision, "zero.stage": 1}
    divided, plain = train({**changes, "parallel.pp": 2}, world), train(changes, 1)

    logits = [logits_of(result, tmp_path / str(i)) for i, result in enumerate((divided, plain))]

    tolerance = 1e-4 if precision == "fp32" else 3e-2
    assert torch.allclose(*logits, atol=tolerance)
    checkpoint = catalogue(divided.run)[0][0]
    assert set(checkpoint.manifest.files) == {path.name for path in checkpoint.path.iterdir()} - {"manifest.json"}
    assert len(list(checkpoint.path.glob("layer_*"))) == (5 if model == "llama" else 4 + (model != "tied"))


def logits_of(result: Any, directory: Path) -> torch.Tensor:
    export_run(result.run, directory, dtype="fp32")
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.arange(40).reshape(1, 40)).logits


def test_pretrained_weights_are_divided_as_they_are(train, tmp_path):
    export_run(train({"precision": "fp32"}, 1).run, tmp_path / "base")
    changes = {"model": {"pretrained": str(tmp_path / "base")}, "precision": "fp32"}

    assert_same(train({**changes, "zero.stage": 1, "parallel.pp": 2}, 2), train(changes, 1))


LOGITS = """
    import deepspeed, torch
    from zerotrain.engine.pipeline import Piped
    from zerotrain.modeling.load import load_for_pipeline, load_model
    from zerotrain.modeling.pipeline import pipeline_of
    from zerotrain.spec.model import ModelSpec

    config = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    spec = ModelSpec.model_validate({"architecture": "llama", "config": {**config, "vocab_size": 99}})
    ds = {"train_micro_batch_size_per_gpu": 1, "optimizer": {"type": "Adam", "params": {"lr": 1e-3}}}
    pipeline = pipeline_of(load_for_pipeline(spec, 7), 7, 2)
    engine, *_ = deepspeed.initialize(model=pipeline, model_parameters=list(pipeline.parameters()), config=ds)
    whole = load_model(spec, {"zero_optimization": {"stage": 0}}, 7).eval()
    same = True
    for length in (16, 24):
        ids, positions = torch.arange(length)[None], torch.arange(length // 2).repeat(2)[None]
        with torch.no_grad():
            expected = whole(input_ids=ids, position_ids=positions, use_cache=False).logits
            found = Piped(engine)(input_ids=ids, position_ids=positions).logits
        same = same and torch.allclose(found, expected, atol=1e-6)
    print("same logits", same)
"""


def test_a_look_through_all_stages_sees_the_logits_of_the_whole_model_on_every_rank(ranks, tmp_path):
    said = ranks.script(tmp_path, LOGITS, 2)

    assert said.count("same logits True") == 2
