"""DeepSpeed configs as they are written: in JSON, or in HJSON."""

from __future__ import annotations

from zerotrain.spec.hjson.reading import ConfigTree, as_json, parse_hjson

__all__ = ["ConfigTree", "as_json", "parse_hjson"]
