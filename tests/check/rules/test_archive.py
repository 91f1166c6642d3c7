from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]


def test_zt784_the_place_depends_on_where_the_run_is_started(one: One, findings: Findings) -> None:
    found = one(archive="{to: backup/runs}")

    assert (found.code, found.severity, found.place.key) == ("ZT784", Severity.ERROR, "archive.to")
    assert findings(archive="{to: /mnt/backup}") == []
    assert findings(archive="{to: 's3://bucket/runs'}") == []


def test_zt785_a_secret_stands_in_the_url_and_not_in_the_finding(one: One, findings: Findings) -> None:
    found = one(archive="{to: 's3://AKIA:hunter2@bucket/runs'}")

    assert (found.code, found.severity, found.place.key) == ("ZT785", Severity.ERROR, "archive.to")
    assert "hunter2" not in found.message
    assert "`s3://…@bucket`" in found.message


@pytest.mark.parametrize("section", ["export", "archive"])
def test_zt104_and_zt618_look_at_the_intervals_of_exports_and_copies(one: One, section: str) -> None:
    found = one(**{section: "{to: /mnt/backup, every: 500 steps}" if section == "archive" else "{every: 500 steps}"})

    assert (found.code, found.place.key) == ("ZT104", f"{section}.every")
