"""ZT9: raw DeepSpeed keys, and DeepSpeed's own traps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.check.rules.versions import REMOVED_KEYS, TOP_LEVEL_KEYS
from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]


@pytest.mark.parametrize(
    ("raw", "message", "help"),
    [
        ("{memory_brakdown: true}", "DeepSpeed does not read `memory_brakdown`", "did you mean `memory_breakdown`?"),
        ("{hello_world: {}}", "DeepSpeed does not read `hello_world`", "remove it"),
    ],
)
def test_zt901_a_key_that_deepspeed_would_ignore(
    one: One, findings: Findings, raw: str, message: str, help: str
) -> None:
    finding = one(deepspeed=raw)

    assert (finding.code, finding.name, finding.severity) == ("ZT901", "unknown-deepspeed-key", Severity.ERROR)
    assert (finding.message, finding.help) == (message, help)
    assert (finding.place.key or "").startswith("deepspeed.")
    assert findings(deepspeed="{memory_breakdown: true}") == []


def test_zt901_points_at_the_key(one: One, caret: Caret) -> None:
    assert caret(one(deepspeed="{memory_brakdown: true}")) == "memory_brakdown"


@pytest.mark.parametrize("key", sorted(REMOVED_KEYS))
def test_zt902_a_key_that_deepspeed_has_removed(one: One, key: str) -> None:
    finding = one(deepspeed=f"{{{key}: {{enabled: false}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT902", "removed-deepspeed-key", Severity.ERROR)
    assert (finding.place.key, finding.message) == (f"deepspeed.{key}", f"DeepSpeed 0.19 has removed `{key}`")


@pytest.mark.parametrize("key", ["mics_shard_size", "mics_hierarchical_params_gather", "zeropp_loco_param"])
def test_zt902_a_key_of_zero_that_deepspeed_has_removed(one: One, key: str) -> None:
    assert one(deepspeed=f"{{zero_optimization: {{{key}: 1}}}}").code == "ZT902"


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("{memory_breakdown: auto}", "deepspeed.memory_breakdown"),
        ("{aio: {block_size: auto}}", "deepspeed.aio.block_size"),
        ("{comms_logger: {a: {b: auto}}}", "deepspeed.comms_logger.a.b"),
    ],
)
def test_zt903_an_auto_that_nobody_fills(one: One, findings: Findings, caret: Caret, raw: str, key: str) -> None:
    finding = one(deepspeed=raw)

    assert (finding.code, finding.name, finding.severity) == ("ZT903", "unfilled-auto", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == (key, "auto")
    assert findings(deepspeed="{aio: {block_size: 1048576}}") == []


def test_zt903_an_auto_in_a_list(one: One) -> None:
    assert one(deepspeed="{comms_logger: {prof_ops: [auto]}}").code == "ZT903"


def test_no_key_is_both_read_and_removed() -> None:
    assert not TOP_LEVEL_KEYS & REMOVED_KEYS
