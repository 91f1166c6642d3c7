"""ZT4: parallel axes and machines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]


def test_zt401_ranks_that_fill_no_axes(findings: Findings, caret: Caret) -> None:
    found = findings(parallel="{pp: 4}")

    assert [f.code for f in found] == ["ZT401", "ZT412"]
    assert (found[0].name, found[0].severity) == ("unfilled-axes", Severity.ERROR)
    assert (found[0].place.key, caret(found[0])) == ("parallel", "{pp: 4}")
    assert found[0].message == "a world size of 2 is not a multiple of tp 1 x pp 4 x sp 1 = 4"
    assert "ZT401" not in [f.code for f in findings(parallel="{pp: 2}")]


@pytest.mark.parametrize(
    ("name", "help"),
    [("H1000", "did you mean `H100-"), ("zzz", "known: `V100-SXM-16`, ")],
)
def test_zt403_an_accelerator_that_nobody_knows(
    one: One, findings: Findings, caret: Caret, name: str, help: str
) -> None:
    finding = one(hardware=f"{{gpu: {name}, gpus_per_node: 2}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT403", "unknown-gpu", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("hardware.gpu", name)
    assert finding.message == f"`{name}` is not a known accelerator"
    assert (finding.help or "").startswith(help)
    assert findings(hardware="{gpu: NVIDIA H100 80GB HBM3, gpus_per_node: 2}") == []


@pytest.mark.parametrize("name", ["CPU", "Cpu", "cpu "])
def test_a_name_that_the_table_knows_means_the_same_everywhere(case: Callable, name: str) -> None:
    asked = case(hardware=f'{{gpu: "{name}", gpus_per_node: 2}}')

    assert asked.gpu is not None
    assert asked.gpu.host
    assert asked.resolved.spec.zero.overlap_comm is False


def test_zt403_a_family_suggests_its_members(one: One) -> None:
    help = one(hardware="{gpu: A100, gpus_per_node: 2}").help or ""

    assert "`A100-SXM-40`" in help
    assert "`A100-SXM-80`" in help
