"""ZT73: what watches a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

VALIDATED = "{train: [{type: python_stdlib}], validation: [{type: python_stdlib, split: validation}], "
VALIDATED += "tokenizer: {type: bytes}, seq_len: 32}"
EVERY = "{every: 5 steps, early_stopping: {patience: 3}}"


def told(finding: Diagnostic) -> tuple[Any, ...]:
    return finding.code, finding.severity, finding.place.key


def test_zt730_early_stopping_without_validation_data_or_evaluations(findings: Findings) -> None:
    blind = [f for f in findings(evaluation=EVERY) if f.code != "ZT106"]
    rare = findings(evaluation="{early_stopping: {}}", data=VALIDATED)

    wrong = ("ZT730", Severity.ERROR, "evaluation.early_stopping")
    assert [told(finding) for finding in (*blind, *rare)] == [wrong, wrong]
    assert "`data.validation` has no sources" in blind[0].message
    assert rare[0].message == "training cannot stop early: only its last step is evaluated"
    assert findings(evaluation=EVERY, data=VALIDATED, horizon="100 steps") == []


def test_zt731_a_best_checkpoint_that_nothing_tells(one: One, findings: Findings) -> None:
    keep = "{keep_best: {}}"

    assert told(one(checkpoint=keep)) == ("ZT731", Severity.WARNING, "checkpoint.keep_best")
    assert told(one(checkpoint=keep, data=VALIDATED)) == ("ZT731", Severity.WARNING, "checkpoint.keep_best")
    assert findings(checkpoint=keep, data=VALIDATED, evaluation="{every: 5 steps}", horizon="100 steps") == []


def test_zt734_the_best_is_exported_but_not_kept(one: One, findings: Findings) -> None:
    best = "{checkpoint: best}"
    blind = findings(export=best, checkpoint="{keep_best: {}}")

    assert told(one(export=best)) == ("ZT734", Severity.ERROR, "export.checkpoint")
    assert {finding.code for finding in blind} == {"ZT731", "ZT734"}
    kept = {"checkpoint": "{keep_best: {}}", "data": VALIDATED, "evaluation": "{every: 5 steps}"}
    assert findings(export=best, horizon="100 steps", **kept) == []


@pytest.mark.parametrize(("horizon", "fires"), [("20 steps", True), ("21 steps", False), ("3 epochs", False)])
def test_zt735_the_run_ends_before_it_could_stop(findings: Findings, horizon: str, fires: bool) -> None:
    found = findings(evaluation=EVERY, data=VALIDATED, horizon=horizon)

    assert [told(finding) for finding in found] == (
        [("ZT735", Severity.WARNING, "evaluation.early_stopping")] if fires else []
    )


def test_zt736_weights_on_nvme_are_not_averaged(findings: Findings) -> None:
    def zero(device: str) -> str:
        return f"{{stage: 3, offload_optimizer: {{device: {device}, nvme_path: /nvme}}}}"

    found = [told(f) for f in findings(ema="{decay: 0.9}", zero=zero("nvme")) if f.code == "ZT736"]

    assert found == [("ZT736", Severity.ERROR, "ema")]
    assert not [f for f in findings(zero=zero("nvme")) if f.code == "ZT736"]
    assert not [f for f in findings(ema="{decay: 0.9}", zero="{stage: 3}") if f.code == "ZT736"]


def test_zt737_an_average_is_evaluated_only_with_validation_data(one: One, findings: Findings) -> None:
    finding = one(ema="{decay: 0.9, evaluate: true}")

    assert told(finding) == ("ZT737", Severity.WARNING, "ema.evaluate")
    assert findings(ema="{decay: 0.9, evaluate: true}", data=VALIDATED) == []


def test_zt738_an_average_that_is_not_kept_cannot_be_exported(one: One, findings: Findings) -> None:
    finding = one(export="{weights: ema}")

    assert told(finding) == ("ZT738", Severity.ERROR, "export.weights")
    assert findings(export="{weights: ema}", ema="{decay: 0.9}") == []
