"""The sections of a spec: their defaults, and that nothing changes after reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from zerotrain.spec.base import Spec
from zerotrain.spec.invalid import sections_of
from zerotrain.spec.load import Reading
from zerotrain.spec.run import RunSpec
from zerotrain.spec.schema import field_docs

Read = Callable[..., Reading]
Text = Callable[..., str]

DEFAULTS = {
    "seed": 1234,
    "model": {"revision": None, "pretrained": None, "attention": "sdpa", "adapter": None},
    "task": {"type": "pretrain"},
    "data": {"validation": [], "packing": "isolated", "cache": "auto"},
    "batch": {"gradient_accumulation_steps": "auto"},
    "optimizer": {"weight_decay": 0.0, "clip_norm": 1.0, "betas": [0.9, 0.999], "eps": 1e-8},
    "schedule": {"warmup": None},
    "ema": None,
    "precision": {
        "dtype": "fp32",
        "grad_accum_dtype": "auto",
        "communication_dtype": "auto",
        "loss_scale": None,
    },
    "zero": {
        "stage": 0,
        "offload_optimizer": None,
        "offload_param": None,
        "overlap_comm": "auto",
        "reduce_bucket_size": "auto",
        "allgather_bucket_size": "auto",
        "prefetch_bucket_size": "auto",
        "param_persistence_threshold": "auto",
        "max_live_parameters": 1_000_000_000,
        "sub_group_size": 1_000_000_000,
    },
    "parallel": {"tp": 1, "pp": 1, "sp": 1, "ep": 1},
    "moe": None,
    "activation_checkpointing": {
        "granularity": "none",
        "implementation": "torch",
        "cpu_checkpointing": False,
        "partition_activations": False,
    },
    "tiling": {"mlp": 1, "logits": 1},
    "compile": {"method": "none", "mode": "default", "fullgraph": False},
    "checkpoint": {"save_every": None, "keep_last": 2, "keep_best": None},
    "evaluation": {"every": None, "at_start": False, "max_samples": None, "early_stopping": None},
    "health": {"nonfinite": {"action": "stop", "budget": 10}, "loss_spike": None, "hang": "auto"},
    "limits": {"hours": None, "gpu_hours": None},
    "monitor": {"tensorboard": False, "every": 1},
    "export": None,
    "archive": None,
    "software": {"deepspeed": None},
    "expect": {
        "world_size": None,
        "data_parallel_size": None,
        "global_batch_size": None,
        "gradient_accumulation_steps": None,
        "steps": None,
        "tokens": None,
        "parameters": None,
    },
    "launch": {"type": "local", "timeout": "30 minutes"},
    "deepspeed": {},
}


def sections(model: type[BaseModel] = RunSpec) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner in sections_of(field):
            yield from sections(inner)


SECTIONS = list(dict.fromkeys(sections()))


def test_what_is_not_written_has_these_defaults(tiny: Text, read: Read) -> None:
    written = read(tiny()).spec.model_dump(mode="json")  # type: ignore[union-attr]

    for section, values in DEFAULTS.items():
        if isinstance(values, dict) and values:
            assert {key: written[section][key] for key in values} == values
        else:
            assert written[section] == values
    assert set(written) == {*DEFAULTS, "name", "horizon", "hardware"}


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_section_refuses_unknown_keys_and_changes(model: type[BaseModel]) -> None:
    assert issubclass(model, Spec)
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"]


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_section_and_field_says_what_it_means(model: type[BaseModel]) -> None:
    docs = field_docs(model)
    without = [
        name
        for name, info in model.model_fields.items()
        if name not in docs and name != "type" and not sections_of(info)
    ]

    assert model.__doc__
    assert set(without) <= {"name"}


def test_a_spec_cannot_be_changed(tiny: Text, read: Read) -> None:
    spec = read(tiny()).spec

    with pytest.raises(ValidationError):
        spec.seed = 5  # type: ignore[union-attr,misc]


def test_short_forms_are_the_long_ones(tiny: Text, read: Read) -> None:
    short = read(tiny(precision="bf16", activation_checkpointing="full")).spec
    long = read(tiny(precision="{dtype: bf16}", activation_checkpointing="{granularity: full}")).spec

    assert short == long


@pytest.mark.parametrize("name", ["quickstart", "a", "7b-v1.2_x", "A.b"])
def test_a_name_is_one_that_a_directory_can_have(tiny: Text, read: Read, name: str) -> None:
    assert read(tiny(name=f'"{name}"')).is_valid


@pytest.mark.parametrize("name", ["", "..", "a b", "a/b", "/a", "-a", "é", "a:b"])
def test_a_name_that_leaves_the_directory_is_refused(tiny: Text, read: Read, name: str) -> None:
    assert not read(tiny(name=f'"{name}"')).is_valid


def test_a_spec_dumped_by_python_is_the_same_spec(tiny: Text, read: Read) -> None:
    spec = read(tiny(schedule="{type: cosine, warmup: 5 steps}", precision="bf16")).spec
    assert spec is not None

    assert RunSpec.model_validate(spec.model_dump()) == spec
    assert RunSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_no_field_takes_a_value_it_was_not_given_as() -> None:
    """Numbers are strict: `true` is no 1, `1.0` is no 1, `"1"` is no 1."""
    lax = [
        f"{model.__name__}.{name}"
        for model in SECTIONS
        for name, info in model.model_fields.items()
        for kind in scalars(info.annotation, info.metadata)
        if kind is not None
    ]

    assert lax == []


def scalars(annotation: Any, metadata: list[Any]) -> Iterator[type | None]:
    """Yields every number type in an annotation that is not strict."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from scalars(inner, [*metadata, *more])
    elif isinstance(annotation, UnionType) or get_origin(annotation) in (tuple, list):
        for argument in get_args(annotation):
            yield from scalars(argument, [])
    elif annotation in (int, float, bool):
        strict = any(getattr(m, "strict", None) or "strict=True" in repr(m) for m in metadata)
        yield None if strict else annotation
