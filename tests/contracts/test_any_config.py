"""Whatever stands in a DeepSpeed config, looking at it never raises, and gives the same findings again."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerotrain.check.config.runner import Circumstances, lint_file
from zerotrain.check.dsschema.schema import schema_of, versions
from zerotrain.check.registry import RULES
from zerotrain.check.render import FORMATS
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.gpus import find_gpu

SCHEMA = schema_of()
CODES = {rule.code for rule in RULES}
USUAL: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": 4,
    "gradient_accumulation_steps": 2,
    "gradient_clipping": 1.0,
    "steps_per_print": 10,
    "bf16": {"enabled": True},
    "fp16": {"enabled": False, "loss_scale": 0},
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
        "offload_param": {"device": "nvme", "nvme_path": "/x"},
        "overlap_comm": True,
        "reduce_bucket_size": 5e8,
        "stage3_max_live_parameters": 1e9,
    },
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "betas": [0.9, 0.95], "weight_decay": 0.1}},
    "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": 10, "total_num_steps": 100}},
    "activation_checkpointing": {"partition_activations": True, "cpu_checkpointing": False},
    "tensor_parallel": {"autotp_size": 2},
    "expert_parallel": {"enabled": True, "autoep_size": 2},
    "data_efficiency": {"enabled": True, "data_sampling": {"curriculum_learning": {"enabled": True}}},
    "checkpoint": {"tag_validation": "Warn", "writer": {"type": "fast"}},
    "comms_logger": {"enabled": False},
    "aio": {"block_size": 1048576},
    "compile": {"deepcompile": True},
}

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 3, 4, 1.5, 2**63, 10**30, 1e-320, 1e308, float("inf"), float("nan")]),
    st.sampled_from(["auto", "", "cpu", "nvme", "none", "fp16", "bf16", "fp32", "True", "1e-4", "3", "AdamW", "adamw"]),
    st.sampled_from(["Muon", "Lamb", "Lion", "SGD", "OneBitAdam", "WarmupLR", "OneCycle", "StepLR", "é😀", "\ud800"]),
    st.text(max_size=8),
)
PIECES = (*"{}[]:,\"'#/*\n\t\\", "// x\n", "/*", "True", "{{x}}")
KEYS = st.sampled_from(
    sorted({key for section in SCHEMA.sections.values() for key in section.keys} | {"_x", "a.b", ""})
)
ANYTHING = st.recursive(
    VALUES,
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(KEYS, inside, max_size=4)),
    max_leaves=10,
)
AROUND = st.builds(
    Circumstances,
    reader=st.sampled_from([None, "raw", "hf", "accelerate"]),
    deepspeed=st.sampled_from(versions()),
    world_size=st.sampled_from([None, 1, 3, 64]),
    gpu=st.sampled_from([None, find_gpu("cpu"), find_gpu("H100-SXM"), find_gpu("V100-SXM-32")]),
    gpus_per_node=st.sampled_from([None, 1, 8]),
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value inside."""
    for key, inside in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from paths(inside, (*path, key))


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """Draws a usual config in which a few things have been changed."""
    config = copy.deepcopy(USUAL)
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from([(), *paths(config)]))
        owner = config
        for part in path[:-1]:
            owner = owner[part]
        inside = owner[path[-1]] if path else config
        if isinstance(inside, dict) and draw(st.booleans()):
            inside[draw(KEYS)] = draw(ANYTHING)
        elif path and draw(st.booleans()):
            owner[path[-1]] = draw(ANYTHING)
        elif path:
            del owner[path[-1]]
    return config


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Draws the text of a config with something cut out of it or put into it."""
    text = json.dumps(draw(mutants()), indent=draw(st.sampled_from([None, 2])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.text()))
        text = text[:at] + piece + text[at + draw(st.integers(0, 3)) :]
    return text


def examine(file: Path, text: str, around: Circumstances) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    found: list[Diagnostic] = lint_file(file, around)

    assert repr(found) == repr(lint_file(file, around))
    assert {finding.code for finding in found} <= CODES
    assert all(finding.message and finding.name for finding in found)
    for render in FORMATS.values():
        assert isinstance(render(found, False), str)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "ds_config.json"


PATIENCE = settings(
    deadline=timedelta(seconds=10),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
TEXTS = st.one_of(damaged(), ANYTHING.map(json.dumps), st.text(max_size=100))


@given(text=TEXTS, around=AROUND)
@settings(PATIENCE, max_examples=300)
def test_any_text_has_findings_and_does_no_harm(file: Path, text: str, around: Circumstances) -> None:
    examine(file, text, around)


@pytest.mark.slow
@given(text=TEXTS, around=AROUND)
@settings(PATIENCE, max_examples=10_000)
def test_any_of_ten_thousand_texts_has_findings_and_does_no_harm(file: Path, text: str, around: Circumstances) -> None:
    examine(file, text, around)
