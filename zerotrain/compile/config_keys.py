"""Keys of a model's config that follow from the task and the data."""

from __future__ import annotations

from typing import Any

from zerotrain.arch.describe import architectures, known_config_keys
from zerotrain.compile.facts import DataFacts
from zerotrain.spec.data import ImageSpec
from zerotrain.spec.run import RunSpec


def image_keys(spec: RunSpec) -> dict[str, Any]:
    """Returns the keys of a model's config that tell the images it sees, as far as its architecture has them."""
    image, architecture = spec.data.image, spec.model.architecture
    if image is None or architecture is None:
        return {}
    known = known_config_keys(architecture) if architecture in architectures() else ()
    return {key: value for key, value in _image_values(image).items() if key == "num_channels" or key in known}


def _image_values(image: ImageSpec) -> dict[str, int]:
    return {"num_channels": image.channels, "image_size": image.size}


def class_keys(facts: DataFacts) -> dict[str, Any]:
    """Returns the keys of a model's config that name its classes, and the padding that a classifier looks for."""
    if not facts.labels:
        return {}
    names = {str(number): label for number, label in enumerate(facts.labels)}
    numbers = {label: number for number, label in enumerate(facts.labels)}
    padding = {"pad_token_id": facts.pad_token_id} if facts.vocab_size else {}
    return {"id2label": names, "label2id": numbers, **padding}


def reward_keys(spec: RunSpec, facts: DataFacts | None) -> dict[str, Any]:
    """Returns the keys of the config of a model that gives one number, and finds the last token by the padding."""
    if spec.task.type != "reward":
        return {}
    return {"num_labels": 1, **({"pad_token_id": facts.pad_token_id} if facts else {})}


def special_tokens(facts: DataFacts) -> dict[str, int]:
    """Returns the keys of a model's config that name the tokenizer's special tokens; none without a tokenizer."""
    if not facts.vocab_size:
        return {}
    return {
        "bos_token_id": facts.eos_token_id,
        "eos_token_id": facts.eos_token_id,
        "pad_token_id": facts.pad_token_id,
    }
