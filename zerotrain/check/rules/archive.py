"""ZT78: copies of a run at another place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic


@reported_by("archiving", "ZT780", "unopenable-place")
def unopenable_place() -> None:
    """Nothing that is installed opens a URL.

    Why: each kind of store needs a package of its own, which fsspec finds by the protocol.
    Wrong: `archive: {to: "gs://bucket/runs"}` without `gcsfs`
    Right: `pip install gcsfs`; for `s3://` it is `s3fs`
    """


@reported_by("archiving", "ZT781", "unreachable-place")
def unreachable_place() -> None:
    """A place cannot be read or written.

    Why: a bucket that does not exist or missing credentials are found before the first step: a small file is written
    there, read and removed.
    Wrong: `archive: {to: "s3://bukcet/runs"}`
    Right: the name of a bucket that is there, and `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` where rank 0 runs
    """


@reported_by("a rank", "ZT782", "failed-errand")
def failed_errand() -> None:
    """An export or a copy that was made beside training failed.

    Why: training goes on, and the next one may succeed; the checkpoint itself is in the run directory.
    Wrong: a place that is full, or a machine with no memory left for the weights
    Right: `zerotrain archive RUN`, or `zerotrain export RUN -o DIR`, by hand, once the reason is gone
    """


@reported_by("archiving", "ZT783", "no-archive")
def no_archive() -> None:
    """A run is to be copied, but neither its spec nor the command line says where to.

    Why: there is no usual place.
    Wrong: `zerotrain archive runs/tiny` of a run without `archive`
    Right: `zerotrain archive runs/tiny --to s3://bucket/runs`
    """


@reported_by("archiving", "ZT786", "name-that-leads-out")
def name_that_leads_out() -> None:
    """A file of an archived run would be written outside of the run directory.

    Why: names in object stores are free, and `checkpoints/../../.bashrc` is one.
    Wrong: `zerotrain fetch` of a place where others may write
    Right: the place looked at, the file removed, and whoever may write there made fewer
    """


@rule("ZT784", "relative-archive")
def relative_archive(case: Case) -> Iterator[Diagnostic]:
    """The place of the archive depends on where the run is started.

    Why: a run is resumed from elsewhere, and its copies would lie in two places.
    Wrong: `archive: {to: backup}`
    Right: `archive: {to: /mnt/backup}`, or a URL
    """
    archive = case.spec.archive
    if archive is not None and "://" not in archive.to and not PurePosixPath(archive.to).is_absolute():
        message = f"`{archive.to}` is relative, and means another directory wherever the run is resumed"
        yield case.error("archive.to", message, help="write an absolute path, or a URL")


@rule("ZT785", "secret-in-archive")
def secret_in_archive(case: Case) -> Iterator[Diagnostic]:
    """The URL of the archive has a password in it.

    Why: the spec is copied to the run directory, and the URL is printed.
    Wrong: `archive: {to: "s3://KEY:SECRET@bucket/runs"}`
    Right: `archive: {to: "s3://bucket/runs"}`, with the credentials in the environment
    """
    archive = case.spec.archive
    if archive is not None and "@" in urlsplit(archive.to).netloc:
        where = f"{urlsplit(archive.to).scheme}://…@{urlsplit(archive.to).netloc.rpartition('@')[2]}"
        message = f"`{where}` has credentials, which will be in the run directory for everyone to read"
        yield case.error("archive.to", message, help="leave them out, and set them in the environment of rank 0")


RULES: tuple[Rule, ...] = (
    unopenable_place,
    unreachable_place,
    failed_errand,
    no_archive,
    relative_archive,
    secret_in_archive,
    name_that_leads_out,
)
