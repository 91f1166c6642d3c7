"""`zerotrain explain`: a code's page, or where a value comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.check.registry import RULES
from zerotrain.cli.main import main

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_the_directory_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_code_has_a_page(capsys: Capture, rule) -> None:
    assert main(["explain", rule.code]) == 0
    by_code = capsys.readouterr().out
    assert main(["explain", rule.name.upper()]) == 0

    assert capsys.readouterr().out == by_code
    assert by_code.startswith(f"{rule.code} {rule.name} (reported by {rule.raised_by})\n")
    assert all(part in by_code for part in ("\nWhy: ", "\nWrong:\n  ", "\nRight:\n  "))


def test_a_page_in_full(capsys: Capture) -> None:
    main(["explain", "ZT107"])

    assert capsys.readouterr().out == (
        "ZT107 nesterov-without-momentum (reported by check)\n"
        "\n"
        "Nesterov momentum is switched on with a momentum of 0.\n"
        "\n"
        "Why: torch refuses it when the optimizer is built.\n"
        "\n"
        "Wrong:\n"
        "  `{type: sgd, lr: 0.1, nesterov: true}`\n"
        "Right:\n"
        "  `{type: sgd, lr: 0.1, momentum: 0.9, nesterov: true}`\n"
    )


@pytest.mark.parametrize(
    ("subject", "hint"),
    [("indivisible-batch", "did you mean `indivisible-global-batch`?"), ("zzz", "zzz")],
)
def test_a_code_that_does_not_exist_ends_with_2(capsys: Capture, subject: str, hint: str) -> None:
    assert main(["explain", subject]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert f"there is no code `{subject}`" in err
    assert hint in err


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("gradient_clipping", "gradient_clipping = 0.5, from `optimizer.clip_norm`: as written (spec.yaml:"),
        (
            "gradient_accumulation_steps",
            "gradient_accumulation_steps = 1, from `batch.gradient_accumulation_steps`: "
            "4 / (2 per rank x 2 data-parallel ranks)\n",
        ),
        (
            "batch.gradient_accumulation_steps",
            "batch.gradient_accumulation_steps = 1, settled: 4 / (2 per rank x 2 data-parallel ranks); ",
        ),
        ("wall_clock_breakdown", "wall_clock_breakdown = false, from `zerotrain`: its timers synchronize the device\n"),
        ("zero.overlap_comm", "zero.overlap_comm = false, settled: hardware is `cpu`; "),
        ("scheduler.params.total_num_steps", "scheduler.params.total_num_steps = 3, from `horizon`: as written ("),
        ("optimizer.clip_norm", "compiled to gradient_clipping\n"),
        ("seed", "seed = 7, written at spec.yaml:"),
    ],
)
def test_a_value_is_traced_to_where_it_comes_from(write: Write, capsys: Capture, key: str, text: str) -> None:
    write({"seed": 7, "optimizer.clip_norm": 0.5, "schedule": {"type": "cosine"}, "zero.stage": 1})

    assert main(["explain", key, "spec.yaml"]) == 0
    assert text in capsys.readouterr().out


def test_every_compiled_key_is_explained(write: Write, capsys: Capture) -> None:
    write({"schedule": {"type": "cosine"}, "zero.stage": 3, "monitor.tensorboard": True, "precision": "bf16"})
    main(["compile", "spec.yaml"])
    compiled = json.loads(capsys.readouterr().out)

    def keys(section: dict, prefix: str = "") -> list[str]:
        return [
            key
            for name, value in section.items()
            for key in (keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"])
        ]

    for key in keys(compiled):
        assert main(["explain", key, "spec.yaml"]) == 0, key
        assert capsys.readouterr().out.startswith(f"{key} = ")


def test_a_compiled_section_is_explained_key_by_key(write: Write, capsys: Capture) -> None:
    write({"zero.stage": 1})
    main(["explain", "zero_optimization", "spec.yaml"])
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 8
    assert all(line.startswith("zero_optimization.") for line in lines)


@pytest.mark.parametrize("key", ["batch", "zero", "precision"])
def test_a_section_of_the_spec_is_explained_by_what_is_inside(write: Write, capsys: Capture, key: str) -> None:
    write({"zero.stage": 1, "precision": "bf16"})
    main(["explain", key, "spec.yaml"])

    assert f"{key}." in capsys.readouterr().out


@pytest.mark.parametrize("key", ["optimizer.eps", "zero.sub_group_size", "precision.dtype"])
def test_a_key_that_is_not_written_is_explained_by_its_default(write: Write, key: str) -> None:
    write()

    assert main(["explain", key, "spec.yaml"]) == 0


def test_overrides_count(write: Write, capsys: Capture) -> None:
    write()
    main(["explain", "zero_optimization.stage", "spec.yaml", "zero.stage=3"])

    assert capsys.readouterr().out == (
        "zero_optimization.stage = 3, from `zero.stage`: as written (command line:1:12)\n"
    )


@pytest.mark.parametrize(
    ("key", "near"),
    [("gradient_cliping", "gradient_clipping"), ("zero.stag", "zero.stage")],
)
def test_a_key_that_does_not_exist_ends_with_2(write: Write, capsys: Capture, key: str, near: str) -> None:
    write({"zero.stage": 1})

    assert main(["explain", key, "spec.yaml"]) == 2
    assert f"did you mean `{near}" in capsys.readouterr().err


def test_a_spec_with_errors_is_not_explained(write: Write, capsys: Capture) -> None:
    write({"optimizer.lr": -1})

    assert main(["explain", "gradient_clipping", "spec.yaml"]) == 1
    assert "`spec.yaml` has errors; see `zerotrain check spec.yaml`" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_ends_with_2() -> None:
    assert main(["explain", "gradient_clipping", "gone.yaml"]) == 2


def test_a_value_is_shown_as_it_stands_in_the_json(write: Write, capsys: Capture) -> None:
    write()
    main(["explain", "wall_clock_breakdown", "spec.yaml"])

    assert "= false," in capsys.readouterr().out


def test_a_spec_that_cannot_be_settled_is_refused_with_its_place(write: Write, capsys: Capture) -> None:
    write({"batch.global_batch_size": 3})

    assert main(["explain", "gradient_clipping", "spec.yaml"]) == 1
    assert "spec.yaml:2:22: error[ZT101]" in capsys.readouterr().err
