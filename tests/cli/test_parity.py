"""`zerotrain parity`, with real ranks."""

from __future__ import annotations

import pytest

TWO = {"parallel": {"tp": 2}, "zero": {"stage": 2}, "hardware": {"gpus_per_node": 2}}


def test_a_layout_that_learns_the_same_is_clean(write, zerotrain, tmp_path):
    done = zerotrain("parity", write(TWO), "--steps", "3")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "fp32: losses the same" in done.stdout
    assert "fp32: gradient norms the same" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert all(float(row[1]) == pytest.approx(float(row[2]), rel=1e-5) for row in rows)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "tiny.parity-layout-fp32",
        "tiny.parity-plain-fp32",
    ]


def test_a_difference_beyond_the_tolerance_is_a_failure(write, zerotrain):
    done = zerotrain("parity", write(TWO), "--steps", "8", "--tolerance", "0")

    assert done.returncode == 1
    assert "NOT the same" in done.stdout


def test_a_broken_spec_starts_nothing(write, zerotrain, tmp_path):
    done = zerotrain("parity", write({"parallel": {"tp": 3}}))

    assert done.returncode == 1
    assert "error[ZT401]" in done.stderr
    assert not (tmp_path / "runs").exists()
