"""Next-token prediction, learned from a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.spec.task import DistillTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.losses import summed_cross_entropy
from zerotrain.tasks.meters import LossMeter, perplexity
from zerotrain.tasks.next_token import NextToken


class Distill(NextToken):
    """Predicts the next token of text as a teacher does.

    A token's loss is `soft_weight` times the divergence from the teacher, plus the rest times its cross-entropy, plus
    `hidden_weight` times the error of hidden states. Teacher and student may have more embeddings than the tokenizer
    has tokens; they are compared over its tokens only.
    """

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, DistillTask)
        assert context.teacher is not None, "the engine loads the teacher"
        self._task, self.teacher, self._tokens = context.task, context.teacher, context.vocab_size

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the loss summed over all trained positions; labels are already shifted."""
        teacher, student = self._outputs(model, batch)
        hard = summed_cross_entropy(student.logits, batch["labels"])
        return SummedLoss(self._objective(teacher, student, hard, batch["labels"]), hard.targets)

    def meter(self, model: Model, device: torch.device) -> DistillationMeter:
        """Returns a meter of loss and perplexity on the text, of the loss that is trained, and of agreement."""
        return DistillationMeter(partial(self._measured, model), device)

    def _measured(self, model: Model, batch: Batch) -> tuple[SummedLoss, SummedLoss, SummedLoss]:
        teacher, student = self._outputs(model, batch)
        labels, hard = batch["labels"], summed_cross_entropy(student.logits, batch["labels"])
        whole = self._objective(teacher, student, hard, labels)
        same = self._tokenwise(teacher.logits).argmax(-1) == self._tokenwise(student.logits).argmax(-1)
        agreed = torch.count_nonzero(same & (labels != IGNORED))
        return hard, SummedLoss(whole, hard.targets), SummedLoss(agreed, hard.targets)

    def _outputs(self, model: Model, batch: Batch) -> tuple[Any, Any]:
        """Returns what the teacher and the student make of a batch; the teacher first, while memory is free."""
        inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"], "use_cache": False}
        inputs["output_hidden_states"] = self._task.hidden_weight > 0
        with torch.no_grad():
            teacher = self.teacher(**inputs)
        return teacher, model(**inputs)

    def _objective(self, teacher: Any, student: Any, hard: SummedLoss, labels: torch.Tensor) -> torch.Tensor:
        """Returns the weighted sum of the parts; a part of weight 0 is left out, not multiplied."""
        task, terms = self._task, list[torch.Tensor]()
        if task.soft_weight < 1:
            terms.append((1 - task.soft_weight) * hard.total)
        if task.soft_weight > 0:
            logits = self._tokenwise(teacher.logits), self._tokenwise(student.logits)
            terms.append(task.soft_weight * summed_divergence(*logits, labels, task.temperature))
        if task.hidden_weight > 0:
            pairs = [(teacher.hidden_states[there], student.hidden_states[here]) for here, there in task.hidden_layers]
            terms += [task.hidden_weight * summed_hidden_error(*pair, labels) for pair in pairs]
        return torch.stack(terms).sum()

    def _tokenwise(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns the logits of the tokenizer's tokens, without those of embeddings that only fill up."""
        return logits[..., : self._tokens]


class DistillationMeter:
    """Loss and perplexity on the text, the loss that is trained, and how often both would choose the same token."""

    def __init__(self, measure: Callable[[Batch], Sequence[SummedLoss]], device: torch.device) -> None:
        self._measure = measure
        self._hard, self._whole, self._agreed = (LossMeter(device) for _ in range(3))

    def add(self, batch: Batch) -> None:
        """Adds what student and teacher make of a batch."""
        for meter, part in zip((self._hard, self._whole, self._agreed), self._measure(batch), strict=True):
            meter.add(part)

    def metrics(self) -> dict[str, float]:
        """Returns `loss` and `perplexity` (of the student alone), `distillation_loss` and `agreement`."""
        loss, whole, agreement = self._hard.mean(), self._whole.mean(), self._agreed.mean()
        return {"loss": loss, "perplexity": perplexity(loss), "distillation_loss": whole, "agreement": agreement}


def summed_divergence(
    teacher: torch.Tensor, student: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Returns T^2 KL(teacher || student) at temperature T, in fp32, summed over the labels [...] not ignored.

    Logits are [..., tokens]. Gradients of softened predictions shrink by 1/T^2; the factor keeps their share of the
    loss whatever the temperature (Hinton et al.: Distilling the Knowledge in a Neural Network, 2015, section 2).
    """
    expected, predicted = (functional.log_softmax(logits.float() / temperature, -1) for logits in (teacher, student))
    divergence = functional.kl_div(predicted, expected, reduction="none", log_target=True).sum(-1)
    return temperature**2 * divergence.masked_fill(labels == IGNORED, 0.0).sum()


def summed_hidden_error(teacher: torch.Tensor, student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the squared error of hidden states [..., width], in fp32, summed over the labels [...] not ignored.

    The error of a token is the mean over the width (Jiao et al.: TinyBERT, EMNLP Findings 2020, equation 8, without the
    projection, which only unequal widths need).
    """
    error = (student.float() - teacher.float()).square().mean(-1)
    return error.masked_fill(labels == IGNORED, 0.0).sum()
