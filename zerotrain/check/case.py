"""What a rule looks at: the spec, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from zerotrain.arch.shape import ModelShape
from zerotrain.compile.dsconfig import DeepSpeedConfig
from zerotrain.compile.emit import draft_config, refused_keys
from zerotrain.compile.model import model_config, shape_of
from zerotrain.compile.resolve import Resolved, draft, ranks_of
from zerotrain.diagnostic import Diagnostic, Fix, Place, Severity
from zerotrain.hardware.gpus import Gpu, find_gpu
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.hardware.topology import Topology
from zerotrain.spec.pretrained import pretrained_config
from zerotrain.spec.run import RunSpec


class Case:
    """One spec under examination. A property that needs an unreadable section raises `UnreadSection`."""

    def __init__(self, spec: RunSpec, surroundings: Surroundings, world_size: int | None = None) -> None:
        self.spec = spec
        self.surroundings = surroundings
        self.world_size = world_size

    @cached_property
    def topology(self) -> Topology:
        """The ranks."""
        return ranks_of(self.spec, self.world_size)

    @cached_property
    def gpu(self) -> Gpu | None:
        """The accelerator, or None when its name is unknown."""
        return find_gpu(self.spec.hardware.gpu)

    @cached_property
    def pretrained(self) -> Mapping[str, Any] | Diagnostic | None:
        """The config of the weights to start from, if they are in a folder."""
        return pretrained_config(self.spec.model, self.surroundings.directory)

    @cached_property
    def model(self) -> tuple[str | None, dict[str, Any]]:
        """The model type and its known config keys."""
        pretrained = self.pretrained
        return model_config(self.spec, None if isinstance(pretrained, Diagnostic) else pretrained)

    @cached_property
    def shape(self) -> ModelShape | None:
        """The model, or None when it is unknown or impossible."""
        pretrained = self.pretrained
        return shape_of(self.spec, None if isinstance(pretrained, Diagnostic) else pretrained)

    @cached_property
    def resolved(self) -> Resolved:
        """The spec with nothing left to settle, as far as it has a solution."""
        return self._draft[0]

    @cached_property
    def compiled(self) -> DeepSpeedConfig:
        """What DeepSpeed would be given, as far as the spec has a solution."""
        return draft_config(self.resolved)

    def refusals(self) -> Iterator[Diagnostic]:
        """Yields what has no solution, and what the compiler refuses."""
        yield from self._draft[1]
        yield from refused_keys(self.resolved)

    @cached_property
    def _draft(self) -> tuple[Resolved, list[Diagnostic]]:
        return draft(self.spec, self.surroundings, shape=self.shape, world_size=self.world_size)

    def error(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that DeepSpeed or zerotrain refuses this."""
        return Diagnostic("", "", Severity.ERROR, message, Place(key=key), help, fix)

    def wrong_key(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that this key may not stand here, whatever its value."""
        return Diagnostic("", "", Severity.ERROR, message, Place(key=key, is_about_key=True), help, fix)

    def warning(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that this is ignored or probably not meant."""
        return Diagnostic("", "", Severity.WARNING, message, Place(key=key), help, fix)

    def info(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that there is a better way."""
        return Diagnostic("", "", Severity.INFO, message, Place(key=key), help, fix)
