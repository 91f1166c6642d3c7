"""What is recorded about each config class is held against the installed one, so that a drift is caught."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import transformers
from transformers import AutoConfig, PreTrainedConfig
from transformers.activations import ACT2CLS, ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from zerotrain.arch.describe import architectures, config_defaults, known_config_keys
from zerotrain.arch.families import FAMILIES
from zerotrain.arch.family import COMMON_KEYS
from zerotrain.arch.relations import ROPE_TYPES
from zerotrain.arch.tensors import ACTIVATIONS

transformers.logging.set_verbosity_error()

# Keys for which the class replaces the declared default when it is created, so the finished config says something else.
DERIVED = {
    "transformers_version",
    "id2label",
    "label2id",
    "rope_parameters",
    "layer_types",
    "sliding_window",
    "num_key_value_heads",
    "head_dim",
    "mlp_only_layers",
    "pooler_output_size",
}

PROBES: tuple[Any, ...] = (None, True, 3, 0.5, "text", [1], ["text"], [1, 2], {"a": 1}, {0: "a"}, {"0": "a"})


def config_class(architecture: str) -> type[PreTrainedConfig]:
    """Returns the installed config class."""
    return type(AutoConfig.for_model(architecture))


def declared(architecture: str) -> dict[str, Any]:
    """Returns the defaults the installed config class declares."""
    return {field.name: field.default for field in dataclasses.fields(config_class(architecture))}


def accepts(architecture: str, key: str, value: Any) -> bool:
    """Whether the installed config class lets the key be set to the value."""
    config = AutoConfig.for_model(architecture)
    try:
        setattr(config, key, value)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("architecture", architectures())
def test_defaults_are_those_the_config_class_declares(architecture: str) -> None:
    assert dict(config_defaults(architecture)) == declared(architecture)


@pytest.mark.parametrize("architecture", architectures())
def test_defaults_are_those_of_a_finished_config_unless_it_derives_them(architecture: str) -> None:
    finished = AutoConfig.for_model(architecture).to_dict()
    aliases = {name: alias for alias, name in FAMILIES[architecture].aliases.items()}
    for key, default in config_defaults(architecture).items():
        if key not in DERIVED:
            real = finished[key] if key in finished else finished[aliases[key]]
            assert real == (list(default) if isinstance(default, tuple) else default), key


@pytest.mark.parametrize("architecture", architectures())
def test_every_key_of_a_finished_config_is_known(architecture: str) -> None:
    assert set(AutoConfig.for_model(architecture).to_dict()) <= known_config_keys(architecture)


@pytest.mark.parametrize("architecture", architectures())
def test_every_other_name_of_a_key_is_known(architecture: str) -> None:
    names = config_class(architecture).attribute_map

    assert set(names) | set(names.values()) <= known_config_keys(architecture)


@pytest.mark.parametrize("architecture", architectures())
def test_a_key_accepts_its_own_default_and_nothing_the_config_class_refuses(architecture: str) -> None:
    for name, key in FAMILIES[architecture].declared().items():
        assert key.kind.accepts(key.default), name
        for probe in PROBES:
            if key.kind.accepts(probe) and (key.choices is None or probe in key.choices):
                assert accepts(architecture, name, probe), (name, probe)


def test_a_misspelt_key_is_not_known() -> None:
    assert not {"hiden_size", "num_layers", "n_heads", "rope_base"} & known_config_keys("llama")


def test_activations_are_those_of_the_installed_transformers() -> None:
    real = {name: {key: tuple(value.shape) for key, value in ACT2FN[name].named_parameters()} for name in ACT2CLS}

    assert real == ACTIVATIONS


def test_rope_types_are_those_of_the_installed_transformers() -> None:
    assert set(ROPE_TYPES) == {"default", *ROPE_INIT_FUNCTIONS}


def test_common_keys_are_those_of_the_installed_base_class() -> None:
    assert {field.name: field.default for field in dataclasses.fields(PreTrainedConfig)} == {
        name: key.default for name, key in COMMON_KEYS.items()
    }
