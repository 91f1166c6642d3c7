"""The kinds of prepared samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zerotrain.data.stores import packed, pairs, rows
from zerotrain.data.stores.base import Samples
from zerotrain.data.stores.packed import SampleStore
from zerotrain.data.stores.pairs import PairStore
from zerotrain.data.stores.rows import RowStore

STORES: Mapping[str, type[Samples]] = {packed.KIND: SampleStore, rows.KIND: RowStore, pairs.KIND: PairStore}
"""Store by the kind of its layer, which is the name of the directory it stands in."""


def open_samples(path: Path) -> Samples:
    """Returns the prepared samples in a directory of the cache; DataError (ZT608) when it is damaged."""
    return STORES[path.parent.name].open(path)
