"""Facts about prepared data."""

from __future__ import annotations

import json

import pytest

from zerotrain.compile.facts import DataFacts

FACTS = DataFacts("ab", "cd", 4096, 0, 1, 10, 2_500, 2, 400)


def test_facts_survive_json():
    assert DataFacts.from_json(json.loads(json.dumps(FACTS.as_json()))) == FACTS


def test_facts_of_a_later_version_are_read_without_what_is_new():
    assert DataFacts.from_json({**FACTS.as_json(), "new": 1}) == FACTS


def test_a_missing_fact_is_an_error():
    values = FACTS.as_json()
    del values["train_tokens"]

    with pytest.raises(KeyError, match="train_tokens"):
        DataFacts.from_json(values)
