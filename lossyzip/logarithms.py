"""Pointwise relative bounds: what is coded are logarithms of magnitudes, within an absolute tolerance.

|y - x| <= r |x| holds where log2 |y| - log2 |x| is within log2(1 - r) and log2(1 + r), rounding apart. Powers
are computed by sums and products alone, which every machine rounds alike: a library's would not do, since
decoding must find the same bits everywhere. docs/FORMAT.md, "Logarithms".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lossyzip._jit import kernel
from lossyzip.container.header import LARGEST_LOGARITHM
from lossyzip.field import RAW, largest_coded, special_patterns

_ROUNDED = 4.0  # relative, in halves of an ulp of the field's dtype: more than decoding rounds
_LOG_ROUNDED = 1e-12  # more than all logarithms are off, which are below 1100
_LEAST = 1e-11  # a smaller tolerance is none
_TERMS = 12  # of the series of log2
_LN2 = 0.6931471805599453
_ROOT = math.sqrt(0.5)
FACTORS = np.array([1.0 / math.factorial(k) for k in range(15)])  # of the series of 2 ** x


class Scale(NamedTuple):
    """How values within ``r`` of themselves are coded."""

    eps: float  # of logarithms; 0.0 where only lossless will do
    shift: float  # added to logarithms, as values may become smaller by more than larger
    least: float  # smaller magnitudes are special: they might become subnormal


def scale_of(r: float, dtype: np.dtype) -> Scale:
    """For values of ``dtype`` (native) and 0 <= r < 1."""
    limits = np.finfo(dtype)
    rounded = _ROUNDED * float(limits.eps) / 2.0
    up, down = (math.log1p(r) - rounded) / _LN2, (math.log1p(-r) + rounded) / _LN2
    eps = 0.5 * (up - down) - _LOG_ROUNDED
    least = 4.0 * float(limits.tiny) / (1.0 - r)
    return Scale(eps if eps > _LEAST else 0.0, 0.5 * (up + down), least)


def zero_and(specials: tuple[int, ...], dtype: np.dtype, most: int) -> tuple[int, ...]:
    """``specials`` of a field and, if there is room, 0: it has no logarithm, and without a place is RAW."""
    zero = int(special_patterns(dtype, [0.0])[0])
    return (*specials, zero)[:most] if zero not in specials else specials


def logarithms(
    values: np.ndarray, scale: Scale, specials: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """(shifted logarithms, NaN where a value is special; class of each, as `field.classify` has them; which
    are negative; how many are RAW) of the flat array ``values`` in native order."""
    magnitudes, negative = np.abs(values).astype(np.float64), np.signbit(values)
    bits = values.view(f"u{values.itemsize}")
    coded = (magnitudes >= scale.least) & (magnitudes <= largest_coded(values.dtype))
    classes = np.where(coded, 0, RAW).astype(np.uint8)
    for k, pattern in enumerate(specials):
        classes[bits == pattern] = k + 1
    special = classes != 0
    magnitudes[special] = 1.0
    logs = log2(magnitudes)
    logs += scale.shift
    logs[special] = np.nan
    return logs, classes, negative & ~special, int(np.count_nonzero(classes == RAW))


def log2(values: np.ndarray) -> np.ndarray:
    """Of finite float64 ``values`` > 0 (flat): the same bits on every machine."""
    mantissas, exponents = np.frexp(values)
    logs = np.empty(values.size, np.float64)
    _take_logarithms(mantissas, exponents, logs)
    return logs


def powers(logs: np.ndarray, negative: np.ndarray | None, into: np.ndarray) -> None:
    """Fill ``into`` (flat, the field's dtype) with the values whose logarithms are ``logs``."""
    fractions, exponents = np.empty(logs.size, np.float64), np.empty(logs.size, np.int32)
    _take_powers(logs, FACTORS, LARGEST_LOGARITHM, fractions, exponents)
    with np.errstate(over="ignore", under="ignore"):
        into[:] = np.ldexp(fractions, exponents)
    if negative is not None:
        np.negative(into, out=into, where=negative)


@kernel
def _take_logarithms(mantissas, exponents, logs):
    """log2 m = 2 atanh((m - 1) / (m + 1)) / ln 2, for m within [sqrt(1/2), sqrt(2))."""
    for i in range(logs.size):
        low = mantissas[i] < _ROOT
        m = 2.0 * mantissas[i] if low else mantissas[i]
        s = (m - 1.0) / (m + 1.0)
        square = s * s
        total = 0.0
        for k in range(_TERMS - 1, -1, -1):
            total = total * square + 1.0 / (2 * k + 1)
        logs[i] = exponents[i] - (1.0 if low else 0.0) + 2.0 * s * total / _LN2


@kernel
def _take_powers(logs, factors, largest, fractions, exponents):
    """2 ** x = fraction x 2 ** exponent: the exponent is x rounded, the fraction a series of e ** t."""
    for i in range(logs.size):
        x = logs[i] if logs[i] > -largest else -largest
        x = x if x < largest else largest
        whole = np.rint(x)
        t = (x - whole) * _LN2
        total = factors[factors.size - 1]
        for k in range(factors.size - 2, -1, -1):
            total = total * t + factors[k]
        fractions[i] = total
        exponents[i] = np.int32(whole)
