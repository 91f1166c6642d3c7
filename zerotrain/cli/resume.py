"""`zerotrain resume`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zerotrain.cli.arguments import add_world_size
from zerotrain.cli.follow import add_launcher, follow, launcher_override
from zerotrain.hardware.software import versions
from zerotrain.launch.revision import launch_anew, lay_out_anew
from zerotrain.runs.ending import is_finished
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.runs.revise import changed_versions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument("overrides", metavar="section.field=value", nargs="*", help="what is different from here on")
    add_launcher(parser)
    add_world_size(parser)
    parser.add_argument("--accept", action="store_true", help="allow changes of the horizon, schedule and optimizer")
    parser.add_argument("--verify", action="store_true", help="read the checkpoint once more and compare its checksums")
    parser.add_argument("--unless-finished", action="store_true", help="do nothing, and well, when nothing is left")


def run(given: argparse.Namespace) -> int:
    """Continues a run from its newest complete checkpoint, the way it was or another one with the same loss."""
    directory = RunDirectory(given.directory)
    record = read_record(directory)
    if given.unless_finished and is_finished(directory):
        print(f"`{directory.root}` is finished")
        return 0
    for changed in changed_versions(record, versions()):
        print(f"the run began with other software, so that losses may differ in their last digits: {changed}")
    launch = [*launcher_override(given.on, directory.resolved), *filter(_is_launch, given.overrides)]
    others = [text for text in given.overrides if not _is_launch(text)]
    others += ["checkpoint.verify=full"] if given.verify else []
    if others or given.world_size is not None:
        for change in lay_out_anew(directory, others, given.world_size, accept=given.accept):
            print(change)
    directory.stop_order.unlink(missing_ok=True)
    return follow(directory, launch_anew(directory, launch) if launch else None)


def _is_launch(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] == "launch"
