"""The batches of one rank; where training stands in the data is one whole number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from zerotrain.data.batch import Batch
from zerotrain.data.order import draws_of, sample_indices
from zerotrain.data.stores.base import Counts, Samples
from zerotrain.data.stores.mixture import MixtureStore


@dataclass(frozen=True)
class MicroBatch:
    """What one rank puts through the model at once."""

    batch: Batch
    first_sample: int
    """Number of its first sample, counted from the first sample that any rank ever consumed."""


@dataclass(frozen=True)
class GlobalBatch:
    """What all ranks together consume in one optimizer step."""

    counts: Counts
    """What is in it, on all ranks."""
    first_sample: int
    """Samples consumed before it, by all ranks."""
    size: int
    """Samples in it, of all ranks."""
    micro_batches: Iterator[MicroBatch]
    """This rank's part, to be gone through once."""


class Loader:
    """Reads the part of one data-parallel rank, from any position and for any split of the batch over ranks.

    Micro-batch m of rank r has the places from (m x dp_size + r) x micro_batch_size on of the global batch, so that
    the samples of a step do not depend on how many ranks share it. With `sp_size` each sample is divided too: a rank
    gets stretch `sp_rank` of every one. A micro-batch is read within the context `reading`.
    """

    def __init__(
        self,
        store: Samples,
        *,
        seed: int,
        global_batch_size: int,
        micro_batch_size: int,
        dp_rank: int,
        dp_size: int,
        sp_rank: int = 0,
        sp_size: int = 1,
        shuffle: bool = True,
        reading: AbstractContextManager[None] | None = None,
    ) -> None:
        if global_batch_size % (micro_batch_size * dp_size):
            lot = f"{micro_batch_size} samples x {dp_size} ranks"
            raise ValueError(f"a global batch of {global_batch_size} is not a whole number of {lot}")
        if not 0 <= dp_rank < dp_size:
            raise ValueError(f"rank {dp_rank} is not one of {dp_size}")
        self._store = store
        self._seed = seed
        self._global_batch_size = global_batch_size
        self._micro_batch_size = micro_batch_size
        self._dp_rank = dp_rank
        self.dp_size = dp_size
        self._sp_rank, self._sp_size = sp_rank, sp_size
        self._shuffle, self._reading = shuffle, reading or nullcontext()

    def global_batch(self, step: int) -> GlobalBatch:
        """Returns what optimizer step `step`, counted from 0, consumes."""
        first = step * self._global_batch_size
        indices = self._indices(first)
        counts = self._store.counts(indices, self._draws(first, len(indices)))
        return GlobalBatch(counts, first, len(indices), self._micro_batches(indices, first))

    def fingerprint(self, step: int) -> str:
        """Returns a hash of which samples that step consumes and in which order, whatever ranks share it."""
        return blake2b(self._indices(step * self._global_batch_size).tobytes(), digest_size=6).hexdigest()

    def sequential(self, max_samples: int | None = None) -> Iterator[MicroBatch]:
        """Returns this rank's part of all samples, or of the first `max_samples`, in order and without repetition.

        Every rank has the same number of micro-batches; places beyond the last sample have nothing to predict.
        """
        samples = min(len(self._store), max_samples or len(self._store))
        return self._micro_batches(np.arange(samples, dtype=np.int64), 0)

    def _indices(self, first: int) -> npt.NDArray[np.int64]:
        count, samples = self._global_batch_size, len(self._store)
        if self._shuffle and isinstance(self._store, MixtureStore):
            return self._store.indices(seed=self._seed, start=first, count=count)
        if self._shuffle:
            return sample_indices(seed=self._seed, num_samples=samples, start=first, count=count)
        return np.arange(first, first + count, dtype=np.int64) % samples

    def _draws(self, first: int, count: int) -> npt.NDArray[np.int64]:
        return draws_of(self._seed, np.arange(first, first + count, dtype=np.int64))

    def _micro_batches(self, indices: npt.NDArray[np.int64], first: int) -> Iterator[MicroBatch]:
        size, stride = self._micro_batch_size, self._micro_batch_size * self.dp_size
        for begin in range(0, len(indices), stride):
            place = begin + self._dp_rank * size
            chosen = indices[place : place + size]
            draws = self._draws(first + place, len(chosen))
            with self._reading:
                batch = Batch.of(self._store.batch(chosen, draws, rows=size))
            whole = self._sp_size == 1
            yield MicroBatch(batch if whole else batch.stretch(self._sp_rank, self._sp_size), first + place)
