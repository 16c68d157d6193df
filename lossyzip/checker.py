"""Within the bound: decided here, exactly, for every value that leaves. Knows nothing of compression.

|a - b| <= eps is evaluated without rounding: the difference d = fl(a - b) and its error e, a - b =
d + e, are both found (two-difference, Knuth; Moller 1965). Rounding is monotone, so that |d| decides
unless it equals eps, where the sign of e does. Subtraction is in float64 for float32 fields too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lossyzip._jit import helper, kernel, lean
from lossyzip.field import Number, native, parts_of, special_patterns


@dataclass(frozen=True)
class CheckReport:
    """What a comparison found. Errors and PSNR are over valid values: finite in the original, and no fills.

    With a pointwise relative bound, ``max_error`` is the largest error relative to its value.
    ``violations`` counts values outside the bound, and special values (NaN, infinities, -0.0, fills)
    whose bits differ. ``psnr`` = 20 log10((max - min) / rmse): inf if all are equal, NaN if none is valid;
    it is certainly not below ``psnr_floor``, whatever was rounded on the way (inf if none is valid).
    """

    max_error: float
    violations: int
    first_violation: tuple[int, ...] | None
    psnr: float
    psnr_floor: float


@kernel
def compare(original, decoded, original_bits, decoded_bits, eps, unit, patterns, result):
    """Check flat arrays; eps 0 means bit for bit.

    ``result`` (float64): largest error, violations, first of them, sum of squares of error x ``unit``,
    valid values.
    """
    result[:] = 0.0
    result[2] = -1.0
    differences, sums = np.empty(_BLOCK, np.float64), np.empty(2 * _LANES, np.float64)
    sums[:] = 0.0
    tops, squares = sums[:_LANES], sums[_LANES:]
    start = np.int64(0)  # not a literal, for which callees would be compiled once more
    while start < original.size:
        end = min(start + _BLOCK, original.size)
        whole = end - start == _BLOCK and patterns.size == 0
        if whole and _plainly_within(original, decoded, original_bits, start, eps, differences):
            _sum_up(differences, unit, tops, squares)
            result[4] += _BLOCK
        else:
            _compare_each(
                original, decoded, original_bits, decoded_bits, start, end, eps, unit, patterns, result
            )
        start = end
    for k in range(_LANES):
        result[0] = max(result[0], tops[k])
        result[3] += squares[k]


_BLOCK, _LANES = 512, 32


@helper
def _plainly_within(original, decoded, original_bits, start, eps, differences):
    """Whether all values of a block are finite, none is -0.0, and all differences, which are put into
    ``differences``, are below eps. Where they are not, the exact comparison has the word."""
    a, b = original[start : start + _BLOCK], decoded[start : start + _BLOCK]
    bits = original_bits[start : start + _BLOCK]
    negative_zero = bits.dtype.type(np.uint64(1) << np.uint64(8 * bits.itemsize - 1))
    odd = np.uint8(0)
    for i in range(_BLOCK):
        difference = np.float64(a[i]) - np.float64(b[i])
        differences[i] = difference
        plain = (abs(difference) < eps) & (bits[i] != negative_zero)  # False for NaN
        odd |= np.uint8(0) if plain else np.uint8(1)
    return odd == 0


@helper
def _sum_up(differences, unit, tops, squares):
    """Largest magnitudes and sums of squares of a block, in lanes that do not wait for one another."""
    for i in range(0, _BLOCK, _LANES):
        for k in range(_LANES):
            size = abs(differences[i + k])
            tops[k] = size if size > tops[k] else tops[k]
            squares[k] += (size * unit) * (size * unit)


@lean
def _compare_each(original, decoded, original_bits, decoded_bits, start, end, eps, unit, patterns, result):
    """The values from ``start`` to ``end``, one by one, in exact arithmetic."""
    negative_zero = np.uint64(1) << np.uint64(8 * original_bits.itemsize - 1)
    for i in range(start, end):
        bits = np.uint64(original_bits[i])
        a = np.float64(original[i])
        b = np.float64(decoded[i])
        special = not np.isfinite(a) or bits == negative_zero
        masked = not np.isfinite(a)
        for k in range(patterns.size):
            if bits == patterns[k]:
                special = True
                masked = True
        if bits == np.uint64(decoded_bits[i]):
            good = True
            difference = 0.0
        elif special or not np.isfinite(b):
            good = False
            difference = np.inf
        else:
            difference = a - b
            back = difference - a
            error = (a - (difference - back)) - (b + back)
            size = abs(difference)
            beyond = error > 0.0 if difference > 0.0 else error < 0.0
            good = eps > 0.0 and (size < eps or (size == eps and not beyond))
        if not masked:
            result[4] += 1
            result[0] = max(result[0], abs(difference))
            result[3] += (difference * unit) * (difference * unit)
        if not good:
            if result[1] == 0:
                result[2] = i
            result[1] += 1


@lean
def compare_pointwise(original, decoded, original_bits, decoded_bits, r, unit, patterns, result, doubtful):
    """`compare`, errors relative to each value: |a - b| <= r |a|, and zeros as they are.

    ``doubtful`` (bool, False everywhere) becomes True where that does not follow from rounded numbers; such
    values are not counted as violations. A difference and a product are off by 2**-53 of themselves, unless
    they are tiny.
    """
    result[:] = 0.0
    result[2] = -1.0
    for i in range(original.size):
        bits = np.uint64(original_bits[i])
        a = np.float64(original[i])
        b = np.float64(decoded[i])
        special = not np.isfinite(a) or a == 0.0
        masked = not np.isfinite(a)
        for k in range(patterns.size):
            if bits == patterns[k]:
                special = True
                masked = True
        difference, good = 0.0, True
        if bits != np.uint64(decoded_bits[i]):
            if special or not np.isfinite(b) or r == 0.0:
                good = False
                difference = np.inf
            else:
                difference = abs(a - b)
                most = r * abs(a)
                good = difference <= most
                near = abs(difference - most) <= 1e-15 * most
                doubtful[i] = near or most < _TINY or difference < _TINY
                good = good or doubtful[i]
        if not masked:
            result[4] += 1
            result[0] = max(result[0], difference / abs(a) if difference > 0.0 and a != 0.0 else difference)
            result[3] += (difference * unit) * (difference * unit)
        if not good:
            if result[1] == 0:
                result[2] = i
            result[1] += 1


_TINY = 1e-290

# Of a sum of squares over a tile of 2**22 values, each rounded a few times; of a few logarithms, in dB.
_SUM_ROUNDING, _LOG_ROUNDING = 2.0**-29, 1e-9
_UNDERFLOW = 2.0**-1000  # what is lost where a square is too small


def compare_integers(
    original: np.ndarray,
    decoded: np.ndarray,
    eps: float,
    unit: float,
    patterns: np.ndarray,
    result: np.ndarray,
) -> None:
    """`compare` for flat arrays of integers: differences modulo 2**64 are exact, and never negative."""
    result[:] = 0.0
    result[2] = -1.0
    unsigned = f"u{original.itemsize}"
    a, b = original.view(unsigned), decoded.view(unsigned)
    difference = np.where(original > decoded, a - b, b - a)
    filled = np.isin(a, patterns.astype(unsigned))
    most = min(math.floor(eps), np.iinfo(unsigned).max)
    bad = np.flatnonzero((difference > a.dtype.type(most)) | (filled & (difference != 0)))
    errors = difference[~filled].astype(np.float64)
    result[0] = errors.max(initial=0.0)
    result[1], result[2] = bad.size, bad[0] if bad.size else -1
    result[3] = float(np.square(errors * unit).sum())
    result[4] = errors.size


class Checker:
    """Feed it tiles of the original and the decoded field; it says whether all are within ``eps``.

    ``low`` and ``high`` span the valid values (for the PSNR); ``fill_values`` must come back bit for bit.
    ``pointwise``: ``eps`` is relative to each value. ``levels``: what is in the place of ``eps`` for values
    of each level. Of complex numbers both parts must be within it.
    """

    def __init__(
        self,
        eps: float,
        low: Number,
        high: Number,
        fill_values: Iterable[Number] = (),
        pointwise: bool = False,
        levels: Sequence[float] = (),
    ) -> None:
        self._eps, self._levels = eps, levels
        self._pointwise = pointwise
        exponent = math.frexp(max(abs(low), abs(high)))[1]
        self._unit = math.ldexp(1.0, max(-1000, min(-exponent, 1000)))  # so that no square overflows
        self._range = high * self._unit - low * self._unit
        self._fill_values = tuple(fill_values)
        self._largest = 0.0
        self._violations = 0
        self._first: tuple[int, ...] | None = None
        self._squared: list[float] = []
        self._valid = 0

    def update(
        self,
        original: np.ndarray,
        decoded: np.ndarray,
        origin: tuple[int, ...],
        levels: np.ndarray | None = None,
    ) -> None:
        """Compare arrays of one shape and dtype; ``origin`` is where their first value lies in the field.

        Masks must be equal, masked values are not compared. ``levels``: the level of each value.
        """
        if original.shape != decoded.shape or original.dtype.newbyteorder("=") != decoded.dtype.newbyteorder(
            "="
        ):
            raise ValueError(f"{original.dtype} {original.shape} against {decoded.dtype} {decoded.shape}")
        shape = original.shape
        if isinstance(original, np.ma.MaskedArray) or isinstance(decoded, np.ma.MaskedArray):
            masks = np.ma.getmaskarray(original), np.ma.getmaskarray(decoded)
            self._found(np.flatnonzero(masks[0] != masks[1]), shape, origin)
            kept = ~(masks[0] | masks[1])
        else:
            kept = None
        parts = [parts_of(np.ma.getdata(array)) for array in (original, decoded)]
        a, b = map(native, parts)
        for eps, chosen in self._groups(kept, levels, parts[0].shape):
            result = self._compare(a, b, eps) if chosen is None else self._compare(a[chosen], b[chosen], eps)
            self._largest = max(self._largest, float(result[0]))
            if result[1]:
                first = int(result[2]) if chosen is None else int(chosen[int(result[2])])
                self._found(np.array([first % max(math.prod(shape), 1)]), shape, origin, int(result[1]))
            self._squared.append(float(result[3]))
            self._valid += int(result[4])

    def _groups(
        self, kept: np.ndarray | None, levels: np.ndarray | None, shape: tuple[int, ...]
    ) -> Iterator[tuple[float, np.ndarray | None]]:
        """(tolerance, flat indices of the values that have it); None for all."""
        if levels is None:
            if kept is None:
                yield self._eps, None
            else:
                yield self._eps, np.flatnonzero(np.broadcast_to(kept, shape))
            return
        for level, eps in enumerate(self._levels):
            chosen = levels == level if kept is None else (levels == level) & kept
            yield eps, np.flatnonzero(np.broadcast_to(chosen, shape))

    def _found(
        self, bad: np.ndarray, shape: tuple[int, ...], origin: tuple[int, ...], count: int | None = None
    ) -> None:
        """Note violations at flat places of a tile of ``shape``: as many as they are, or ``count``."""
        self._violations += bad.size if count is None else count
        if not bad.size:
            return
        inside = np.unravel_index(int(bad[0]), shape) if shape else ()
        place = tuple(int(i) + o for i, o in zip(inside, origin, strict=True))
        self._first = place if self._first is None else min(self._first, place)

    def _compare(self, a: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
        """What `compare` finds in flat arrays of floats or integers."""
        patterns, result = special_patterns(a.dtype, self._fill_values), np.zeros(5)
        if a.dtype.kind != "f":
            compare_integers(a, b, eps, self._unit, patterns, result)
            return result
        bits = [values.view(f"u{values.itemsize}") for values in (a, b)]
        if a.itemsize == 2:
            a, b = a.astype(np.float32), b.astype(np.float32)
        if self._pointwise:
            doubtful = np.zeros(a.size, bool)
            compare_pointwise(a, b, *bits, eps, self._unit, patterns, result, doubtful)
            self._settle(a, b, np.flatnonzero(doubtful), result)
        else:
            compare(a, b, *bits, eps, self._unit, patterns, result)
        return result

    def _settle(self, a: np.ndarray, b: np.ndarray, doubtful: np.ndarray, result: np.ndarray) -> None:
        """Decide in fractions what `compare_pointwise` could not."""
        for k in doubtful.tolist():
            exact = Fraction(float(a[k]))
            if abs(exact - Fraction(float(b[k]))) > Fraction(self._eps) * abs(exact):
                result[1] += 1
                result[2] = k if result[2] < 0 else min(result[2], k)

    def merge(self, other: Checker) -> None:
        """Take up what ``other``, made for the same field, has found in the tiles that follow."""
        self._largest = max(self._largest, other._largest)
        firsts = [first for first in (self._first, other._first) if first is not None]
        self._first = min(firsts, default=None)
        self._violations += other._violations
        self._squared += other._squared
        self._valid += other._valid

    def mean_square(self) -> float:
        """Of the errors of valid values, relative to the range's square; NaN without such values."""
        if not self._valid:
            return math.nan
        if not self._range > 0.0 or not all(map(math.isfinite, self._squared)):
            return math.inf if self._largest > 0.0 else 0.0
        return math.fsum(self._squared) / self._valid / self._range / self._range

    def report(self) -> CheckReport:
        psnr = _decibels(self.mean_square())
        return CheckReport(self._largest, self._violations, self._first, psnr, self._floor())

    def _floor(self) -> float:
        if self._largest == 0.0:
            return math.inf
        lost = _UNDERFLOW / self._range / self._range if self._range > 0.0 else math.inf
        return _decibels(self.mean_square() * (1.0 + _SUM_ROUNDING) + lost) - _LOG_ROUNDING


def _decibels(mean_square: float) -> float:
    """-10 log10, with infinities."""
    if math.isnan(mean_square) or math.isinf(mean_square):
        return -mean_square
    return -10.0 * math.log10(mean_square) if mean_square > 0.0 else math.inf
