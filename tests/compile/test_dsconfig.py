"""A compiled configuration is plain values, and knows where each comes from."""

from __future__ import annotations

import json

import pytest

from zerotrain.compile.dsconfig import DeepSpeedConfig, Setting


def config() -> DeepSpeedConfig:
    return DeepSpeedConfig(
        {
            "b": Setting(1, "batch.b", "as written"),
            "a": {"d": Setting((0.9, 0.95), "optimizer.d", "as written"), "c": Setting({"x": [1]}, "zerotrain", "so")},
            "e": {},
        }
    )


def test_the_dictionary_has_json_s_values_in_the_order_they_were_given() -> None:
    assert config().as_dict() == {"b": 1, "a": {"d": [0.9, 0.95], "c": {"x": [1]}}, "e": {}}
    assert list(config().as_dict()) == ["b", "a", "e"]


def test_the_dictionary_is_new_at_every_call() -> None:
    one = config()
    changed = one.as_dict()
    changed["a"]["c"]["x"].append(2)
    changed["a"]["d"] = None

    assert one.as_dict() == config().as_dict()


def test_the_text_is_the_same_for_the_same_values_and_reads_back() -> None:
    assert config().as_json() == config().as_json()
    assert config().as_json().endswith("}\n")
    assert json.loads(config().as_json()) == config().as_dict()


def test_every_value_stands_under_its_dotted_key() -> None:
    settings = config().settings()

    assert list(settings) == ["b", "a.d", "a.c"]
    assert settings["a.d"] == Setting((0.9, 0.95), "optimizer.d", "as written")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_text_is_json_even_for_numbers_that_are_none(value: float) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    try:
        text = DeepSpeedConfig({"x": Setting(value, "deepspeed.x", "as written")}).as_json()
    except ValueError:
        return
    json.loads(text, parse_constant=refuse)
