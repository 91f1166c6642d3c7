"""Rules about DeepSpeed configs, on the config a spec is compiled to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from zerotrain.check.case import Case
from zerotrain.check.config.case import ConfigCase
from zerotrain.check.dsschema.schema import NEWEST, schema_of, versions
from zerotrain.check.registry import RULES
from zerotrain.compile.dsconfig import ZEROTRAIN, Setting
from zerotrain.diagnostic import Diagnostic

_RAW = "deepspeed"


def about_compiled(case: Case, is_sound: bool) -> Iterator[Diagnostic]:
    """Yields what DeepSpeed would refuse of the compiled config, and what it would ignore of the spec's own raw keys.

    Each finding names the key of the spec that its value comes from. When the spec is not sound, only its raw keys are
    looked at: what follows from an error is not said again in DeepSpeed's words.
    """
    settings, raw = case.compiled.settings(), ConfigCase(case.spec.deepspeed)
    config = config_case(case)
    for rule in RULES:
        for finding in rule.about_config(config):
            if raw.has(finding.place.key or "") or (is_sound and finding.is_error):
                yield _in_spec(finding, settings)


def config_case(case: Case) -> ConfigCase:
    """Returns the case of the config a spec is compiled to."""
    version = case.spec.software.deepspeed
    return ConfigCase(
        config=case.compiled.as_dict(),
        world_size=case.topology.world_size,
        gpu=case.gpu,
        gpus_per_node=case.topology.gpus_per_node,
        schema=schema_of(version if version in versions() else NEWEST),
        is_compiled=True,
        model="moe-layers" if case.spec.moe is not None else None,
    )


def _in_spec(finding: Diagnostic, settings: Mapping[str, Setting]) -> Diagnostic:
    key = _source(finding.place.key or "", settings)
    fix = finding.fix and replace(finding.fix, key=f"{_RAW}.{finding.fix.key}")
    return replace(finding, place=replace(finding.place, key=key), fix=fix if key.startswith(f"{_RAW}.") else None)


def _source(key: str, settings: Mapping[str, Setting]) -> str:
    """Returns the key of the spec a compiled key comes from, or the key under `deepspeed` when nobody wrote it."""
    if key in settings and settings[key].source != ZEROTRAIN:
        return settings[key].source
    inside = (setting.source for path, setting in settings.items() if path.startswith(f"{key}."))
    fields = (source for source in inside if source != ZEROTRAIN and not source.startswith(f"{_RAW}."))
    return next(fields, f"{_RAW}.{key}")
