"""Metrics over several ranks, against scikit-learn's over everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CODE = """
    import numpy as np
    import torch
    import torch.distributed as dist
    from sklearn.metrics import classification_report, log_loss, top_k_accuracy_score

    from zerotrain.tasks.meters import ClassificationMeter

    # 11 records, two to a micro-batch and rank: the last micro-batch of one rank is half full, of the other empty.
    draw = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(11, 4, generator=draw), torch.randint(4, (11,), generator=draw)
    rank, names = dist.get_rank(), ["a", "b", "c", "d"]
    meter = ClassificationMeter(lambda batch: batch["logits"], names, torch.device("cpu"), top_k=(2, 9))
    for first in range(0, 12, 4):
        here = slice(first + 2 * rank, first + 2 * rank + 2)
        rows, truth = torch.zeros(2, 4), torch.full((2,), -100)
        rows[: len(logits[here])], truth[: len(labels[here])] = logits[here], labels[here]
        meter.add({"logits": rows, "labels": truth})
    metrics, report = meter.metrics(), meter.report()["report"]

    chances, classes = logits.softmax(1).numpy(), range(4)
    theirs = classification_report(labels, logits.argmax(1), target_names=names, output_dict=True, zero_division=0)
    for row, values in theirs.items():
        assert np.allclose(list(np.atleast_1d(list(values.values()) if isinstance(values, dict) else values)),
                           list(np.atleast_1d(list(report[row].values()) if isinstance(values, dict) else report[row])))
    assert abs(metrics["loss"] - log_loss(labels, chances, labels=classes)) < 1e-5
    assert abs(metrics["top_2_accuracy"] - top_k_accuracy_score(labels, chances, k=2, labels=classes)) < 1e-6
    assert metrics["top_9_accuracy"] == 1
    assert abs(metrics["f1_macro"] - theirs["macro avg"]["f1-score"]) < 1e-9
    assert abs(metrics["recall/c"] - theirs["c"]["recall"]) < 1e-9
    print("the same")
"""


def test_two_ranks_with_an_uneven_last_batch_measure_what_scikit_learn_does(ranks: Any, tmp_path: Path) -> None:
    assert ranks.script(tmp_path, CODE, 2).count("the same") == 2
