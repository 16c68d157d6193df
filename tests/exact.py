"""Within the bound, decided with integers and fractions alone. Shares no code with lossyzip.

Arrays of floats, integers (in Python's own arithmetic) and bool; complex ones are compared part by part.

A finite float is mantissa * 2**exponent, both integers. Where the exponents of two values are near,
their difference is exact in int64 and whole arrays are compared at once; the rest go through `Fraction`.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

_MANTISSA_BITS = {2: 10, 4: 23, 8: 52}


def tolerance(original: np.ndarray, kind: str, value: float, fills: tuple[float, ...] = ()) -> Fraction:
    """The absolute tolerance that a bound ("absolute", "relative", "lossless") promises for ``original``."""
    if kind == "lossless" or original.dtype.kind == "b":
        return Fraction(0)
    if kind == "absolute":
        return Fraction(value)
    valid = _native(original)
    valid = valid[np.isfinite(valid) & ~equals_any(valid, fills)]
    if not valid.size:
        return Fraction(0)
    return Fraction(value) * (Fraction(valid.max().item()) - Fraction(valid.min().item()))


def violations(
    original: np.ndarray, decoded: np.ndarray, eps: Fraction | float, fills: tuple[float, ...] = ()
) -> np.ndarray:
    """Flat indices of the values (of complex ones: of parts, next to one another) that break the guarantee.

    NaN, infinities, -0.0 and ``fills`` must come back bit for bit, and everything when ``eps`` is 0;
    all other values within ``eps``.
    """
    assert decoded.shape == original.shape
    assert decoded.dtype == original.dtype
    a, b = _native(original), _native(decoded)
    unsigned = f"u{a.dtype.itemsize}"
    good = a.view(unsigned) == b.view(unsigned)
    if eps > 0:
        special = equals_any(a, fills)
        if a.dtype.kind == "f":
            special |= ~np.isfinite(a) | ((a == 0) & np.signbit(a))
        compared = np.flatnonzero(~good & ~special & np.isfinite(b))
        if a.dtype.kind == "f":
            good[compared] = _within(a[compared], b[compared], Fraction(eps))
        else:
            pairs = zip(a[compared].tolist(), b[compared].tolist(), strict=True)
            good[compared] = [abs(int(x) - int(y)) <= eps for x, y in pairs]
    return np.flatnonzero(~good)


def pointwise_violations(
    original: np.ndarray, decoded: np.ndarray, r: float, fills: tuple[float, ...] = ()
) -> np.ndarray:
    """The same for |a - b| <= ``r`` |a|; zeros must come back bit for bit, too."""
    a, b = _native(original), _native(decoded)
    unsigned = f"u{a.dtype.itemsize}"
    bad = []
    for k in np.flatnonzero(a.view(unsigned) != b.view(unsigned)):
        special = a[k] == 0 or equals_any(a[k : k + 1], fills)[0]
        if not special and np.isfinite(a[k]) and np.isfinite(b[k]):
            exact = Fraction(float(a[k]))
            if abs(exact - Fraction(float(b[k]))) <= Fraction(r) * abs(exact):
                continue
        bad.append(k)
    return np.array(bad, np.int64)


def largest_error(original: np.ndarray, decoded: np.ndarray) -> Fraction:
    """Over values that are finite in both."""
    a, b = _native(original), _native(decoded)
    finite = np.isfinite(a) & np.isfinite(b)
    pairs = zip(a[finite].tolist(), b[finite].tolist(), strict=True)
    return max((abs(Fraction(x) - Fraction(y)) for x, y in pairs), default=Fraction(0))


def _within(a: np.ndarray, b: np.ndarray, eps: Fraction) -> np.ndarray:
    """|a - b| <= eps for finite flat arrays."""
    (a_mantissa, a_exponent), (b_mantissa, b_exponent) = _split(a), _split(b)
    a_exponent = np.where(a_mantissa == 0, b_exponent, a_exponent)
    b_exponent = np.where(b_mantissa == 0, a_exponent, b_exponent)
    unit = np.minimum(a_exponent, b_exponent)
    room = 62 - (_MANTISSA_BITS[a.dtype.itemsize] + 1)
    near = np.maximum(a_exponent, b_exponent) - unit < room
    a_shift, b_shift = np.where(near, a_exponent - unit, 0), np.where(near, b_exponent - unit, 0)
    difference = np.abs((a_mantissa << a_shift) - (b_mantissa << b_shift))
    exponents, which = np.unique(unit, return_inverse=True)
    most = [math.floor(eps / Fraction(2) ** int(exponent)) for exponent in exponents]
    good = difference <= np.array([min(m, 2**63 - 1) for m in most], np.int64)[which]
    for k in np.flatnonzero(~near):
        good[k] = abs(Fraction(float(a[k])) - Fraction(float(b[k]))) <= eps
    return good


def _split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite values as (signed mantissa, exponent of two), from their bits."""
    width = values.dtype.itemsize
    mantissa_bits = _MANTISSA_BITS[width]
    bits = values.view(f"u{width}").astype(np.uint64)
    fraction = (bits & np.uint64(2**mantissa_bits - 1)).astype(np.int64)
    field = ((bits >> np.uint64(mantissa_bits)) & np.uint64(2 ** (8 * width - 1 - mantissa_bits) - 1)).astype(
        np.int64
    )
    bias = 2 ** (8 * width - 2 - mantissa_bits) - 1 + mantissa_bits
    mantissa = np.where(field > 0, fraction | 2**mantissa_bits, fraction)
    return np.where(np.signbit(values), -mantissa, mantissa), np.maximum(field, 1) - bias


def equals_any(values: np.ndarray, fills: tuple[float, ...]) -> np.ndarray:
    if values.dtype.kind != "f":
        return np.isin(values, [fill for fill in fills if fill == int(fill)])
    unsigned = f"u{values.dtype.itemsize}"
    patterns = np.array(fills, np.float64).astype(values.dtype).view(unsigned)
    return np.isin(values.view(unsigned), patterns)


def _native(array: np.ndarray) -> np.ndarray:
    """Flat and in native order; the parts of complex numbers one after the other."""
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)
    return flat.view(f"f{flat.itemsize // 2}") if flat.dtype.kind == "c" else flat
