"""Whatever stands in a file, checking it gives findings: it never raises, and gives the same ones again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerotrain.check.render import FORMATS
from zerotrain.check.runner import check_reading
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import read_spec

GOLDEN = Path(__file__).parents[1] / "golden"
FULL: dict[str, Any] = {
    **yaml.safe_load((GOLDEN / "tiny.yaml").read_text()),
    "seed": 7,
    "task": {"type": "pretrain"},
    "data": {
        "train": [{"type": "text", "path": "a/*.txt"}, {"type": "python_stdlib", "max_documents": 5}],
        "validation": [{"type": "python_stdlib", "split": "validation"}],
        "tokenizer": {"type": "bpe", "vocab_size": 999},
        "seq_len": 32,
        "packing": "concat",
    },
    "optimizer": {"type": "muon", "lr": 0.02, "adam_lr": 0.001, "betas": [0.9, 0.95], "clip_norm": None},
    "schedule": {"type": "cosine", "warmup": "5 steps", "min_lr_ratio": 0.1},
    "precision": {"dtype": "fp16", "loss_scale": {"window": 5}},
    "zero": {
        "stage": 3,
        "offload_optimizer": {"device": "cpu", "ratio": 0.5},
        "offload_param": {"device": "nvme", "nvme_path": "/x"},
        "reduce_bucket_size": "auto",
    },
    "parallel": {"tp": 1},
    "activation_checkpointing": {"granularity": "full", "implementation": "deepspeed"},
    "checkpoint": {"save_every": "5 steps", "keep_last": 2},
    "evaluation": {"every": "1 epoch", "max_samples": 7},
    "monitor": {"tensorboard": True},
    "export": {"dtype": "auto", "sample": {"prompts": ["def f("], "max_new_tokens": 4}},
    "launch": {"type": "deepspeed", "hostfile": "hosts"},
    "deepspeed": {"comms_logger": {"enabled": True}, "zero_optimization": {"round_robin_gradients": True}},
}
TINY: dict[str, Any] = yaml.safe_load((GOLDEN / "tiny.yaml").read_text())

WORD_LIST = """
    auto null true false yes none cpu nvme cuda CPU H100-SXM A100 V100-SXM-32 llama gpt2 bert resnet vit mixtral
    deepseek_v3 qwen3_moe adamw sgd lion lamb bf16 fp16 fp32 autocast-bf16 dynamic full selective bytes pretrained
    constant linear 0o17 0x1F 1e-4 "1e-4" .5 5. 1_000 1,5K 2020-01-01 1:30 ~ . .. / - -- = << & * ! | > % @ ` ' # : ?
    run.yaml zerotrain deepspeed
"""
KEY_LIST = """
    type stage lr dtype config architecture pretrained offload_optimizer device extends name hidden_size vocab_size
    num_hidden_layers num_attention_heads num_key_value_heads rope_parameters rope_scaling layer_types head_dim
    gradient_clipping optimizer scheduler auto enabled adamw text LossScaleSpec 0 ² a.b [0] <<
"""
LENGTH_LIST = ["10 steps", "3 epochs", "2B tokens", "0 steps", "-1 steps", "1.5 epochs", "steps", "9e9 tokens"]
WORDS = st.sampled_from(WORD_LIST.split())
LENGTHS = st.sampled_from(LENGTH_LIST)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, 257, 2**63, 10**30, 0.0, -0.0, 1e-320, 1e308, float("inf"), float("nan")]),
    st.integers(-1000, 10**6),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, LENGTHS, st.text(max_size=20))
GARBAGE = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=8)), inside, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.one_of(st.sampled_from(KEY_LIST.split()), st.text(max_size=8))
MODEL_CONFIGS = st.dictionaries(KEYS, GARBAGE, max_size=5)
SNIPPETS = st.sampled_from(
    [
        "\t",
        "\r\n",
        "\ufeff",
        "&a ",
        "*a",
        "<<: *a\n",
        "!!str ",
        "!x ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        ":",
        "- ",
        "? ",
        "|\n",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "seed: 1\n",
        "\x85",
        "\u2028",
        "é",
        "😀",
        "\x07",
        "zero: {stage: 2}\n",
        "a: &a {b: *a}\n",
    ]
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in pairs:
        yield (*path, key)
        yield from paths(inside, (*path, key))


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Draws a valid spec in which a few things have been changed, as text."""
    spec = copy.deepcopy(draw(st.sampled_from([TINY, FULL])))
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(spec))
        if places:
            mutate(draw, spec, draw(st.sampled_from(places)))
    return yaml.safe_dump(
        spec, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.sampled_from([None, False]))
    )


def mutate(draw: st.DrawFn, spec: Any, path: tuple[Any, ...]) -> None:
    owner = spec
    for part in path[:-1]:
        owner = owner[part]
    last = path[-1]
    change = draw(st.sampled_from(["drop", "rename", "replace", "add", "wrap", "config"]))
    if change == "drop":
        del owner[last]
    elif change == "rename" and isinstance(owner, dict):
        owner[draw(KEYS)] = owner.pop(last)
    elif change == "add" and isinstance(owner[last], dict):
        owner[last][draw(KEYS)] = draw(GARBAGE)
    elif change == "wrap":
        owner[last] = draw(st.sampled_from([[owner[last]], {"type": owner[last]}, str(owner[last])]))
    elif change == "config" and isinstance(spec.get("model"), dict):
        spec["model"] = {"architecture": draw(st.one_of(WORDS, st.just("llama"))), "config": draw(MODEL_CONFIGS)}
    else:
        owner[last] = draw(GARBAGE)


@st.composite
def scribbled(draw: st.DrawFn) -> str:
    """Draws a valid spec into whose text something has been written, or of which something has been cut."""
    text = yaml.safe_dump(draw(st.sampled_from([TINY, FULL])), sort_keys=False)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = begin + draw(st.sampled_from([0, 0, 1, 10, 100]))
        text = text[:begin] + draw(st.one_of(SNIPPETS, st.text(max_size=5))) + text[end:]
    return text


TEXTS = st.one_of(mutants(), scribbled(), st.lists(st.one_of(SNIPPETS, WORDS), max_size=30).map(" ".join))
OVERRIDES = st.lists(
    st.one_of(
        st.tuples(
            st.lists(KEYS, min_size=1, max_size=3).map(".".join), st.one_of(WORDS, LENGTHS, st.text(max_size=10))
        ).map("=".join),
        st.text(max_size=12),
    ),
    max_size=2,
)


def findings_of(file: Path, overrides: list[str], world_size: int | None) -> list[Diagnostic]:
    around = Surroundings(directory=file.parent, cache=file.parent)
    return check_reading(read_spec(file, overrides), around, world_size)


def examine(file: Path, text: str, overrides: list[str], world_size: int | None) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = findings_of(file, overrides, world_size)

    assert repr(found) == repr(findings_of(file, overrides, world_size))
    for finding in found:
        assert finding.code.startswith("ZT")
        assert finding.message
        assert finding.place.line is None or finding.place.line >= 1
        assert finding.place.column is None or finding.place.column >= 1
    for render in FORMATS.values():
        assert isinstance(render(found, False), str)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "run.yaml"


PATIENCE = settings(
    deadline=timedelta(seconds=10),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@given(text=TEXTS, overrides=OVERRIDES, world_size=st.sampled_from([None, 1, 3, 64]))
@settings(PATIENCE, max_examples=300)
def test_any_text_has_findings_and_does_no_harm(
    file: Path, text: str, overrides: list[str], world_size: int | None
) -> None:
    examine(file, text, overrides, world_size)


@pytest.mark.slow
@given(text=TEXTS, overrides=OVERRIDES, world_size=st.sampled_from([None, 1, 3, 64]))
@settings(PATIENCE, max_examples=10_000)
def test_any_of_ten_thousand_texts_has_findings_and_does_no_harm(
    file: Path, text: str, overrides: list[str], world_size: int | None
) -> None:
    examine(file, text, overrides, world_size)


@given(st.binary(max_size=200))
@settings(PATIENCE, max_examples=100)
def test_any_bytes_have_findings_and_do_no_harm(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    assert findings_of(file, [], None) != []
