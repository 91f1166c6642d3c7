"""HJSON as the `hjson` library reads it, with the place of everything; tolerant, on past what that refuses."""

from __future__ import annotations

import math
import re
from typing import Any

from zerotrain.spec.hjson.cursor import Cursor, end_of
from zerotrain.spec.hjson.scalars import NotHjson, number, quoted, triple_quoted, word
from zerotrain.spec.tree import Path

_DEEPEST = 100
_KEY = re.compile(r"([^ \t\n\r:{}\[\],]+)([ \t\n\r]*):")
_REST = re.compile(r"[^,{}\[\]\n]*")
_TEMPLATE = re.compile(r"\{\{[^\n]{0,200}?\}\}|\{%[^\n]{0,200}?%\}")
_ODD_IN_KEY = re.compile("[\"'=#“”‘’\u00a0\u200b\ufeff]")
_GOES_ON = re.compile(r"""[\s,]*["'\w]+\s*:""")
_FILL = "this is a template: fill it in first, then look at the result"

_NO_VALUE = ("", ",", ":", "}", "]")
_MISSING: Any = object()


class Grammar(Cursor):
    """Reads one config."""

    def __init__(self, text: str, *, tolerant: bool = False, shift: int = 0) -> None:
        """Stands at the beginning; `shift` characters stood before the text."""
        super().__init__(text, tolerant=tolerant)
        self.shift = shift
        self.is_lost = False
        """Nobody can tell which section a key belongs to, or what a value is."""
        self._open: list[int] = []
        """Brackets that are open."""
        self._crooked: int | None = None
        """The first bracket whose end stands further left than its beginning: one is missing in it."""

    def read(self) -> Any:
        """Returns the value of the text, which is not blank."""
        self.skip()
        start = self.at
        if start == len(self.text):
            return None
        value = self._value(()) if self.here in "{[" else self._without_braces(start)
        while True:
            self.skip()
            if self.at == len(self.text):
                return value
            self._after_the_end(value)

    def _without_braces(self, start: int) -> Any:
        self.note("no-braces", start, start + 1)
        try:
            return self._mapping((), braces=False)
        except NotHjson as broken:
            if broken.is_fatal:
                raise
            self.at = start
            self.forget()
            self._open = []
            try:
                return self._value(())
            except NotHjson:
                raise broken from None

    def _after_the_end(self, value: Any) -> None:
        """Notes what follows the end; keys of a config whose bracket closed too early are still read."""
        start = self.at
        shown = self.text[start : start + 40].partition("\n")[0].rstrip()
        goes_on = isinstance(value, dict) and _GOES_ON.match(self.text[start : start + 200])
        help = "remove the `}` before it, which closes the config too early" if goes_on else "remove what is too much"
        self.refuse(f"the config has ended, and `{shown}` follows", start, start + len(shown), help)
        if not (isinstance(value, dict) and goes_on):
            self.at = len(self.text)
            return
        self.skip_over(",")
        while self.at < len(self.text) and self.text[self.at] != "}":
            self._pair_and_comma(value, (), "}")
        self.skip_over("}")

    def _value(self, path: Path) -> Any:
        """Returns the value that starts here, its mark noted under its path."""
        start = self.at
        value, end = self._value_and_end(path)
        if path:
            self.spans[path] = (start, end, start, end)
        return value

    def _value_and_end(self, path: Path) -> tuple[Any, int]:
        first = self.here
        if first and first in "{[":
            template = _TEMPLATE.match(self.text, self.at) if self.tolerant else None
            if template:
                return self._template(template)
            value = self._mapping(path) if first == "{" else self._sequence(path)
            return value, self.at
        if first and first in "\"'":
            value = self._text(path)
            return value, self.at
        return self._bare(path)

    def _template(self, template: re.Match[str]) -> tuple[Any, int]:
        self.is_lost = True
        self.refuse(f"`{template[0]}` is a placeholder that nothing has filled in", *template.span(), _FILL)
        self.at = end_of(_REST, self.text, template.end())
        return _MISSING, template.end()

    # Brackets

    def _mapping(self, path: Path, *, braces: bool = True) -> dict[str, Any]:
        opened, values = self._enter(path) if braces else self.at, {}
        while not self._is_closed("}", opened, path, braces):
            self._pair_and_comma(values, path, "}" if braces else "")
        if braces:
            self._open.pop()
        return values

    def _sequence(self, path: Path) -> list[Any]:
        opened, values = self._enter(path), list[Any]()
        while not self._is_closed("]", opened, path):
            start = self.at
            value = self._value((*path, len(values)))
            if value is not _MISSING:
                values.append(value)
            elif self.at == start:
                self.at += 1
            if self._is_key_in_sequence(values):
                self.refuse("`[` is not closed before this key", start, self.at, "add the missing `]`")
                values.pop()
                self.at = start
                break
            self.pass_comma("]")
        self._open.pop()
        return values

    def _enter(self, path: Path) -> int:
        if len(path) >= _DEEPEST:
            raise NotHjson(f"brackets are nested deeper than {_DEEPEST}", self.at, is_fatal=True)
        self._open.append(self.at)
        self.at += 1
        return self.at - 1

    def _is_key_in_sequence(self, values: list[Any]) -> bool:
        self.skip()
        return self.tolerant and self.text.startswith(":", self.at) and bool(values) and isinstance(values[-1], str)

    def _is_closed(self, closer: str, opened: int, path: Path, braces: bool = True) -> bool:
        """Tells whether the bracket's content ends here, and passes its end."""
        self.skip()
        here = self.here
        if braces and here == closer:
            self._watch_indentation(opened)
            self.at += 1
            return True
        if here == "":
            if braces:
                self._unclosed(opened, path)
            return True
        if here in "}]" and self.tolerant and braces and any(self.text[o] == "[{"[here == "}"] for o in self._open):
            self.refuse(f"`{self.text[opened]}` is not closed before this `{here}`", self.at, self.at + 1)
            return True
        return False

    def _unclosed(self, opened: int, path: Path) -> None:
        culprit = opened if self._crooked is None else self._crooked
        self.is_lost = self.is_lost or len(self._open) > 1 or self._crooked is not None
        bracket = self.text[culprit]
        help = f"add the missing `{'}' if bracket == '{' else ']'}`"
        if not self.tolerant or culprit not in {refusal.start for refusal in self.refusals}:
            self.refuse(f"`{bracket}` is never closed", culprit, culprit + 1, help)

    def _watch_indentation(self, opened: int) -> None:
        if self.tolerant and self._crooked is None:
            start = self.line_starts[self.line(self.at)]
            if self.at - start == self.indent(self.at) < self.indent(opened):
                self._crooked = opened

    # Pairs

    def _pair_and_comma(self, values: dict[str, Any], path: Path, closer: str) -> None:
        start = self.at
        if self._pair(values, path):
            self.pass_comma(closer)
        else:
            self.skip_over(",")
        if self.at == start:
            self.at += 1

    def _pair(self, values: dict[str, Any], path: Path) -> bool:
        start = self.at
        name = self._key(path)
        if name is None:
            return False
        key_end, here = self.at if self.text[start] in "\"'" else start + len(name), (*path, name)
        self.skip()
        if not self._colon(name, start):
            return False
        self.skip()
        if self.here in _NO_VALUE:
            self.refuse(f"`{name}` has no value", start, key_end, "add the value, or remove the key")
            return False
        if name in values:
            self.note("duplicate", start, key_end, here, self.line(self.spans[here][2]) + 1)
        value_start = self.at
        value, value_end = self._value_and_end(here)
        if value is not _MISSING:
            values[name] = value
            self.spans[here] = (value_start, value_end, start, key_end)
        return value is not _MISSING

    def _key(self, path: Path) -> str | None:
        start = self.at
        if self.text[start] in "\"'":
            return self._text(path, is_key=True)
        match = _KEY.match(self.text, start)
        if match:
            name = match[1].rstrip() if match[2] else match[1]
            self.at = match.end(2)
            self.note("odd-key" if _ODD_IN_KEY.search(name) else "unquoted-key", start, match.end(1), (*path, name))
            return name
        self._no_key(start)
        return None

    def _no_key(self, start: int) -> None:
        here = self.text[start]
        end = max(start + 1, end_of(_REST, self.text, start))
        template = _TEMPLATE.match(self.text, start - 1) or _TEMPLATE.match(self.text, start)
        if template:
            self.is_lost = True
            end = template.end()
            self.refuse(f"`{template[0]}` is a placeholder that nothing has filled in", start, end, _FILL)
        elif here in ",:{}[]":
            self.refuse(f"`{here}` stands where a key is expected", start, start + 1, "remove it, or add the key")
        else:
            shown = self.text[start : min(end, start + 40)].strip()
            self.refuse(f"`{shown}` stands where a key and a colon are expected", start, end, 'write `"key": value`')
        self.at = end

    def _colon(self, name: str, start: int) -> bool:
        if self.text.startswith(":", self.at):
            self.at += 1
            return True
        self.refuse(f"no colon follows the key `{name}`", start, self.at, f'write `"{name}": value`')
        if self.text.startswith("=", self.at):
            self.at += 1
            return True
        return self.here not in ("", ",", "}", "]")

    # Scalars

    def _text(self, path: Path, *, is_key: bool = False) -> str:
        start = self.at
        if self.text.startswith("'''", start) and not is_key:
            indent = self._column_for_indent(start)
            value, self.at = triple_quoted(self.text, start, indent, self.refuse)
            self.note("multi-line-text", start, start + 3, path)
            return value
        value, self.at, odd_escape = quoted(self.text, start, self.refuse)
        if self.text[start] == "'":
            self.note("single-quotes", start, self.at, path)
        if odd_escape is not None:
            self.note("escape", odd_escape, odd_escape + 2, path)
        return value

    def _column_for_indent(self, start: int) -> int:
        """Returns how much indentation a multi-line text loses; on the first line `hjson` counts in its own way."""
        line = self.line(start)
        if line > 0:
            return start - self.line_starts[line]
        if len(self.line_starts) == 1:
            self.refuse("text in `'''` needs more than one line", start, start + 3, "use quotes")
        return start + self.shift + len(self.text) - self.line_starts[-1]

    def _bare(self, path: Path) -> tuple[Any, int]:
        start = self.at
        if self.here in _NO_VALUE:
            self.refuse("a value is missing here", start, start + 1, "remove the comma, or add the value")
            return _MISSING, start
        read = number(self.text, start)
        if read is None:
            return self._word(path)
        value, end, self.at = read
        if value in (math.inf, -math.inf):
            if not self.tolerant:
                raise NotHjson("the number is too great", start, end)
            self.note("not-a-number", start, end, path, value, value)
        return value, end

    def _word(self, path: Path) -> tuple[Any, int]:
        start = self.at
        read = word(self.text, start, tolerant=self.tolerant)
        self.at = read.next
        self.took_line = read.kind is not None and not self.tolerant
        if read.kind is not None:
            self.note(read.kind, start, read.end, path, read.value, read.meaning, read.swallows)
        if read.kind == "placeholder" and self.tolerant:
            self.is_lost = True
            return _MISSING, read.end
        return (read.meaning if self.tolerant else read.value), read.end
