"""What a user reads of an examination."""

from __future__ import annotations

import json

from tests.doctor.conftest import MACHINE, gpu_need, with_parts
from zerotrain.doctor.checks.table import CHECKS, examine
from zerotrain.doctor.machine import Lock, Machine
from zerotrain.doctor.report import Report, render_facts, render_lines, render_report

LEFT = with_parts(builds={"locks": (Lock("/ops/cpu_adam/lock", False, 7200),)})
SLOW = with_parts(
    builds={"locks": (Lock("/ops/cpu_adam/lock", False, 7200),)}, network={"loopback_problem": "it is down"}
)


def report(machine: Machine) -> Report:
    outcomes = list(examine(machine, gpu_need()))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    return Report("run.yaml", outcomes, findings, machine)


def test_a_machine_that_is_ready_is_a_list_of_facts() -> None:
    text = render_report(report(MACHINE), color=False)

    assert {line.split()[0] for line in text.splitlines()[:-2]} == {"ok"}
    assert text.endswith("\n\nrun.yaml: ready\n")
    assert "ok    GPUs            2 x NVIDIA H100 80GB HBM3, driver 580.1, CUDA up to 13.0\n" in text


def test_findings_come_after_the_facts_and_are_counted() -> None:
    text = render_report(report(LEFT), color=False)

    assert "\nlook  build locks     1 left by builds\n" in text
    assert "\n\nwarning[ZT854] left-lock\n  = `/ops/cpu_adam/lock` is left over" in text
    assert text.endswith("  help: rm /ops/cpu_adam/lock\n\nrun.yaml: ready, 1 warning\n")


def test_an_error_is_marked_and_says_not_ready() -> None:
    text = render_report(report(SLOW), color=False)

    assert "\nBAD   network " in text
    assert text.endswith("run.yaml: not ready, 1 error, 1 warning\n")


def test_one_line_for_each_finding_and_nothing_else() -> None:
    assert render_lines(report(MACHINE), color=False) == ""
    assert [line.split()[0] for line in render_lines(report(SLOW), color=False).splitlines()] == [
        "warning[ZT854]",
        "error[ZT869]",
    ]


def test_json_has_findings_and_facts() -> None:
    told = json.loads(render_facts(report(LEFT), color=False))

    assert told["version"] == 1
    assert [finding["code"] for finding in told["findings"]] == ["ZT854"]
    assert told["facts"]["driver"]["devices"][0]["name"] == "NVIDIA H100 80GB HBM3"
    assert told["facts"]["builds"]["locks"][0]["held"] is False


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
