"""YAML that reads back as what was written, by YAML 1.1 and by YAML 1.2."""

from __future__ import annotations

from typing import Any

import yaml

from zerotrain.spec.scalars import scalar

_WIDTH = 110


def dump_yaml(value: Any, *, flow: bool | None = False) -> str:
    """Returns a value as YAML; with `flow` None its innermost collections stand on one line each."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, width=_WIDTH, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `load_spec` would read as something else; PyYAML itself quotes by YAML 1.1."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if scalar(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
