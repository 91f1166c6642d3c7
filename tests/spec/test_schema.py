"""The JSON Schema says what the loader does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from zerotrain.spec.invalid import sections_of
from zerotrain.spec.load import Reading
from zerotrain.spec.run import RunSpec
from zerotrain.spec.schema import field_docs, spec_schema
from zerotrain.spec.training import AdamWSpec

ROOT = Path(__file__).parents[2]
SCHEMA = spec_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

Text = Callable[..., str]
Read = Callable[..., Reading]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["additionalProperties"] is False


def test_the_schema_has_every_key_of_a_spec_and_extends() -> None:
    assert set(SCHEMA["properties"]) == {*RunSpec.model_fields, "extends"}


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("precision", "bf16"),
        ("precision", "{dtype: fp16, loss_scale: 1024.0}"),
        ("precision", "{dtype: fp16, loss_scale: {window: 5}}"),
        ("activation_checkpointing", "full"),
        ("activation_checkpointing", "{granularity: full, implementation: deepspeed}"),
        ("horizon", "2B tokens"),
        ("horizon", "2 B tokens"),
        ("horizon", "1 epoch"),
        ("horizon", "10_000 steps"),
        ("schedule", "{type: cosine, warmup: 5 steps, min_lr_ratio: 0.1}"),
        ("optimizer", "{type: muon, lr: 0.02, adam_lr: 1.0e-3}"),
        ("zero", "{stage: 3, offload_param: {device: nvme, nvme_path: /x}, reduce_bucket_size: 5}"),
        ("batch", "{global_batch_size: 8, micro_batch_size: 4, gradient_accumulation_steps: 1}"),
        ("launch", "{type: deepspeed, hostfile: hosts}"),
        ("export", "{dtype: bf16, sample: {prompts: [a, b]}}"),
        ("deepspeed", "{wall_clock_breakdown: true}"),
        ("moe", "null"),
    ],
)
def test_what_the_loader_reads_the_schema_accepts(tiny: Text, read: Read, section: str, value: str) -> None:
    reading = read(tiny(**{section: value}))

    assert reading.findings == []
    assert list(VALIDATOR.iter_errors(reading.tree.data)) == []


@pytest.mark.parametrize("value", ["200steps", "1e6 tokens", " 200 steps"])
def test_every_duration_the_loader_reads_the_schema_accepts(tiny: Text, read: Read, value: str) -> None:
    reading = read(tiny(horizon=f'"{value}"'))

    assert reading.findings == []
    assert list(VALIDATOR.iter_errors(reading.tree.data)) == []


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("precision", "bf61"),
        ("precision", "16"),
        ("activation_checkpointing", "partial"),
        ("horizon", "200"),
        ("horizon", "200 minutes"),
        ("schedule", "{type: cos}"),
        ("optimizer", "{type: adamw}"),
        ("optimizer", "{type: adamw, lr: 0}"),
        ("optimizer", "{type: adamw, lr: x}"),
        ("optimizer", "{type: sgd, lr: 1, betas: [0.9, 0.9]}"),
        ("zero", "{stage: 4}"),
        ("zero", "{stag: 3}"),
        ("batch", "{global_batch_size: 8}"),
        ("seed", "-1"),
        ("foo", "1"),
        ("moe", "{}"),
        ("data", "{train: [], tokenizer: {type: bytes}, seq_len: 8}"),
        ("name", "5"),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(tiny: Text, read: Read, section: str, value: str) -> None:
    reading = read(tiny(**{section: value}))

    assert reading.findings
    assert list(VALIDATOR.iter_errors(reading.tree.data))


def test_a_file_that_extends_another_may_name_it(tiny: Text, read: Read) -> None:
    data = {**read(tiny()).tree.data, "extends": ["a.yaml", "b.yaml"]}

    assert list(VALIDATOR.iter_errors(data)) == []


def test_a_file_that_extends_another_need_not_say_everything() -> None:
    assert list(VALIDATOR.iter_errors({"extends": "base.yaml", "seed": 7})) == []


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_accepted(read: Read, example: Path) -> None:
    assert list(VALIDATOR.iter_errors(read(example.read_bytes()).tree.data)) == []


def described(model: type[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    own = SCHEMA if model is RunSpec else SCHEMA["$defs"].get(model.__name__, {})
    yield from own.get("properties", {}).items()
    for field in model.model_fields.values():
        for inner in sections_of(field):
            yield from described(inner)


def test_field_docstrings_are_the_help_text() -> None:
    described_fields = dict(described(RunSpec))

    assert described_fields["micro_batch_size"]["description"].startswith("Samples per forward pass on one rank")
    assert described_fields["grad_accum_dtype"]["description"].startswith("Format gradients are accumulated in; ")


def test_the_docstrings_of_a_parent_are_those_of_its_children() -> None:
    docs = field_docs(AdamWSpec)

    assert docs["lr"] == "Peak learning rate."
    assert docs["betas"] == "Decay rates of the two moments."
