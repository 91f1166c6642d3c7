"""What a student loses against its teacher."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.spec.task import DistillTask
from zerotrain.tasks.base import TaskContext
from zerotrain.tasks.distill import Distill, summed_divergence, summed_hidden_error

TOKENS = 11
LABELS = torch.tensor([[3, 1, IGNORED], [0, IGNORED, 10]])


def model(seed: int, vocabulary: int, width: int = 16) -> Any:
    torch.manual_seed(seed)
    sizes = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", vocab_size=vocabulary, **sizes)).eval()


def distill(teacher: Any, **changes: Any) -> Distill:
    spec = DistillTask.model_validate({"type": "distill", "teacher": {"pretrained": "org/name"}, **changes})
    return Distill(TaskContext(spec, vocab_size=TOKENS, teacher=teacher))


@pytest.fixture
def batch() -> Batch:
    ids = torch.tensor([[4, 3, 1], [2, 0, 9]])
    return Batch({"input_ids": ids, "position_ids": torch.arange(3).expand(2, 3), "labels": LABELS})


def test_the_divergence_is_hintons() -> None:
    teacher, student = torch.randn(2, 2, 3, TOKENS, generator=torch.Generator().manual_seed(1)).double()
    temperature = 3.0

    soft = (teacher / temperature).softmax(-1)
    each = (soft * (soft.log() - (student / temperature).softmax(-1).log())).sum(-1)
    expected = temperature**2 * each[LABELS != IGNORED].sum()

    found = summed_divergence(teacher, student, LABELS, temperature)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_a_high_temperature_compares_logits() -> None:
    """As T grows, T^2 KL becomes half the mean squared error of centred logits (Hinton et al. 2015, section 2.1)."""
    teacher, student = torch.randn(2, 2, 3, TOKENS, generator=torch.Generator().manual_seed(2))
    difference = (teacher - teacher.mean(-1, keepdim=True)) - (student - student.mean(-1, keepdim=True))
    expected = difference.square().mean(-1)[LABELS != IGNORED].sum() / 2

    found = summed_divergence(teacher, student, LABELS, 100.0)

    torch.testing.assert_close(found, expected, rtol=0.03, atol=0)


def test_the_error_of_hidden_states_is_a_mean_over_the_width() -> None:
    teacher, student = torch.randn(2, 2, 3, 8, generator=torch.Generator().manual_seed(3))
    trained = LABELS != IGNORED

    expected = sum(functional.mse_loss(s, t) for s, t in zip(student[trained], teacher[trained], strict=True))

    torch.testing.assert_close(summed_hidden_error(teacher, student, LABELS), expected)


def test_the_loss_is_the_weighted_sum_of_its_parts(batch: Batch) -> None:
    teacher, student = model(1, TOKENS + 2), model(2, TOKENS + 5)
    parts: dict[str, Any] = {"temperature": 2.0, "hidden_layers": [[0, 1], [-1, -1]]}

    def loss(**weights: float) -> torch.Tensor:
        return distill(teacher, **parts, **weights).loss(student, batch).total

    hard, soft = loss(soft_weight=0.0), loss(soft_weight=1.0)
    hidden = loss(soft_weight=0.0, hidden_weight=1.0) - hard
    whole = distill(teacher, **parts, soft_weight=0.3, hidden_weight=2.0).loss(student, batch)

    torch.testing.assert_close(whole.total, 0.3 * soft + 0.7 * hard + 2 * hidden)
    assert whole.targets == 4
    assert hidden > 0


def test_embeddings_that_no_token_uses_are_not_compared(batch: Batch) -> None:
    """A teacher padded to a multiple of 64 teaches what it taught before."""
    teacher, student = model(1, TOKENS), model(2, TOKENS)
    padded = model(3, 64)
    state = {**padded.state_dict(), **{n: w for n, w in teacher.state_dict().items() if w.shape[0] != TOKENS}}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name][:TOKENS] = teacher.state_dict()[name]
        state[name][TOKENS:] = 50.0
    padded.load_state_dict(state)

    own = distill(teacher, soft_weight=1.0).loss(student, batch).total

    torch.testing.assert_close(distill(padded, soft_weight=1.0).loss(student, batch).total, own)


def test_no_gradient_reaches_the_teacher(batch: Batch) -> None:
    teacher, student = model(1, TOKENS), model(2, TOKENS)

    distill(teacher, hidden_weight=1.0).loss(student, batch).total.backward()

    assert all(weight.grad is None for weight in teacher.parameters())
    assert any(weight.grad is not None and weight.grad.any() for weight in student.parameters())


def test_gradients_keep_their_size_whatever_the_temperature(batch: Batch) -> None:
    teacher = model(1, TOKENS)

    def gradient(temperature: float) -> float:
        student = model(2, TOKENS)
        distill(teacher, soft_weight=1.0, temperature=temperature).loss(student, batch).total.backward()
        return student.lm_head.weight.grad.norm().item()

    assert gradient(20.0) == pytest.approx(gradient(5.0), rel=0.2)
