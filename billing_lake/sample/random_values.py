"""Draws random values that are the same for the same seed, on every machine.

NumPy promises a stable stream for its bit generators, but not for the distributions on top of them, and Polars
promises nothing for `hash`. So only raw 64-bit words are taken, and everything else is arithmetic written here.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Draws:
    """A stream of draws that depends on its key alone. Sample data needs no cryptographic chance."""

    def __init__(self, *key: int | str) -> None:
        """Start the stream that belongs to `key`."""
        words = [part if isinstance(part, int) else crc32(part.encode()) for part in key]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def unit(self, count: int) -> Floats:
        """Numbers in [0, 1)."""
        return (self._bits.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: int | Ints, count: int) -> Ints:
        """Integers in [0, limit); `limit` may differ from draw to draw."""
        return (self.unit(count) * limit).astype(np.int64)

    def weighted(self, weights: Ints, count: int) -> Ints:
        """Positions in `weights`, each as likely as its weight."""
        edges = np.cumsum(weights)
        return np.searchsorted(edges, self.below(int(edges[-1]), count), side="right").astype(
            np.int64
        )

    def order(self, count: int) -> Ints:
        """A permutation."""
        return np.argsort(self._bits.random_raw(count), kind="stable").astype(np.int64)


def scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: scrambles 64-bit numbers, different ones into different ones."""
    words = (numbers + np.uint64(1)) * _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
