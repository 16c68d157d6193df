"""The rows of a step as they lie in the field's buffer, which nothing predicts but what is in their place.

For the bands and corrections of a wavelet, and rasters without predictions. ``step`` and ``place`` are those
of step.py.
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import helper, merged
from lossyzip.decompose.band import SKEW, WAVE
from lossyzip.decompose.batch import copy, fill, quantize, reconstruct, reconstruct_zeros
from lossyzip.decompose.rows import clamp
from lossyzip.entropy.tokens import OUTLIER_TOKEN


@merged
def _row_of(place, k, lattice):
    """Where the k-th row of a step lies in the field's buffer."""
    plane = lattice.base + place.t * lattice.st + (place.first + place.j0 + k) * lattice.sz
    return plane + (place.y0 - SKEW * k) * lattice.sy


@merged
def quantize_rows(step, place, field, natural, lattice, layout, quantizer):
    """`batch.quantize` of a step's rows as they lie, which nothing but ``natural`` itself predicts.

    Fills `code_rows`, and ``natural`` with what the decoder will see. Unless that predicts, ``field`` may be
    the same array: what is read of it is copied.
    """
    nx, bad, some = lattice.nx, 0, False
    total, wanted = step.sums[:nx], step.wanted[:nx]
    if not layout.predicted:
        fill(total, total.dtype.type(0))
    for k in range(place.j1 - place.j0):
        start = _row_of(place, k, lattice)
        row = natural[start : start + nx]
        if layout.predicted:
            copy(row, total)
        origin = lattice.origin + place.t * lattice.ft + (place.first + place.j0 + k) * lattice.fz
        origin += (place.y0 - SKEW * k) * lattice.fy
        copy(field[origin : origin + nx], wanted)
        worse, more = quantize(total, wanted, step.code_rows[k * nx : (k + 1) * nx], row, quantizer)
        bad += worse
        some = some or more
    return bad, some


@merged
def reconstruct_rows(step, place, natural, lattice, layout, quantizer, some):
    """The reverse of `quantize_rows`, but for outliers; where not ``some``, all codes are 0."""
    nx = lattice.nx
    zero = natural.dtype.type(0)
    for k in range(place.j1 - place.j0):
        start = _row_of(place, k, lattice)
        row = natural[start : start + nx]
        if not layout.predicted:
            fill(row, zero if some else clamp(zero, quantizer.low, quantizer.high))
        if some:
            reconstruct(row, step.code_rows[k * nx : (k + 1) * nx], row, quantizer)
        elif layout.predicted:
            reconstruct_zeros(row, row, quantizer)


@helper
def take_outliers_of_rows(step, place, natural, lattice, outliers, cursor):
    """`batch.take_outliers` for rows as they lie."""
    active = place.j1 - place.j0
    for i in range(active * lattice.nx):
        if step.token[i] == np.uint8(OUTLIER_TOKEN):
            if cursor[1] < outliers.size:
                natural[_row_of(place, i % active, lattice) + i // active] = outliers[cursor[1]]
                cursor[1] += 1
            else:
                cursor[4] = -1


@helper
def transpose(rows, length, count, dense):
    """Put ``count`` rows of ``length`` side by side.

    Eight at a time are written out: scattered by one instruction, as the compiler would, they take longer.
    """
    pitch = np.uint64(length)
    if count == WAVE:
        for i in range(pitch):
            at = np.uint64(WAVE) * i
            v0 = rows[i]
            v1 = rows[i + np.uint64(1) * pitch]
            v2 = rows[i + np.uint64(2) * pitch]
            v3 = rows[i + np.uint64(3) * pitch]
            v4 = rows[i + np.uint64(4) * pitch]
            v5 = rows[i + np.uint64(5) * pitch]
            v6 = rows[i + np.uint64(6) * pitch]
            v7 = rows[i + np.uint64(7) * pitch]
            dense[at] = v0
            dense[at + np.uint64(1)] = v1
            dense[at + np.uint64(2)] = v2
            dense[at + np.uint64(3)] = v3
            dense[at + np.uint64(4)] = v4
            dense[at + np.uint64(5)] = v5
            dense[at + np.uint64(6)] = v6
            dense[at + np.uint64(7)] = v7
        return
    for k in range(count):
        target, source = np.uint64(k), np.uint64(k) * pitch
        for i in range(pitch):
            dense[target] = rows[source + i]
            target += np.uint64(count)


@helper
def transpose_back(dense, length, count, rows):
    """The reverse of `transpose`."""
    pitch = np.uint64(length)
    if count == WAVE:
        for i in range(pitch):
            at = np.uint64(WAVE) * i
            v0 = dense[at]
            v1 = dense[at + np.uint64(1)]
            v2 = dense[at + np.uint64(2)]
            v3 = dense[at + np.uint64(3)]
            v4 = dense[at + np.uint64(4)]
            v5 = dense[at + np.uint64(5)]
            v6 = dense[at + np.uint64(6)]
            v7 = dense[at + np.uint64(7)]
            rows[i] = v0
            rows[i + np.uint64(1) * pitch] = v1
            rows[i + np.uint64(2) * pitch] = v2
            rows[i + np.uint64(3) * pitch] = v3
            rows[i + np.uint64(4) * pitch] = v4
            rows[i + np.uint64(5) * pitch] = v5
            rows[i + np.uint64(6) * pitch] = v6
            rows[i + np.uint64(7) * pitch] = v7
        return
    for k in range(count):
        target, source = np.uint64(k) * pitch, np.uint64(k)
        for i in range(pitch):
            rows[target + i] = dense[source]
            source += np.uint64(count)
