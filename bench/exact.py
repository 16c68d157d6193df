"""Whether every decoded value is within eps of the original, in exact arithmetic.

Written apart from lossyzip and sharing no code with it: a checker that has the same bug would agree.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def violations(original: np.ndarray, decoded: np.ndarray, eps: float) -> int:
    """How many values of ``decoded`` are further than ``eps`` from those of ``original``.

    Values that are not finite must come back bit for bit. Rounding to nearest is monotone and eps is a
    float64: a rounded difference below eps means that the exact one is not above it, a rounded one above
    eps means that the exact one is, too. Only where both are equal do fractions have to decide.
    """
    if decoded.shape != original.shape or decoded.dtype != original.dtype:
        return original.size
    if original.dtype.itemsize > 8:
        raise ValueError(f"differences of {original.dtype} do not fit float64 rounding")
    original, decoded = (
        array.astype(array.dtype.newbyteorder("="), order="C").ravel() for array in (original, decoded)
    )
    finite = np.isfinite(original)
    bits = f"u{original.dtype.itemsize}"
    changed = (original.view(bits) != decoded.view(bits)) & ~finite
    with np.errstate(all="ignore"):
        rounded = np.abs(original.astype(np.float64) - decoded.astype(np.float64))
    outside = finite & ~(rounded <= eps)  # a decoded NaN is outside
    for index in np.flatnonzero(finite & (rounded == eps)):
        exact = abs(Fraction(float(original[index])) - Fraction(float(decoded[index])))
        outside[index] = exact > Fraction(eps)
    return int(np.count_nonzero(changed | outside))
