"""Points that are coded together, none of which looks at another: sums, context cells, codes as vectors.

A *run* is a stretch of a buffer that holds the points in rows of ``length``, each ``stride`` after the
one before, and others between them, for which everything is computed and then left out. A *dense*
array holds the points alone. Knows nothing of how the buffer was laid out: planes.py, wave.py.
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import inlined
from lossyzip.decompose.rows import CELLS_AN_OCTAVE, LAST_CELL, MOST_MAGNITUDE, SWEEP, clamp, within
from lossyzip.entropy.tokens import OUTLIER, OUTLIER_TOKEN, RADIUS


@inlined
def _add_magnitudes(total, magnitudes, base, offsets, weights, first):
    n = total.size
    m0 = magnitudes[base + offsets[first] : base + offsets[first] + n]
    m1 = magnitudes[base + offsets[first + 1] : base + offsets[first + 1] + n]
    m2 = magnitudes[base + offsets[first + 2] : base + offsets[first + 2] + n]
    m3 = magnitudes[base + offsets[first + 3] : base + offsets[first + 3] + n]
    m4 = magnitudes[base + offsets[first + 4] : base + offsets[first + 4] + n]
    m5 = magnitudes[base + offsets[first + 5] : base + offsets[first + 5] + n]
    m6 = magnitudes[base + offsets[first + 6] : base + offsets[first + 6] + n]
    m7 = magnitudes[base + offsets[first + 7] : base + offsets[first + 7] + n]
    w0, w1, w2, w3 = weights[first], weights[first + 1], weights[first + 2], weights[first + 3]
    w4, w5, w6, w7 = weights[first + 4], weights[first + 5], weights[first + 6], weights[first + 7]
    for i in range(n):
        total[i] = np.uint16(
            total[i]
            + w0 * m0[i]
            + w1 * m1[i]
            + w2 * m2[i]
            + w3 * m3[i]
            + w4 * m4[i]
            + w5 * m5[i]
            + w6 * m6[i]
            + w7 * m7[i]
        )


@inlined
def sum_magnitudes(total, magnitudes, base, offsets, weights):
    """Sum the magnitudes (uint8) around each point of a run into ``total`` (uint16).

    ``offsets`` (int64) and ``weights`` (uint16) are padded to a multiple of SWEEP.
    """
    total[:] = np.uint16(0)
    for first in range(0, offsets.size, SWEEP):
        _add_magnitudes(total, magnitudes, base, offsets, weights, first)


@inlined
def cells_of(total, reciprocal, first_cell, scratch, bits, cells):
    """The context cell of each point of a run, from the sums of magnitudes around them.

    Cells divide the activity evenly by its logarithm, as the bits of a float show it; ``scratch`` is float32,
    and ``bits`` the same memory as int32.
    """
    factor = np.int32(reciprocal)
    for i in range(total.size):
        mean = np.int32(np.int32(np.int32(total[i]) * factor) >> np.int32(12))
        scratch[i] = np.float32(np.int32(mean + np.int32(1)))
    least = np.int32(127 << 13)
    cell = np.int32(first_cell)
    for i in range(total.size):
        octaves = np.int32(np.int32(bits[i] >> np.int32(10)) - least)  # 2**-13 of one
        place = np.int32(np.int32(octaves * np.int32(CELLS_AN_OCTAVE)) >> np.int32(16))
        cells[i] = np.uint8(np.int32(min(place, np.int32(LAST_CELL)) + cell))


@inlined
def condense(run, rows, length, stride, dense):
    """Copy the points of a ``run`` to a ``dense`` array."""
    for row in range(rows):
        target, source = np.uint64(row * length), np.uint64(row * stride)
        for i in range(np.uint64(length)):
            dense[target + i] = run[source + i]


@inlined
def spread(dense, rows, length, stride, run):
    """The reverse of `condense`."""
    for row in range(rows):
        source, target = np.uint64(row * length), np.uint64(row * stride)
        for i in range(np.uint64(length)):
            run[target + i] = dense[source + i]


@inlined
def copy(source, target):
    """Fill ``target``. (Assigning to a slice would compile checks of shapes and overlap.)"""
    for i in range(target.size):
        target[i] = source[i]


@inlined
def fill(target, value):
    """Fill ``target``. (So does a slice's assignment, whose checks take longer to compile.)"""
    for i in range(target.size):
        target[i] = value


@inlined
def magnitudes_of(codes, magnitudes):
    """Fill ``magnitudes`` (uint8) with those of ``codes``."""
    for i in range(codes.size):
        code = np.int32(codes[i])
        size = code if code > 0 else np.int32(-code)  # OUTLIER stays negative
        size = size if (size >= 0) & (size < MOST_MAGNITUDE) else np.int32(MOST_MAGNITUDE)
        magnitudes[i] = np.uint8(size)


@inlined
def quantize(total, wanted, code, recon, quantizer):
    """Fill ``code`` and ``recon``; returns (how many outliers there are, whether some code is not 0).

    ``total`` are the predictions, not yet clamped. A NaN is a value that nobody will look at: code 0.
    """
    number = total.dtype.type
    step, inverse, eps = quantizer.step, quantizer.inverse, quantizer.eps
    low, high = quantizer.low, quantizer.high
    bad, some = np.int32(0), np.int32(0)  # no wider than the codes, of which a vector holds the more
    for i in range(total.size):
        prediction = clamp(total[i], low, high)
        value = wanted[i]
        steps = np.rint((value - prediction) * inverse)
        steps = steps if value == value else number(0)
        candidate = clamp(prediction + steps * step, low, high)
        ok = (within(value, candidate, eps) | (value != value)) & (abs(steps) < number(RADIUS))
        recon[i] = candidate if ok else value
        found = np.int32(steps if ok else number(0)) if ok else OUTLIER
        code[i] = found
        some = np.int32(some | found)
        bad = np.int32(bad + np.int32(0 if ok else 1))
    return np.int64(bad), some != 0


@inlined
def reconstruct(total, code, recon, quantizer):
    """Fill ``recon`` with what `quantize` did, except for outliers."""
    number = total.dtype.type
    step, low, high = quantizer.step, quantizer.low, quantizer.high
    for i in range(total.size):
        recon[i] = clamp(clamp(total[i], low, high) + number(code[i]) * step, low, high)


@inlined
def reconstruct_zeros(total, recon, quantizer):
    """`reconstruct` where all codes are 0."""
    low, high = quantizer.low, quantizer.high
    for i in range(total.size):
        recon[i] = clamp(total[i], low, high)


@inlined
def append_outliers(code, wanted, outliers, cursor):
    """Put the outliers among ``wanted`` behind those in ``outliers``; when that is full, count on."""
    for i in range(code.size):
        if code[i] == OUTLIER:
            if cursor[1] < outliers.size:
                outliers[cursor[1]] = wanted[i]
            cursor[1] += 1


@inlined
def take_outliers(token, recon, outliers, cursor):
    """Put the next of ``outliers`` wherever ``token`` says so; a negative cursor[4] if there is none."""
    for i in range(token.size):
        if token[i] == np.uint8(OUTLIER_TOKEN):
            if cursor[1] < outliers.size:
                recon[i] = outliers[cursor[1]]
                cursor[1] += 1
            else:
                cursor[4] = -1


@inlined
def mark_outliers(token, magnitudes):
    """The magnitude of an outlier, which `codes_of_row` gave code 0, is the largest."""
    for i in range(token.size):
        if token[i] == np.uint8(OUTLIER_TOKEN):
            magnitudes[i] = np.uint8(MOST_MAGNITUDE)
