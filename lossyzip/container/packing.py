"""Packed fields: values that are whole multiples of a step, and an offset, are coded as these numbers.

As in files with scale_factor and add_offset (CF conventions), or in GRIB. Knows how header and numbers go
together, not how values are found. docs/FORMAT.md, "Packed fields".
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np

from lossyzip.bound import Bound
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError

LARGEST_NUMBER = 2.0**52  # in magnitude
_MOST_OFF = 1 << 20
_FEW = 2.0**16  # numbers, which float32 has with enough places to spare
_BOUNDS = ("absolute", "relative", "lossless")


class Packing(NamedTuple):
    """The value of number k is ``offset`` + (k x ``numerator``) / ``denominator``: a quotient, since 0.1 is
    no float, and 3 x 0.1 another than 3 / 10. A decoded number is at most ``most`` off."""

    offset: float
    numerator: float
    denominator: float
    most: int

    @property
    def step(self) -> float:
        return self.numerator / self.denominator

    def number(self, value: float) -> float:
        """That of ``value``; it need not be finite."""
        quotient = (value - self.offset) * self.denominator / self.numerator
        return float(round(quotient)) if math.isfinite(quotient) else math.inf

    def numbers(self, low: float, high: float) -> tuple[float, float]:
        """The first, and how many follow it, of a field whose values span ``low`` to ``high``."""
        first = self.number(low)
        return first, self.number(high) - first

    def coded(self, low: float, high: float) -> np.dtype:
        """The dtype of numbers."""
        return np.dtype(np.float32 if self.numbers(low, high)[1] <= _FEW else np.float64)

    def suits(self, low: float, high: float) -> bool:
        """Whether floats hold the numbers of a field whose values span ``low`` to ``high``."""
        return max(abs(self.number(low)), abs(self.number(high))) <= LARGEST_NUMBER


def may_be_packed(dtype: np.dtype, bound: Bound) -> bool:
    """Fields of that dtype, with that bound."""
    return dtype.kind == "f" and dtype.itemsize >= 4 and bound.kind in _BOUNDS


def pack_packing(packing: Packing) -> bytes:
    out = bytearray(struct.pack("<3d", *packing[:3]))
    put_varint(out, packing.most)
    return bytes(out)


def read_packing(sections: dict[str, bytes], dtype: np.dtype, bound: Bound) -> Packing:
    """Reverse of `pack_packing`, of a header's section `Q`. Raises CorruptError."""
    if not may_be_packed(dtype, bound) or sections.keys() & {"L", "G", "E", "K"}:
        raise CorruptError(f"a packed field of {dtype} with {bound}, or with levels, guides or an enhancer")
    data = sections["Q"]
    offset, numerator, denominator = struct.unpack("<3d", data[:24].ljust(24, b"\xff"))
    most, end = get_varint(data, 24)
    packing = Packing(offset, numerator, denominator, most)
    if not all(map(math.isfinite, packing[:3])) or not min(numerator, denominator) > 0.0:
        raise CorruptError(f"a field is packed by {packing}")
    if most > _MOST_OFF or end != len(data):
        raise CorruptError(f"a field is packed by {packing}, in {len(data)} bytes")
    return packing
