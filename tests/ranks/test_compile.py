"""Compiled code learns what uncompiled code learns, and is compiled indeed."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import write_spec

slow = pytest.mark.slow

ONE_SHAPE = {"data.validation": [], "data.packing": "concat", "model.config.num_hidden_layers": 1}
"""Nothing but training calls the model, and compiling it takes a fraction of the time."""
CASES = {
    "stage 3": {"zero.stage": 3, **ONE_SHAPE},
    "stage 0": {"zero.stage": 0},
    "stage 1, tp 2": {"zero.stage": 1, "parallel.tp": 2},
    "recomputing": {"zero.stage": 2, "activation_checkpointing": "full"},
    "in pieces": {"zero.stage": 2, "tiling": {"mlp": 2, "logits": 2}},
    "16 bits": {"zero.stage": 1, "precision": "bf16"},
    "adapter": {"zero.stage": 2, "model.adapter": {"type": "lora", "rank": 4}},
    "experts": {
        "zero.stage": 2,
        "model.architecture": "mixtral",
        "model.config.num_local_experts": 4,
    },
}


@pytest.mark.parametrize("case", [pytest.param(case, marks=[] if case == "stage 3" else [slow]) for case in CASES])
def test_compiled_code_has_the_same_losses_and_resumes_to_the_bit(train, ranks, cache, tmp_path, case):
    changes = {"precision": "fp32", "horizon": "4 steps", "checkpoint.save_every": "2 steps", **CASES[case]}
    plain = train(changes, 2)
    compiler = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    spec = write_spec(tmp_path, {"data.cache": str(cache), **changes, "compile": "torch"})

    compiled = ranks.start(tmp_path, [str(spec)], 2, environment=compiler, seconds=560)
    first = compiled.losses
    shutil.rmtree(compiled.run.checkpoints / "step-4")
    again = ranks.start(tmp_path, [str(compiled.run.root)], 2, environment=compiler, seconds=560)

    rel = 1e-5 if changes["precision"] == "fp32" else 1e-2
    assert first == pytest.approx(plain.losses, rel=rel)
    assert compiled.grad_norms == pytest.approx(plain.grad_norms, rel=10 * rel)
    assert list((tmp_path / "compiled").rglob("*.cpp")), "the compiler has written kernels"
    assert [row["loss"] for row in again.rows("train") if row["attempt"] == 2] == first[2:]
