"""Errors carry findings across processes, and say all of them."""

from __future__ import annotations

import pickle

import pytest

from zerotrain import errors
from zerotrain.diagnostic import Place, error
from zerotrain.errors import SpecError, ZerotrainError

FINDINGS = (error("ZT101", "a-name", "first", key="batch"), error("ZT102", "b-name", "second").at(Place("f", 3, 4)))
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ZerotrainError)]


def test_an_error_says_every_finding_it_carries() -> None:
    assert str(SpecError(*FINDINGS)) == "ZT101 a-name: first\nZT102 b-name: second"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_to_another_process(kind: type[ZerotrainError]) -> None:
    arrived = pickle.loads(pickle.dumps(kind(*FINDINGS)))

    assert type(arrived) is kind
    assert tuple(arrived.findings) == FINDINGS
