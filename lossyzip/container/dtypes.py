"""Types of values, of the numbers that they consist of, and of the floats that these are coded as; ranges.

docs/FORMAT.md, "Types and carriers".
"""

from __future__ import annotations

import math

import numpy as np

from lossyzip.errors import CorruptError

DTYPES = (
    *("<f4", "<f8", ">f4", ">f8", "<f2", ">f2", "|b1", "|i1", "|u1"),
    *(f"{order}{kind}{width}" for width in (2, 4, 8) for kind in "iu" for order in "<>"),
    *("<c8", ">c8", "<c16", ">c16"),
)
_WIDE_INTEGERS = 4  # bytes, from which on integers are coded as float64


def part_of(dtype: np.dtype) -> np.dtype:
    """The native dtype of the numbers that a value of ``dtype`` consists of."""
    if dtype.kind == "c":
        return np.dtype(f"=f{dtype.itemsize // 2}")
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def coded_as(part: np.dtype) -> np.dtype:
    """The floats that numbers of the dtype ``part`` are coded as: themselves, or wide enough for them."""
    if part.kind == "f":
        return part if part.itemsize > 2 else np.dtype(np.float32)
    return np.dtype(np.float64 if part.itemsize >= _WIDE_INTEGERS else np.float32)


def pack_range(low: float, high: float, dtype: np.dtype) -> bytes:
    """Both ends as little-endian numbers of ``dtype``."""
    return np.array([low, high], dtype.newbyteorder("<")).tobytes()


def read_range(data: bytes, dtype: np.dtype) -> tuple[float, float]:
    """Reverse of `pack_range`. Raises CorruptError."""
    if len(data) != 2 * dtype.itemsize:
        raise CorruptError(f"the range of values has {len(data)} bytes")
    low, high = (float(value) for value in np.frombuffer(data, dtype.newbyteorder("<")))
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise CorruptError(f"the range of values is {low} to {high}")
    return low, high


def are_of(part: np.dtype, low: float, high: float) -> bool:
    """Whether the dtype ``part`` has numbers from ``low`` to ``high``, and those."""
    if part.kind == "f":
        limits = np.finfo(part)
        return float(limits.min) <= low and high <= float(limits.max)
    whole = np.iinfo(part)
    return low.is_integer() and high.is_integer() and whole.min <= low and high <= whole.max
