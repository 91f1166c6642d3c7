"""The layout is a contract: scripts of users depend on it."""

from __future__ import annotations

from pathlib import Path

from zerotrain.runs.layout import RunDirectory


def test_everything_is_where_the_contract_says() -> None:
    run = RunDirectory(Path("runs/tiny"))
    expected = {
        "spec": "runs/tiny/spec.yaml",
        "resolved": "runs/tiny/resolved.yaml",
        "ds_config": "runs/tiny/ds_config.json",
        "record": "runs/tiny/run.json",
        "metrics": "runs/tiny/metrics.jsonl",
        "tensorboard": "runs/tiny/tensorboard",
        "logs": "runs/tiny/logs",
        "checkpoints": "runs/tiny/checkpoints",
        "export": "runs/tiny/export",
    }

    assert {name: str(getattr(run, name)) for name in expected} == expected


def test_attempts_and_ranks_have_their_own_files() -> None:
    run = RunDirectory(Path("runs/tiny"))

    assert str(run.attempt(3)) == "runs/tiny/logs/attempt-3"
    assert str(run.rank_log(3, 0)) == "runs/tiny/logs/attempt-3/rank-0.log"
    assert str(run.rank_failure(3, 11)) == "runs/tiny/logs/attempt-3/rank-11.failure.json"


def test_a_run_is_named_after_its_directory() -> None:
    assert RunDirectory(Path("/somewhere/else")).name == "else"
