"""`zerotrain schema`."""

from __future__ import annotations

import argparse
import json

from zerotrain.spec.schema import spec_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the verb has no arguments."""


def run(given: argparse.Namespace) -> int:
    """Prints the JSON Schema of a spec."""
    print(json.dumps(spec_schema(), indent=2))
    return 0
