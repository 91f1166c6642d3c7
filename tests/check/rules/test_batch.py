"""ZT1: batch, horizon, optimizer, schedule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]


def test_zt101_a_batch_that_does_not_divide(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(batch="{global_batch_size: 12, micro_batch_size: 4}")

    assert (finding.code, finding.name, finding.severity) == ("ZT101", "indivisible-global-batch", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("batch.global_batch_size", "12")
    assert (finding.message, finding.help) == (
        "12 is not a multiple of 8 (4 per rank x 2 data-parallel ranks)",
        "use 8 or 16",
    )
    assert findings(batch="{global_batch_size: 16, micro_batch_size: 4}") == []
    assert findings(batch="{global_batch_size: 12, micro_batch_size: 4}", world_size=1) == []


def test_zt102_accumulation_that_contradicts_the_batch(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(batch="{global_batch_size: 16, micro_batch_size: 4, gradient_accumulation_steps: 3}")

    assert (finding.code, finding.name, finding.severity) == ("ZT102", "contradicting-batch", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("batch.gradient_accumulation_steps", "3")
    assert (finding.message, finding.help) == (
        "4 per rank x 3 steps x 2 ranks is 24, not 16",
        "use 2, or leave it `auto`",
    )
    assert findings(batch="{global_batch_size: 16, micro_batch_size: 4, gradient_accumulation_steps: 2}") == []


@pytest.mark.parametrize(
    ("horizon", "warmup"),
    [("100 steps", "101 steps"), ("2 epochs", "3 epochs"), ("1K tokens", "5 steps")],
)
def test_zt103_a_warmup_longer_than_the_run(one: One, caret: Caret, horizon: str, warmup: str) -> None:
    finding = one(horizon=horizon, schedule=f"{{type: cosine, warmup: {warmup}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT103", "endless-warmup", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("schedule.warmup", warmup)
    assert "is longer than the horizon of" in finding.message


@pytest.mark.parametrize(
    ("horizon", "warmup"),
    [("100 steps", "100 steps"), ("3 epochs", "3 epochs"), ("1K tokens", "4 steps"), ("1 epochs", "999 steps")],
)
def test_zt103_a_warmup_as_long_as_the_run_or_of_unknown_length(findings: Findings, horizon: str, warmup: str) -> None:
    assert findings(horizon=horizon, schedule=f"{{type: cosine, warmup: {warmup}}}") == []


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"checkpoint": "{save_every: 101 steps}"}, "checkpoint.save_every"),
        ({"evaluation": "{every: 10M tokens}"}, "evaluation.every"),
    ],
)
def test_zt104_an_interval_longer_than_the_run(
    one: One, findings: Findings, caret: Caret, sections: dict[str, str], key: str
) -> None:
    validation = (
        "{train: [{type: python_stdlib}], validation: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 32}"
    )
    finding = one(data=validation, **sections)

    assert (finding.code, finding.name, finding.severity) == ("ZT104", "idle-interval", Severity.WARNING)
    assert finding.place.key == key
    assert caret(finding) in sections[key.partition(".")[0]]
    assert (f"`{key}` is " in finding.message, finding.help) == (True, "use at most 50 steps")
    assert findings(data=validation, checkpoint="{save_every: 100 steps}", evaluation="{every: 1K tokens}") == []


def test_zt105_a_learning_rate_without_the_sign_of_its_exponent(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(optimizer="{type: adamw, lr: 3e4}")

    assert (finding.code, finding.name, finding.severity) == ("ZT105", "large-learning-rate", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("optimizer.lr", "3e4")
    assert finding.message == "a learning rate of 30000 is very large for `adamw`"
    assert findings(optimizer="{type: adamw, lr: 3e-2}") == []
    assert findings(optimizer="{type: sgd, lr: 3.0}") == []


def test_zt106_an_evaluation_of_nothing(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(evaluation="{every: 5 steps}")

    assert (finding.code, finding.name, finding.severity) == ("ZT106", "nothing-to-evaluate", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("evaluation", "{every: 5 steps}")
    assert finding.message == "`evaluation` is ignored: `data.validation` has no sources"
    assert one(evaluation="{at_start: true}").code == "ZT106"
    assert findings(evaluation="{max_samples: 5}") == []


def test_zt107_nesterov_without_a_momentum(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(optimizer="{type: sgd, lr: 0.1, nesterov: true}")

    assert (finding.code, finding.name, finding.severity) == ("ZT107", "nesterov-without-momentum", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("optimizer.nesterov", "true")
    assert finding.help == "add `momentum: 0.9`"
    assert findings(optimizer="{type: sgd, lr: 0.1, nesterov: true, momentum: 0.9}") == []


def test_zt108_muon_s_updates_are_clipped_under_zero(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(optimizer="{type: muon, lr: 0.02, clip_norm: 1.0}", zero="{stage: 2}")

    assert (finding.code, finding.name, finding.severity) == ("ZT108", "clipped-muon", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("optimizer.clip_norm", "1.0")
    assert finding.message == "at ZeRO stage 2 DeepSpeed clips Muon's updates to 1, not the gradient"
    assert findings(optimizer="{type: muon, lr: 0.02, clip_norm: 1.0}") == []
    assert findings(optimizer="{type: muon, lr: 0.02}", zero="{stage: 2}") == []


@pytest.mark.parametrize(
    ("expect", "fact"),
    [
        ("world_size: 2", "`world_size` is 1, expected 2"),
        ("data_parallel_size: 4", "`data_parallel_size` is 1, expected 4"),
        ("global_batch_size: 512", "`global_batch_size` is 4, expected 512"),
        ("gradient_accumulation_steps: 3", "`gradient_accumulation_steps` is 2, expected 3"),
        ("steps: 11", "`steps` is 10, expected 11"),
        ("tokens: 2K", "`tokens` is 1,280, expected 2K"),
        ("parameters: 1M", None),
    ],
)
def test_zt110_an_expectation_that_is_not_met(findings: Findings, expect: str, fact: str | None) -> None:
    changed = {"batch": "{global_batch_size: 4, micro_batch_size: 2}", "horizon": "10 steps"}
    found = findings(expect=f"{{{expect}}}", hardware="{gpu: cpu}", **changed)

    assert [f.code for f in found] == ["ZT110"]
    assert found[0].place.key == f"expect.{expect.partition(':')[0]}"
    assert fact is None or found[0].message == fact


def test_zt110_expectations_that_are_met_as_precisely_as_they_are_written(findings: Findings) -> None:
    expect = "{world_size: 1, data_parallel_size: 1, global_batch_size: 4, steps: 10, tokens: 1.3K}"
    changed = {"batch": "{global_batch_size: 4, micro_batch_size: 2}", "horizon": "10 steps"}

    assert findings(expect=expect, hardware="{gpu: cpu}", **changed) == []


def test_zt110_what_is_not_known_before_the_data_is_counted_is_not_judged(findings: Findings) -> None:
    assert findings(expect="{steps: 7, tokens: 9B}", horizon="2 epochs") == []


@pytest.mark.parametrize(
    ("horizon", "warmup", "decay"),
    [("100 steps", "50 steps", "51 steps"), ("2 epochs", "1 epochs", "2 epochs"), ("1K tokens", "2 steps", "3 steps")],
)
def test_zt153_warmup_and_decay_longer_than_the_run(
    one: One, findings: Findings, caret: Caret, horizon: str, warmup: str, decay: str
) -> None:
    finding = one(horizon=horizon, schedule=f"{{type: wsd, warmup: {warmup}, decay: {decay}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT153", "overlapping-decay", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("schedule.decay", decay)
    assert finding.message.startswith(f"{warmup} and {decay} are longer than the horizon of")
    assert findings(horizon=horizon, schedule=f"{{type: wsd, decay: {decay}}}") == []
