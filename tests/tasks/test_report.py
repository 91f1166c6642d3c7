"""Scores of a classifier, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report, confusion_matrix, f1_score, precision_score, recall_score

from zerotrain.tasks.report import ClassificationReport

LABELS = ["neg", "neutral", "pos", "spam"]
SCORES = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


@pytest.fixture(params=[4, 3], ids=["every class occurs", "a class never occurs"])
def answers(request: Any) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.integers(request.param, size=97), draw.integers(request.param, size=97)


def report_of(truth: np.ndarray, predicted: np.ndarray) -> ClassificationReport:
    matrix = confusion_matrix(truth, predicted, labels=range(len(LABELS)))
    return ClassificationReport(torch.tensor(matrix), LABELS)


def test_metrics_are_scikit_learns(answers: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = report_of(*answers).metrics()

    for name, score in SCORES.items():
        for average in ("macro", "micro", "weighted"):
            assert metrics[f"{name}_{average}"] == pytest.approx(score(*answers, average=average, zero_division=0))
        by_class = score(*answers, average=None, labels=range(4), zero_division=0)
        assert [metrics[f"{name}/{label}"] for label in LABELS] == pytest.approx(list(by_class))
    assert metrics["accuracy"] == pytest.approx((answers[0] == answers[1]).mean())


def test_the_report_is_scikit_learns(answers: tuple[np.ndarray, np.ndarray]) -> None:
    content = report_of(*answers).as_json()

    occurring = sorted(set(answers[0]) | set(answers[1]))
    names = [LABELS[number] for number in occurring]
    theirs: Any = classification_report(*answers, target_names=names, output_dict=True, zero_division=0)
    for row, values in theirs.items():
        assert content["report"][row] == pytest.approx(values)
    assert content["confusion"]["true_by_predicted"] == confusion_matrix(*answers, labels=range(4)).tolist()


def test_of_many_classes_only_the_report_tells_each() -> None:
    report = ClassificationReport(torch.eye(51), [f"class {number}" for number in range(51)])

    assert not any("/" in name for name in report.metrics())
    assert report.as_json()["report"]["class 50"]["support"] == 1
