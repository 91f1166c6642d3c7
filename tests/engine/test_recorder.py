"""A dictionary that notes what is read."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from zerotrain.engine.recorder import RecordingDict

CONTENT: dict[str, Any] = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": 4}


def test_nothing_is_read_at_first():
    assert RecordingDict(CONTENT).unread() == ["a", "b", "f"]


def test_every_way_of_reading_a_key_counts():
    recorder = RecordingDict(CONTENT)

    _ = recorder["a"], recorder.get("f"), recorder["b"].pop("c")

    assert recorder.unread() == ["b.d"]


def test_double_star_reads_every_key():
    recorder = RecordingDict(CONTENT)

    dict(**recorder)

    assert recorder.unread() == ["b.c", "b.d"]


def test_asking_for_a_key_that_is_not_there_reads_nothing():
    recorder = RecordingDict(CONTENT)

    assert recorder.get("z", 5) == 5
    assert recorder.unread() == ["a", "b", "f"]


def test_printing_all_items_is_not_reading():
    recorder = RecordingDict(CONTENT)

    assert dict(recorder.items()).keys() == CONTENT.keys()
    assert recorder.unread() == ["a", "b", "f"]


def test_a_shallow_copy_shares_the_record():
    recorder = RecordingDict(CONTENT)

    _ = copy.copy(recorder)["a"]

    assert recorder.unread() == ["b", "f"]


def test_a_pickle_holds_a_plain_dictionary():
    restored = pickle.loads(pickle.dumps(RecordingDict(CONTENT)))

    assert type(restored) is dict
    assert type(restored["b"]) is dict
    assert restored == CONTENT
