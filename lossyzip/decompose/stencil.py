"""Weights of a stencil: quantized, written in few bits. How they are found is in fitting.py.

Taps that are mirror images share a parameter. All weights of a stencil sum to one: the first
parameter is not stored, it follows from the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossyzip._jit import helper, kernel
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.entropy.words import folded

SHIFTS = (5, 7, 9, 12)  # weights are multiples of 2**-shift
LARGEST_PARAMETER = 1 << 20
_OVERHEAD_BITS = 6


@dataclass(frozen=True)
class Weights:
    """Integers, one for each parameter but the first; in units of 2**-SHIFTS[precision]."""

    precision: int
    parameters: tuple[int, ...]

    def of_taps(self, groups: np.ndarray) -> np.ndarray:
        """One float64 weight for each tap; ``groups`` (taps,) says which parameter a tap uses."""
        sizes = np.bincount(groups, minlength=len(self.parameters) + 1)
        return self.of_groups(sizes)[groups]

    def of_groups(self, sizes: np.ndarray) -> np.ndarray:
        """One float64 weight for each group; ``sizes`` (groups,) are their numbers of taps."""
        unit = float(1 << SHIFTS[self.precision])
        free = [parameter / unit for parameter in self.parameters]
        first, *others = sizes.tolist()
        rest = 1.0
        for size, weight in zip(others, free, strict=True):  # in this order, wherever it is decoded
            rest -= size * weight
        return np.array([rest / first, *free])

    def write(self, writer: BitWriter) -> None:
        writer.bits(self.precision, 2)
        rice = self._rice()
        writer.bits(rice, 4)
        for parameter in self.parameters:
            writer.signed(parameter, rice)

    @classmethod
    def read(cls, reader: BitReader, count: int) -> Weights:
        precision = reader.bits(2)
        rice = reader.bits(4)
        return cls(precision, tuple(reader.signed(rice) for _ in range(count - 1)))

    def _rice(self) -> int:
        return int(best_rice(np.array(self.parameters, np.int64))[0])


@kernel
def best_rice(parameters):
    """(the parameter of the Rice code that takes the fewest bits for ``parameters`` (int64), these bits)."""
    least, chosen = np.int64(1) << np.int64(62), np.int64(0)
    for rice in range(14):
        bits = np.int64(0)
        for value in parameters:
            bits += (folded(value) >> np.int64(rice)) + 1 + np.int64(rice)
        if bits < least:
            least, chosen = bits, np.int64(rice)
    return chosen, least


@helper
def written_bits(parameters):
    """Bits that `Weights.write` takes."""
    return _OVERHEAD_BITS + best_rice(parameters)[1]
