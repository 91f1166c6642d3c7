"""ZT76, ZT77: what is done when training goes wrong."""

from __future__ import annotations

from collections.abc import Callable

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]


def test_zt770_a_spike_would_roll_back_to_the_start(one: One, findings: Findings) -> None:
    rolling = "{loss_spike: {action: rollback, window: 10}}"
    found = one(health=rolling, horizon="100 steps")

    assert (found.code, found.severity, found.place.key) == ("ZT770", Severity.WARNING, "health.loss_spike.action")
    assert findings(health=rolling, horizon="100 steps", checkpoint="{save_every: 5 steps}") == []


def test_zt771_a_spike_is_looked_for_after_the_end(one: One, findings: Findings) -> None:
    found = one(health="{loss_spike: {window: 200}}", horizon="100 steps")

    assert (found.code, found.severity, found.place.key) == ("ZT771", Severity.WARNING, "health.loss_spike.window")
    assert found.message == "the first loss that is looked at is that of step 101, after the last"
    assert findings(health="{loss_spike: {window: 199}}", horizon="100 steps") == []


def test_zt772_the_process_group_gives_up_before_the_watchdog(one: One, findings: Findings) -> None:
    found = one(health="{hang: 30 minutes}")

    assert (found.code, found.severity, found.place.key) == ("ZT772", Severity.WARNING, "health.hang")
    assert findings(health="{hang: 29 minutes}") == []
    assert findings(launch="{type: local, timeout: 1 minute}") == [], "`auto` follows the timeout"
