"""The snapshot of the installed DeepSpeed says what that DeepSpeed does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime import lr_schedules
from deepspeed.runtime.config import DeepSpeedConfig

from zerotrain.check.dsschema.schema import Key, Section, schema_of

SCHEMA = schema_of()
UNKNOWN = "zerotrain_unknown"
STRICT = [path for path, section in SCHEMA.sections.items() if section.strict]
LOOSE = [path for path, section in SCHEMA.sections.items() if not section.strict and "*" not in path]
LIMITED = [
    (f"{path}.{name}", key)
    for path in STRICT
    for name, key in SCHEMA.sections[path].keys.items()
    if key.choices or (key.minimum, key.above, key.maximum, key.below) != (None, None, None, None)
]
PARSED_CHOICES = (
    "checkpoint.parallel_write.pipeline_stage",
    "checkpoint.tag_validation",
    "checkpoint.writer.data_parallel",
    "checkpoint.writer.type",
    "communication_data_type",
    "gradient_allreduce_op",
    "seq_parallel_communication_data_type",
    "tensor_parallel.vocab_parallel_ce_backend",
    "torch_autocast.dtype",
    "zero_optimization.offload_optimizer.device",
    "zero_optimization.stage",
    "zero_optimization.zenflow.select_strategy",
)


def read(path: str, value: Any) -> DeepSpeedConfig:
    for name in reversed(path.split(".") if path else []):
        value = {name: value}
    return DeepSpeedConfig({"train_batch_size": 1} | value)


def is_refused(path: str, value: Any) -> bool:
    try:
        read(path, value)
    except Exception:  # DeepSpeed has no class of its own for this
        return True
    return False


def wrong_values(key: Key) -> list[Any]:
    values: list[Any] = [UNKNOWN] if key.choices else []
    values += [key.minimum - 1] if key.minimum is not None else []
    values += [key.above] if key.above is not None else []
    values += [key.maximum + 1] if key.maximum is not None else []
    return values + ([key.below] if key.below is not None else [])


def defaults_of(section: Section) -> dict[str, Any]:
    written = {name: key for name, key in section.keys.items() if key.deprecated is None and key.default is not None}
    return {name: list(key.default) if isinstance(key.default, tuple) else key.default for name, key in written.items()}


def test_the_shipped_file_is_what_the_tool_writes() -> None:
    root = Path(__file__).parents[3]
    tool = [sys.executable, "tools/snapshot.py", "--check"]
    done = subprocess.run(tool, cwd=root, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", STRICT)
def test_a_strict_section_refuses_an_unknown_key_and_takes_its_defaults(path: str) -> None:
    assert is_refused(path, {UNKNOWN: 1})
    read(path, defaults_of(SCHEMA.sections[path]))


@pytest.mark.parametrize("path", LOOSE)
def test_another_section_takes_an_unknown_key(path: str) -> None:
    read(path, {UNKNOWN: 1})


@pytest.mark.parametrize(("path", "key"), LIMITED, ids=lambda case: case if isinstance(case, str) else "")
def test_a_limit_of_a_strict_section_is_one(path: str, key: Key) -> None:
    assert all(is_refused(path, value) for value in wrong_values(key))


@pytest.mark.parametrize("path", PARSED_CHOICES)
def test_choices_are_taken_and_nothing_else(path: str) -> None:
    key = SCHEMA.key(path)

    assert key is not None
    assert is_refused(path, UNKNOWN)
    for choice in key.choices:
        read(path, choice)
        if isinstance(choice, str) and choice.lower() != choice.upper():
            assert is_refused(path, choice.swapcase()) is not key.any_case, choice


@pytest.mark.parametrize("path", SCHEMA.removed)
def test_a_removed_key_is_refused_whatever_it_holds(path: str) -> None:
    assert is_refused(path, False)
    assert SCHEMA.removed[path]


@pytest.mark.parametrize("name", SCHEMA.schedulers)
def test_a_scheduler_takes_its_parameters_and_needs_the_required_ones(name: str) -> None:
    signature = SCHEMA.schedulers[name]
    scheduler = getattr(lr_schedules, name)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    required: dict[str, Any] = {parameter: 10 for parameter in signature.required}

    scheduler(optimizer, **{**signature.params, **required})
    with pytest.raises(TypeError, match=UNKNOWN):
        scheduler(optimizer, **required, **{UNKNOWN: 1})
    for parameter in required:
        with pytest.raises(TypeError, match=parameter):
            scheduler(optimizer, **{other: 10 for other in required if other != parameter})
