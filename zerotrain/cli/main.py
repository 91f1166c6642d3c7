"""The command line: one verb per file, imported when it is used."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from zerotrain.errors import ZerotrainError, reason_of
from zerotrain.version import __version__

VERBS = {
    "new": "write a commented spec",
    "check": "find what is wrong with specs, before anything starts",
    "lint": "the same for DeepSpeed configs of anyone's",
    "compile": "print the DeepSpeed JSON of a spec",
    "diff": "compare two specs or DeepSpeed configs, by what differs in effect",
    "adopt": "write a draft spec from a DeepSpeed or Accelerate config",
    "explain": "tell about a code, or where a compiled value comes from",
    "doctor": "tell whether this machine is ready for a spec",
    "parity": "train a few steps on the spec's ranks and on one plain rank, and compare",
    "rehearse": "make the run small and train, resume and export it on this machine",
    "train": "check, prepare, start and follow a run",
    "resume": "continue a run from its last checkpoint, exactly",
    "status": "tell where a run stands",
    "logs": "print or follow what a rank says",
    "export": "write Hugging Face weights of a run",
    "archive": "copy a run to another place, such as s3://bucket/runs",
    "fetch": "bring an archived run back, to go on with it",
    "schema": "print the JSON Schema of specs, for editors",
}

OK, FINDINGS, COULD_NOT_RUN = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code: 0 clean, 1 findings or a failed run, 2 could not run."""
    _show_every_character()
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = _parse(_parser(words[0] if words else None), words)
    try:
        return int(given.run(given))
    except ZerotrainError as refused:
        _tell(refused)
        return FINDINGS
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except OSError as broken:
        where = f"`{broken.filename}`: " if broken.filename else ""
        print(f"zerotrain: {where}{reason_of(broken)}", file=sys.stderr)
        return COULD_NOT_RUN


def _show_every_character() -> None:
    """Escapes what a terminal's encoding does not have, instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parses words; unlike argparse, takes overrides after options too: `train SPEC --on local name=x`."""
    given, rest = parser.parse_known_args(words)
    overrides = [word for word in rest if "=" in word and not word.startswith("-")]
    unknown = [word for word in rest if word not in overrides]
    if unknown or (rest and not hasattr(given, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
    if overrides:
        given.overrides = [*given.overrides, *overrides]
    return given


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """Returns the parser; only the chosen verb's module is imported."""
    parser = argparse.ArgumentParser(prog="zerotrain", description="One file, one command: a run on DeepSpeed.")
    parser.add_argument("--version", action="version", version=f"zerotrain {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, help in VERBS.items():
        own = verbs.add_parser(name, help=help, description=help)
        if name == verb:
            module = import_module(f"zerotrain.cli.{name}")
            module.add_arguments(own)
            own.set_defaults(run=module.run)
    return parser


def _tell(refused: ZerotrainError) -> None:
    from zerotrain.check.render import render_full

    sys.stdout.flush()
    sys.stderr.write(render_full(refused.findings, color=sys.stderr.isatty()))


if __name__ == "__main__":
    sys.exit(main())
