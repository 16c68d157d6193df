"""Weights that code samples in the fewest bits: robust least squares, and what it takes to write them.

For the encoder alone. The sums are kernels of our own, not BLAS: whose threads would spin between products as
small as these, and whose sums, and so our bytes, would depend on their number.
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import helper, kernel, merged
from lossyzip.decompose.stencil import LARGEST_PARAMETER, SHIFTS, Weights, written_bits

_ITERATIONS = 3
_HALVINGS = 24
_ENOUGH = 500  # residuals for a median
_VECTOR = 8  # rows of samples are as many vectors of so many numbers, with zeros at their end
_LARGEST_MAGNITUDE = 1e9
BUCKETS = 8 * 27 + 16  # of magnitudes: an octave is cut into eight
LEAST_SERVED = 16  # values a parameter: for fewer it does not pay


def fit(
    sums: np.ndarray,
    sizes: np.ndarray,
    target: np.ndarray,
    prior: np.ndarray,
    known: np.ndarray,
    step: float,
    points: float,
) -> Weights | None:
    """Weights that code ``target`` (samples,) in the fewest bits, or None if ``known`` ones do.

    ``sums`` (samples, groups) are the sums of the regressors that share a parameter, ``sizes`` (groups,)
    how many those are. ``prior`` (groups,) are weights that the fit is drawn to, ``known`` (groups,) those
    that serve at no cost; both sum to one over all regressors. ``points`` values will be served.
    """
    if not worth_fitting(sizes.size, target.size, points):
        return None
    parameters = np.empty(sizes.size - 1, np.int64)
    precision, _ = fitted(sums, sizes, target, prior, known, step, points, parameters)
    return Weights(precision, tuple(parameters.tolist())) if precision >= 0 else None


def worth_fitting(count: int, samples: int, points: float) -> bool:
    """Whether ``count`` weights may be found on so many samples, and pay for so many points."""
    return count >= 2 and samples >= 3 * count and points >= LEAST_SERVED * count


@kernel
def fitted(sums, sizes, target, prior, known, step, points, parameters):
    """As `fit`, whose ``parameters`` (groups - 1,) are filled; returns their precision, or -1, and about the
    bits of all points, these included."""
    count = sizes.size - 1
    columns = -(-count // _VECTOR) * _VECTOR
    free, wanted = np.zeros((target.size, columns), np.float64), np.empty(target.size, np.float64)
    largest = max(relative_to_first(sums, sizes, target, 1.0, free, wanted), step)
    if step < 1e-100 or largest > 1e100:  # squares would vanish or overflow
        unit = 0.5 / largest
        step = max(step * unit, 1e-100)
        relative_to_first(sums, sizes, target, unit, free, wanted)
    weights = robust(free, wanted, prior[1:], step)
    precision, bits = cheapest(free, wanted, weights, known[1:], step, points / target.size)
    if precision >= 0:
        unit = np.float64(np.int64(1) << np.int64(SHIFTS[precision]))
        for k in range(count):
            parameters[k] = np.int64(np.rint(weights[k] * unit))
    return precision, bits


@kernel
def relative_to_first(sums, sizes, target, unit, free, wanted):
    """Fill ``free`` and ``wanted`` with what is left to fit where all weights sum to one; returns the largest
    sum of magnitudes of a sample in ``sums`` and ``target``, which are multiplied by ``unit``."""
    largest = 0.0
    share = unit / sizes[0]
    for i in range(target.size):
        value, row, out = target[i] * unit, sums[i], free[i]
        first = row[0] * share
        total = abs(value) + abs(row[0] * unit)
        wanted[i] = value - first
        for k in range(1, sizes.size):
            total += abs(row[k] * unit)
            out[k - 1] = row[k] * unit - first * sizes[k]
        largest = max(largest, total)
    return largest


@kernel
def cheapest(free, wanted, weights, known, step, scale):
    """(the precision at which ``weights`` code ``wanted`` in the fewest bits, or -1: the ``known`` ones do;
    ``scale`` times these bits)."""
    residual, counts = np.empty(wanted.size, np.float64), np.empty(BUCKETS, np.int64)
    rounded, used = np.empty(weights.size, np.int64), np.empty(weights.size, np.float64)
    subtract(free, wanted, known, residual)
    best, chosen = estimated_bits(residual, step, counts) * scale, -1
    for precision in range(len(SHIFTS)):
        unit = np.float64(np.int64(1) << np.int64(SHIFTS[precision]))
        fits = True
        for k in range(weights.size):
            value = np.rint(weights[k] * unit)
            fits = fits and abs(value) <= LARGEST_PARAMETER
            rounded[k] = np.int64(value) if abs(value) <= LARGEST_PARAMETER else np.int64(0)
            used[k] = value / unit
        if fits:
            subtract(free, wanted, used, residual)
            bits = estimated_bits(residual, step, counts) * scale + written_bits(rounded)
            if bits < best:
                best, chosen = bits, precision
    return chosen, best


@kernel
def robust(free, wanted, start, step):
    """Iteratively reweighted least squares around ``start``: large residuals count linearly."""
    count = start.size
    first, residual = np.empty(wanted.size, np.float64), np.empty(wanted.size, np.float64)
    trust, change = np.empty(wanted.size, np.float64), np.empty(count, np.float64)
    normal = np.empty((count, free.shape[1]), np.float64)
    subtract(free, wanted, start, first)
    for i in range(first.size):
        residual[i] = first[i]
    for _ in range(_ITERATIONS):
        scale = 2.0 * (median_size(residual) + 0.25 * step)
        for i in range(trust.size):
            trust[i] = np.divide(scale, max(scale, abs(residual[i])))  # / would look for zeros
        normal_equations(free, first, trust, normal, change)
        trace = 0.0
        for k in range(count):
            trace += normal[k, k]
        for k in range(count):
            normal[k, k] += 1e-6 * trace / count + 2.5e-4 * step * step * wanted.size
        _solve(normal, change)
        subtract(free, first, change, residual)
    for k in range(count):
        change[k] += start[k]
    return change


@helper
def median_size(residual):
    """About the median of the magnitudes of ``residual`` (n,), or of some of them, by bisection."""
    low, high = 0.0, 0.0
    some = residual[:: max(1, residual.size // _ENOUGH)]
    for value in some:
        high = max(high, abs(value))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = 0
        for value in some:
            below += 1 if abs(value) < middle else 0
        if 2 * below < some.size:
            low = middle
        else:
            high = middle
    return high


@helper
def _solve(normal, right):
    """Put the solution of ``normal`` x = ``right`` into ``right``, by Cholesky's decomposition in place.

    Zeros where the matrix is not positive definite.
    """
    n = right.size
    for k in range(n):
        for j in range(k):
            normal[k, k] -= normal[k, j] * normal[k, j]
        if not normal[k, k] > 0.0:
            right[:] = 0.0
            return
        normal[k, k] = np.sqrt(normal[k, k])
        for i in range(k + 1, n):
            for j in range(k):
                normal[i, k] -= normal[i, j] * normal[k, j]
            normal[i, k] /= normal[k, k]
    for k in range(n):
        for j in range(k):
            right[k] -= normal[k, j] * right[j]
        right[k] /= normal[k, k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            right[k] -= normal[j, k] * right[j]
        right[k] /= normal[k, k]


@helper
def subtract(free, wanted, weights, residual):
    """Fill ``residual``: ``wanted`` less ``free`` (samples, parameters) times ``weights``."""
    whole = wanted.size & -4
    for i in range(0, whole, 4):  # four chains of differences side by side
        a, b, c, d = wanted[i], wanted[i + 1], wanted[i + 2], wanted[i + 3]
        for k in range(weights.size):
            weight = weights[k]
            a -= free[i, k] * weight
            b -= free[i + 1, k] * weight
            c -= free[i + 2, k] * weight
            d -= free[i + 3, k] * weight
        residual[i], residual[i + 1], residual[i + 2], residual[i + 3] = a, b, c, d
    for i in range(whole, wanted.size):
        left = wanted[i]
        for k in range(weights.size):
            left -= free[i, k] * weights[k]
        residual[i] = left


@helper
def normal_equations(free, wanted, trust, normal, right):
    """Fill the matrix (count, columns), on and below its diagonal, and the right side (count,) of the least
    squares of ``free`` (samples, columns) times weights to ``wanted``; columns behind the first ``count`` are
    zero."""
    count, columns = right.size, free.shape[1]
    normal[:] = 0.0
    right[:] = 0.0
    whole = wanted.size & -8
    for i in range(0, whole, 8):  # eight samples at a time: the matrix is read and written less often
        s0, s1, s2, s3 = free[i], free[i + 1], free[i + 2], free[i + 3]
        s4, s5, s6, s7 = free[i + 4], free[i + 5], free[i + 6], free[i + 7]
        for k in range(count):
            w0, w1 = s0[k] * trust[i], s1[k] * trust[i + 1]
            w2, w3 = s2[k] * trust[i + 2], s3[k] * trust[i + 3]
            w4, w5 = s4[k] * trust[i + 4], s5[k] * trust[i + 5]
            w6, w7 = s6[k] * trust[i + 6], s7[k] * trust[i + 7]
            line = normal[k]
            for j in range(min((k // _VECTOR + 1) * _VECTOR, columns)):
                line[j] += ((w0 * s0[j] + w1 * s1[j]) + (w2 * s2[j] + w3 * s3[j])) + (
                    (w4 * s4[j] + w5 * s5[j]) + (w6 * s6[j] + w7 * s7[j])
                )
            right[k] += (
                (w0 * wanted[i] + w1 * wanted[i + 1]) + (w2 * wanted[i + 2] + w3 * wanted[i + 3])
            ) + ((w4 * wanted[i + 4] + w5 * wanted[i + 5]) + (w6 * wanted[i + 6] + w7 * wanted[i + 7]))
    for i in range(whole, wanted.size):
        row = free[i]
        for k in range(count):
            weighted = row[k] * trust[i]
            for j in range(k + 1):
                normal[k, j] += weighted * row[j]
            right[k] += weighted * wanted[i]


@helper
def estimated_bits(residual, step, counts):
    """About how many bits it takes to code ``residual`` (n,) in steps of ``step``, without contexts.

    ``counts`` (BUCKETS,) is room for a histogram.
    """
    counts[:] = np.int64(0)
    bits = 0.0
    for value in residual:
        bits += note_magnitude(abs(value), step, counts)
    return bits + order_0_bits(counts, residual.size)


@merged
def note_magnitude(size, step, counts):
    """Count the bucket of one residual; returns the bits of its place in the bucket, and its sign."""
    magnitude = np.int64(min(np.rint(size / step), _LARGEST_MAGNITUDE))
    octave = np.int64(0)
    while magnitude >> octave > 15:
        octave += 1
    counts[8 * octave + (magnitude >> octave)] += 1
    return octave + (1.0 if magnitude > 0 else 0.0)


@helper
def order_0_bits(counts, total):
    """Those of the buckets, which occur ``total`` times in all."""
    bits = 0.0
    for count in counts:
        if count > 0:
            bits -= count * np.log2(count / total)
    return bits
