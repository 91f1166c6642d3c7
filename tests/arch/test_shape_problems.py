"""What a user reads about an impossible config: complete, to the point, never a traceback."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerotrain.arch.describe import architectures, shape_problems
from zerotrain.arch.families import FAMILIES

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), architecture=st.sampled_from(architectures()))
def test_no_value_of_any_key_makes_it_fail(data: st.DataObject, architecture: str) -> None:
    keys = st.sampled_from(sorted(FAMILIES[architecture].known())) | st.text(max_size=5)
    config = data.draw(st.dictionaries(keys, junk, max_size=6))

    for problem in shape_problems(architecture, config):
        assert problem.key in config or problem.key in FAMILIES[architecture].known()
        assert problem.message


def test_everything_wrong_is_reported_at_once() -> None:
    problems = shape_problems(
        "llama",
        {
            "hidden_size": 100,
            "num_attention_heads": 12,
            "vocab_size": "32000",
            "rms_norm_eps": "1e-6",
            "num_hidden_layers": -1,
            "hidden_act": "swiglu",
            "hiden_size": 3,
        },
    )

    assert [problem.key for problem in problems] == [
        "vocab_size",
        "rms_norm_eps",
        "num_hidden_layers",
        "hidden_act",
        "hidden_size",
    ]


@pytest.mark.parametrize(
    ("architecture", "config", "message", "help"),
    [
        (
            "llama",
            {"hidden_size": 100, "num_attention_heads": 12},
            "`hidden_size` 100 is not a multiple of `num_attention_heads` 12",
            None,
        ),
        (
            "qwen2",
            {"num_attention_heads": 8},
            "`num_attention_heads` 8 is not a multiple of `num_key_value_heads` 32",
            "set `num_key_value_heads` to a divisor of 8",
        ),
        (
            "llama",
            {"rms_norm_eps": "1e-6"},
            '`rms_norm_eps` is `"1e-6"`, which is not a number with a decimal point',
            "write `1.0e-06`",
        ),
        (
            "llama",
            {"initializer_range": 0},
            "`initializer_range` is `0`, which is not a number with a decimal point",
            "write `0.0`",
        ),
        ("llama", {"hidden_size": 4096.0}, "`hidden_size` is `4096.0`, which is not a whole number", "write `4096`"),
        ("llama", {"use_cache": None}, "`use_cache` is `null`, which is not true or false", None),
        ("vit", {"patch_size": 0}, "`patch_size` is `0`; it must be at least 1", None),
        (
            "llama",
            {"head_dim": 15},
            "`head_dim` 15 is odd, but rotary positions turn pairs of numbers",
            None,
        ),
        (
            "mixtral",
            {"num_experts_per_tok": 9},
            "`num_experts_per_tok` 9 is more than `num_local_experts` 8",
            None,
        ),
    ],
)
def test_a_message_is_fact_values_and_way_out(
    architecture: str, config: dict[str, Any], message: str, help: str | None
) -> None:
    (problem,) = shape_problems(architecture, config)

    assert (problem.message, problem.help) == (message, help)


def test_the_key_to_blame_is_the_one_the_user_wrote() -> None:
    assert shape_problems("gpt2", {"hidden_size": 100})[0].key == "hidden_size"
    assert shape_problems("gpt2", {"n_embd": 100})[0].key == "n_embd"
    assert shape_problems("mixtral", {"num_experts": 1})[0].key == "num_experts"
    assert shape_problems("mixtral", {"hidden_size": 4098, "head_dim": 128})[0].key == "hidden_size"
    assert shape_problems("deepseek_v3", {"topk_group": 9, "n_group": 8})[0].key == "topk_group"


def test_a_wrong_value_is_not_reported_twice() -> None:
    problems = shape_problems("llama", {"hidden_size": "big", "num_attention_heads": 7})

    assert [problem.key for problem in problems] == ["hidden_size"]
