"""A dictionary that notes which of its keys are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class RecordingDict(dict[str, Any]):
    """A nested dictionary for `deepspeed.initialize`; `unread()` lists the keys nobody has looked at.

    Looking at all items at once is not reading: DeepSpeed does it to print its configuration. Copies share the record,
    because DeepSpeed reads a shallow copy (runtime/config.py). Pickled, as DeepSpeed does into its checkpoints, it
    becomes a plain dictionary, so that a checkpoint can be read without this class.
    """

    def __init__(self, content: Mapping[str, Any], prefix: str = "", read: set[str] | None = None) -> None:
        self._prefix = prefix
        self._read: set[str] = set() if read is None else read
        super().__init__({key: self._child(key, value) for key, value in content.items()})

    def _child(self, key: str, value: Any) -> Any:
        return RecordingDict(value, f"{self._prefix}{key}.", self._read) if isinstance(value, Mapping) else value

    def _note(self, key: str) -> None:
        self._read.add(f"{self._prefix}{key}")

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a value and notes it as read."""
        self._note(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        # Being defined at all, it makes `**config` go through `__getitem__`.
        return super().__iter__()

    def pop(self, key: str, *default: Any) -> Any:
        """Removes a value and notes it as read."""
        self._note(key)
        return super().pop(key, *default)

    def __copy__(self) -> RecordingDict:
        copied = RecordingDict({}, self._prefix, self._read)
        dict.update(copied, dict.items(self))
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.plain(),)

    def plain(self) -> dict[str, Any]:
        """Returns the content as a plain dictionary, without noting anything."""
        return {key: v.plain() if isinstance(v, RecordingDict) else v for key, v in dict.items(self)}

    def unread(self) -> list[str]:
        """Returns the dotted keys that were never read, of sections only those below which nothing was."""
        found: list[str] = []
        for key, value in dict.items(self):
            path = f"{self._prefix}{key}"
            if path not in self._read:
                found.append(path)
            elif isinstance(value, RecordingDict):
                found += value.unread()
        return found
