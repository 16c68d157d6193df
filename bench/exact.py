"""Whether every decoded value is within eps of the original, in exact arithmetic.

Written apart from lossyzip and sharing no code with it: a checker that has the same bug would agree.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def violations(original: np.ndarray, decoded: np.ndarray, eps: float) -> int:
    """How many values of ``decoded`` are further than ``eps`` from those of ``original``.

    Values that are not finite must come back bit for bit. All are outside where shape or dtype differ.
    """
    if decoded.shape != original.shape or decoded.dtype != original.dtype:
        return original.size
    return int(np.count_nonzero(outside(original, decoded, eps)))


def outside(original: np.ndarray, decoded: np.ndarray, eps: float) -> np.ndarray:
    """Flat: which values break the bound; of floats or integers of one shape and dtype.

    Rounding to nearest is monotone and eps is a float64: a rounded difference below eps means that the
    exact one is not above it, a rounded one above eps means that the exact one is, too. Only where both
    are equal do fractions have to decide.
    """
    original, decoded = native(original), native(decoded)
    if original.dtype.kind != "f":
        return _outside_integers(original, decoded, eps)
    if original.dtype.itemsize > 8:
        raise ValueError(f"differences of {original.dtype} do not fit float64 rounding")
    finite = np.isfinite(original)
    changed = (bits(original) != bits(decoded)) & ~finite
    with np.errstate(all="ignore"):
        rounded = np.abs(original.astype(np.float64) - decoded.astype(np.float64))
    result = finite & ~((rounded <= eps) & np.isfinite(decoded))
    if math.isfinite(eps):
        for index in np.flatnonzero(finite & (rounded == eps)):
            exact = abs(Fraction(float(original[index])) - Fraction(float(decoded[index])))
            result[index] = exact > Fraction(eps)
    return changed | result


def _outside_integers(original: np.ndarray, decoded: np.ndarray, eps: float) -> np.ndarray:
    """Differences of 64-bit integers fit 64 bits without a sign, in which they wrap around to the truth."""
    low, high = np.minimum(original, decoded), np.maximum(original, decoded)
    wide = np.uint64 if original.dtype.kind in "ub" else np.int64
    difference = high.astype(wide).view(np.uint64) - low.astype(wide).view(np.uint64)
    return difference > np.uint64(math.floor(eps) if eps < 2**64 else 2**64 - 1)


def native(array: np.ndarray) -> np.ndarray:
    """Flat, in the machine's byte order."""
    return np.asarray(array).astype(array.dtype.newbyteorder("="), order="C").ravel()


def bits(values: np.ndarray) -> np.ndarray:
    return values.view(f"u{values.dtype.itemsize}")
