"""A spec settled for the model it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerotrain.arch.describe import architectures, model_shape, shape_problems
from zerotrain.arch.shape import ModelShape
from zerotrain.compile.facts import DataFacts
from zerotrain.compile.resolve import Resolved, resolve, vocabulary_size
from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import SpecError
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import UnreadSection
from zerotrain.spec.pretrained import pretrained_config
from zerotrain.spec.run import RunSpec


def model_config(spec: RunSpec, pretrained: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Returns the model type and the config keys that are known, the vocabulary's size among them."""
    if pretrained is not None:
        return str(pretrained["model_type"]), {**pretrained, **spec.model.config}
    config = dict(spec.model.config)
    vocabulary = _vocabulary(spec)
    if vocabulary is not None:
        config.setdefault("vocab_size", vocabulary)
    return spec.model.architecture, config


def _vocabulary(spec: RunSpec) -> int | None:
    """Returns the entries of the vocabulary, or None when they, or the whole section, are unknown."""
    try:
        return vocabulary_size(spec)
    except UnreadSection:
        return None


def shape_of(spec: RunSpec, pretrained: Mapping[str, Any] | None = None) -> ModelShape | None:
    """Returns the shape of the model, or None when zerotrain does not know the architecture or it is impossible."""
    architecture, config = model_config(spec, pretrained)
    if architecture not in architectures() or shape_problems(architecture, config):
        return None
    return model_shape(architecture, config)


def settle(
    spec: RunSpec, surroundings: Surroundings, *, world_size: int | None = None, facts: DataFacts | None = None
) -> Resolved:
    """Returns the spec settled for the model it asks for.

    Raises SpecError with everything that has no solution, weights that cannot be read among it.
    """
    pretrained = pretrained_config(spec.model, surroundings.directory)
    if isinstance(pretrained, Diagnostic):
        raise SpecError(pretrained)
    return resolve(spec, surroundings, shape=shape_of(spec, pretrained), world_size=world_size, facts=facts)
