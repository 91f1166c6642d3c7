"""What a confusion matrix says of a classifier, in scikit-learn's words and layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

SCORES = ("precision", "recall", "f1")
_LISTED = 50
"""Classes up to which each has metrics of its own; of more, only the report tells."""


class ClassificationReport:
    """Precision, recall and F1 of each class and their averages.

    `confusion` [classes, classes] counts records by their class and by the predicted one. A class that neither occurs
    nor is predicted does not count in macro averages; what would be divided by zero is 0, as in scikit-learn.
    """

    def __init__(self, confusion: torch.Tensor, labels: Sequence[str]) -> None:
        self._labels = labels
        self._confusion = confusion.cpu().long()
        hits, predicted, self._support = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
        hits, predicted, self._support = (counts.cpu().double() for counts in (hits, predicted, self._support))
        precision, recall = _ratio(hits, predicted), _ratio(hits, self._support)
        self._scores: dict[str, torch.Tensor] = dict(
            zip(SCORES, (precision, recall, _ratio(2 * hits, predicted + self._support)), strict=True)
        )
        self._occurs = (predicted + self._support) > 0
        self._accuracy = _ratio(hits.sum(), self._support.sum()).item()

    def metrics(self) -> dict[str, float]:
        """Returns `accuracy`, then `f1_macro` and its like by score and average, then `f1/<class>` and its like."""
        found = {"accuracy": self._accuracy}
        for score in SCORES:
            averages = {"macro": self._macro(score), "micro": self._accuracy, "weighted": self._weighted(score)}
            found |= {f"{score}_{average}": value for average, value in averages.items()}
        for score in SCORES if len(self._labels) <= _LISTED else ():
            values = self._scores[score].tolist()
            found |= {f"{score}/{label}": value for label, value in zip(self._labels, values, strict=True)}
        return found

    def as_json(self) -> dict[str, Any]:
        """Returns `report`, as `sklearn.metrics.classification_report(output_dict=True)` has it, and `confusion`."""
        everything = self._support.sum().item()
        classes = zip(*(self._scores[score].tolist() for score in SCORES), self._support.tolist(), strict=True)
        rows: dict[str, Any] = {label: _row(row) for label, row in zip(self._labels, classes, strict=True)}
        rows["accuracy"] = self._accuracy
        rows["macro avg"] = _row((*(self._macro(score) for score in SCORES), everything))
        rows["weighted avg"] = _row((*(self._weighted(score) for score in SCORES), everything))
        counts = {"labels": list(self._labels), "true_by_predicted": self._confusion.tolist()}
        return {"report": rows, "confusion": counts}

    def _macro(self, score: str) -> float:
        return self._scores[score][self._occurs].mean().item()

    def _weighted(self, score: str) -> float:
        return (self._scores[score] * self._support).sum().item() / self._support.sum().item()


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return torch.where(whole > 0, part / whole, torch.zeros_like(part))


def _row(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1-score", "support"), values, strict=True))
