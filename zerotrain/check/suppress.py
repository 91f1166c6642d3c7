"""Comments that silence findings on their line: `# zerotrain: ignore[ZT304]`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zerotrain.diagnostic import Diagnostic, Place, Severity
from zerotrain.spec.load import COMMAND_LINE

_MARK = "zerotrain:"
_QUOTED = re.compile(r"""(?:(?<=[\s\[{,:])|^)("(?:\\.|[^"\\])*"|'(?:''|[^'])*')""")
_COMMENT = {
    "yaml": re.compile(r"(?:^|(?<=\s))#"),
    "json": re.compile(r"#|//"),
}
_IGNORE = re.compile(r"\bzerotrain:\s*ignore\b(?P<codes>\s*\[[^\]]*\]?)?")
_WORD = re.compile(r"[^\s,\[\]]+")


@dataclass(frozen=True)
class Ignore:
    """One code, or all, that a comment silences on its line."""

    place: Place
    code: str
    """The beginning of the codes, in capitals; empty for all."""

    def silences(self, finding: Diagnostic) -> bool:
        """Tells whether the finding stands on the line and has such a code."""
        place = finding.place
        return (place.file, place.line) == (self.place.file, self.place.line) and finding.code.startswith(self.code)


def suppress(
    found: Sequence[Diagnostic],
    lines: Mapping[str, Sequence[str]],
    codes: Collection[str],
    firm: Sequence[Diagnostic] = (),
) -> list[Diagnostic]:
    """Returns the findings no comment silences, and one for every comment that is of no use.

    `lines` are those of each file, the checked one first; `codes` are all that exist; `firm` findings cannot be
    silenced. While one of these is an error, not everything was looked at, and no comment is called useless.
    """
    ignores = [ignore for file, text in lines.items() for ignore in _ignores(file, text)]
    if not ignores:
        return list(found)
    silenced = [finding for finding in found if finding not in firm and any(i.silences(finding) for i in ignores)]
    useless = list(_useless(ignores, silenced, codes, next(iter(lines))))
    if any(finding.is_error for finding in firm):
        useless = [finding for finding in useless if finding.code == "ZT041"]
    return [*(finding for finding in found if finding not in silenced), *useless]


def _ignores(file: str, lines: Iterable[str]) -> Iterator[Ignore]:
    if file == COMMAND_LINE:
        return
    comment = _COMMENT["yaml" if file.endswith((".yaml", ".yml")) else "json"]
    for number, line in enumerate(lines, start=1):
        if _MARK in line:
            yield from _ignores_of(line, comment, file, number)


def _ignores_of(line: str, comment: re.Pattern[str], file: str, number: int) -> Iterator[Ignore]:
    bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), line)
    begin = comment.search(bare)
    said = _IGNORE.search(bare, begin.start()) if begin else None
    if said is None:
        return
    at = said.start("codes") if said["codes"] else -1
    words = list(_WORD.finditer(line, at, said.end())) if said["codes"] else [said]
    for word in words:
        place = Place(file, number, word.start() + 1, source_line=line, width=len(word[0]))
        yield Ignore(place, word[0].upper() if said["codes"] else "")


def _useless(
    ignores: Iterable[Ignore], silenced: Sequence[Diagnostic], codes: Collection[str], checked: str
) -> Iterator[Diagnostic]:
    for ignore in ignores:
        if not any(code.startswith(ignore.code) for code in codes):
            yield _unknown(ignore)
        elif ignore.place.file == checked and not any(map(ignore.silences, silenced)):
            yield _unused(ignore)


def _unused(ignore: Ignore) -> Diagnostic:
    message = f"`{ignore.code}` silences nothing on this line" if ignore.code else "nothing is silenced on this line"
    return Diagnostic("ZT040", "unused-ignore", Severity.INFO, message, ignore.place, "remove it")


def _unknown(ignore: Ignore) -> Diagnostic:
    help = "codes look like `ZT304`; `ZT3` stands for all that begin so"
    message = f"no code begins with `{ignore.code}`"
    return Diagnostic("ZT041", "unknown-ignored-code", Severity.WARNING, message, ignore.place, help)
