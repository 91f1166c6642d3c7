"""The kinds of prepared samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zerotrain.data.cache import open_layer
from zerotrain.data.stores import images, masked, packed, pairs, rows
from zerotrain.data.stores.base import Samples, Store
from zerotrain.data.stores.images import ImageStore
from zerotrain.data.stores.masked import MaskedStore
from zerotrain.data.stores.mixture import KIND as MIXTURE
from zerotrain.data.stores.mixture import MixtureStore
from zerotrain.data.stores.packed import SampleStore
from zerotrain.data.stores.pairs import PairStore
from zerotrain.data.stores.rows import RowStore

STORES: Mapping[str, type[Store]] = {
    packed.KIND: SampleStore,
    rows.KIND: RowStore,
    masked.KIND: MaskedStore,
    images.KIND: ImageStore,
    pairs.KIND: PairStore,
}
"""Store by the kind of its layer, which is the name of the directory it stands in."""


def open_samples(path: Path) -> Samples:
    """Returns the prepared samples in a directory of the cache; DataError (ZT608) when it is damaged."""
    if path.parent.name == MIXTURE:
        facts = open_layer(path, MIXTURE).facts
        return MixtureStore([open_samples(path.parent.parent / part) for part in facts["parts"]], facts["weights"])
    return STORES[path.parent.name].open(path)
