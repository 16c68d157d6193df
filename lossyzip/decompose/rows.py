"""One pass over the points of a lattice, row by row: predict, quantize, note the activity around.

Every family is a sequence of passes. A pass predicts each of its points by a stencil, a linear
combination of reconstructed values, codes the difference in steps, and says for each code which
context cell it belongs to. `encode_pass` and `decode_pass` differ only in where the code comes from.
Values lie in a buffer with a halo around them; knows nothing of how the buffer was laid out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import inlined, kernel
from lossyzip.entropy.rans import decode_symbol
from lossyzip.entropy.tokens import OUTLIER, RADIUS, decode_token

SWEEP = 8  # taps that one vectorized sweep over a row adds up
MAX_MAGNITUDE = 1023  # of a code, as contexts see it
CELLS = 32  # context cells of one group
_ACTIVITY_LIMIT = 4095


class Lattice(NamedTuple):
    """The points of one pass: where they lie in the buffer, and in the field.

    A point (t, z, y, x) lies at ``base + t * st + z * sz + y * sy + x`` of the buffer and at
    ``origin + t * ft + z * fz + y * fy + x * fx`` of the flattened tile.
    """

    nt: int
    nz: int
    ny: int
    nx: int
    base: int
    st: int
    sz: int
    sy: int
    halo_z: int
    halo_y: int
    halo_x: int
    origin: int
    ft: int
    fz: int
    fy: int
    fx: int
    coupled: int  # 1: the volumes along t follow one another; 0: they are independent


class Contexts(NamedTuple):
    """How the activity around a point is measured: a weighted mean of known codes' magnitudes."""

    offsets: np.ndarray  # int64, relative to the point, into the magnitudes
    weights: np.ndarray  # int32
    left: int  # weights of the two codes before this one in the running row
    left2: int
    reciprocal: int  # 2**16 / sum of all weights, rounded
    cell: int  # first context cell of this pass's group
    previous: int  # so many of the last taps are in the volume before, and count where there is one


class Stencils(NamedTuple):
    """The stencils of one pass; which of them serves a row depends on the row's place."""

    of_class: np.ndarray  # (8,) int64: row class -> stencil
    taps: np.ndarray  # (S,) int64: how many, a multiple of SWEEP
    offsets: np.ndarray  # (S, K) int64, relative to the point, into the values
    weights: np.ndarray  # (S, K) in the field's dtype, zero where padded
    running: np.ndarray  # (S, 2): weights of the two values before this one in the running row
    serial: int  # 1: some stencil or context looks into the running row


class Quantizer(NamedTuple):
    """All in the field's dtype. A value is reconstructed as prediction + code * step, within [low, high]."""

    step: np.floating
    inverse: np.floating
    eps: np.floating
    low: np.floating
    high: np.floating


# Activity (16 x mean magnitude) at which each cell begins: exact near zero, then 2.7 cells an octave.
_CELL_STARTS = [1, 2, 3, 4, 6, 7, 9, 12, 15, 19, 25, 32, 41, 53, 68, 88, 113, 146, 189, 244, 315, 407, 526]
_CELL_STARTS += [680, 878, 1135, 1467, 1897, 2452, 3169]
CELL_OF_ACTIVITY = np.searchsorted(_CELL_STARTS, np.arange(_ACTIVITY_LIMIT + 1), side="right").astype(
    np.uint8
)


@inlined
def within(value, recon, eps):
    """Whether |value - recon| <= eps holds exactly; may say no on the bound itself, never a false yes."""
    difference = value - recon
    back = difference - value
    error = (value - (difference - back)) - (recon + back)
    size = abs(difference)
    return (size < eps) | ((size == eps) & (error == 0))


@inlined
def clamp(value, low, high):
    """``value`` within [low, high]; NaN becomes ``low``."""
    value = value if value > low else low
    return value if value < high else high


@kernel
def _add_taps(total, values, base, offsets, weights, first):
    n = total.size
    v0 = values[base + offsets[first] : base + offsets[first] + n]
    v1 = values[base + offsets[first + 1] : base + offsets[first + 1] + n]
    v2 = values[base + offsets[first + 2] : base + offsets[first + 2] + n]
    v3 = values[base + offsets[first + 3] : base + offsets[first + 3] + n]
    v4 = values[base + offsets[first + 4] : base + offsets[first + 4] + n]
    v5 = values[base + offsets[first + 5] : base + offsets[first + 5] + n]
    v6 = values[base + offsets[first + 6] : base + offsets[first + 6] + n]
    v7 = values[base + offsets[first + 7] : base + offsets[first + 7] + n]
    w0, w1, w2, w3 = weights[first], weights[first + 1], weights[first + 2], weights[first + 3]
    w4, w5, w6, w7 = weights[first + 4], weights[first + 5], weights[first + 6], weights[first + 7]
    for i in range(n):
        total[i] = (
            total[i]
            + ((w0 * v0[i] + w4 * v4[i]) + (w1 * v1[i] + w5 * v5[i]))
            + ((w2 * v2[i] + w6 * v6[i]) + (w3 * v3[i] + w7 * v7[i]))
        )


@kernel
def predict_row(total, values, base, stencils, which):
    """Sum the taps that lie in finished rows into ``total``.

    A buffer of its own, not the array that is also read: so the compiler knows that nothing aliases.
    """
    total[:] = total.dtype.type(0)
    for first in range(0, stencils.taps[which], SWEEP):
        _add_taps(total, values, base, stencils.offsets[which], stencils.weights[which], first)


@kernel
def activity_row(total, magnitudes, base, contexts, t):
    """Sum the magnitudes of finished rows around each point of a row into ``total`` (int32)."""
    total[:] = np.int32(0)
    n = total.size
    for tap in range(contexts.offsets.size - (0 if t > 0 else contexts.previous)):
        start = base + contexts.offsets[tap]
        seen = magnitudes[start : start + n]
        weight = contexts.weights[tap]
        for i in range(n):
            total[i] += weight * np.int32(seen[i])


@inlined
def activity_of(total, reciprocal):
    """The activity around a point, at most _ACTIVITY_LIMIT, from its weighted sum of magnitudes."""
    return min((np.int64(total) * np.int64(reciprocal)) >> np.int64(12), np.int64(_ACTIVITY_LIMIT))


@inlined
def magnitude_of(code):
    """A code's magnitude as contexts see it."""
    return np.int32(MAX_MAGNITUDE) if code == OUTLIER else min(abs(code), np.int32(MAX_MAGNITUDE))


@inlined
def row_class(t, z, y, coupled):
    """0: every neighbour exists; +4, +2, +1: there is no volume, plane, row before this one."""
    return (0 if (t > 0 and coupled == 1) else 4) + (0 if z > 0 else 2) + (0 if y > 0 else 1)


@kernel
def extend_row(array, lattice, t, z, y):
    """Repeat a finished row's ends into its halo; the first and last rows and planes into theirs."""
    width = lattice.nx + 2 * lattice.halo_x
    base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
    for h in range(1, lattice.halo_x + 1):
        array[base - h] = array[base]
        array[base + lattice.nx - 1 + h] = array[base + lattice.nx - 1]
    start = base - lattice.halo_x
    if y == 0:
        for h in range(1, lattice.halo_y + 1):
            to = start - h * lattice.sy
            array[to : to + width] = array[start : start + width]
    if y == lattice.ny - 1:
        for h in range(1, lattice.halo_y + 1):
            to = start + h * lattice.sy
            array[to : to + width] = array[start : start + width]
        plane = start - (lattice.ny - 1 + lattice.halo_y) * lattice.sy
        size = (lattice.ny + 2 * lattice.halo_y - 1) * lattice.sy + width
        if z == 0:
            for h in range(1, lattice.halo_z + 1):
                to = plane - h * lattice.sz
                array[to : to + size] = array[plane : plane + size]
        if z == lattice.nz - 1:
            for h in range(1, lattice.halo_z + 1):
                to = plane + h * lattice.sz
                array[to : to + size] = array[plane : plane + size]


@inlined
def value_before_row(values, lattice, base, t, z, y, low):
    """What stands for the values before a row's first one: the nearest finished row's first value."""
    if y > 0:
        return values[base - lattice.sy]
    if z > 0:
        return values[base - lattice.sz]
    if t > 0 and lattice.coupled == 1:
        return values[base - lattice.st]
    return low


@kernel
def encode_pass(
    field, values, magnitudes, lattice, stencils, contexts, quantizer, lookup, codes, cells, outliers, cursor
):
    """Code the points of ``lattice``; append to ``codes``, ``cells`` and ``outliers``.

    ``field`` is the flattened tile; a NaN in it is a value that nobody will look at: it gets code 0.
    ``values`` and ``magnitudes`` receive what the decoder will see. ``cursor`` holds how many codes and
    outliers there are; when ``outliers`` is full its count goes on, which the caller checks.
    """
    nx = lattice.nx
    step, inverse, eps = quantizer.step, quantizer.inverse, quantizer.eps
    low, high = quantizer.low, quantizer.high
    radius = values.dtype.type(RADIUS)
    reciprocal, weight1, weight2 = contexts.reciprocal, contexts.left, contexts.left2
    cell_of_activity = (lookup + np.uint8(contexts.cell)).astype(np.uint8)
    total = np.empty(nx, values.dtype)
    recon = np.empty(nx, values.dtype)
    wanted = np.empty(nx, values.dtype)
    code = np.empty(nx, np.int32)
    activity = np.empty(nx, np.int32)
    zero = values.dtype.type(0)
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            for y in range(lattice.ny):
                base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
                start = lattice.origin + t * lattice.ft + z * lattice.fz + y * lattice.fy
                which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
                predict_row(total, values, base, stencils, which)
                activity_row(activity, magnitudes, base, contexts, t)
                for i in range(nx):
                    wanted[i] = field[start + i * lattice.fx]
                position = cursor[0]
                if stencils.serial == 0:
                    for i in range(nx):
                        prediction = clamp(total[i], low, high)
                        value = wanted[i]
                        steps = np.rint((value - prediction) * inverse)
                        steps = steps if value == value else zero
                        candidate = clamp(prediction + steps * step, low, high)
                        ok = (within(value, candidate, eps) | (value != value)) & (abs(steps) < radius)
                        recon[i] = candidate if ok else value
                        code[i] = np.int32(steps if ok else zero) if ok else OUTLIER
                    for i in range(nx):
                        cells[position + i] = cell_of_activity[activity_of(activity[i], reciprocal)]
                    for i in range(nx):
                        if code[i] == OUTLIER:
                            _append(outliers, cursor, wanted[i])
                else:
                    before = value_before_row(values, lattice, base, t, z, y, low)
                    before2 = before
                    run1, run2 = stencils.running[which, 0], stencils.running[which, 1]
                    left, left2 = np.int32(0), np.int32(0)
                    for i in range(nx):
                        prediction = clamp((total[i] + run2 * before2) + run1 * before, low, high)
                        value = wanted[i]
                        steps = np.rint((value - prediction) * inverse)
                        candidate = clamp(prediction + steps * step, low, high)
                        if within(value, candidate, eps) & (abs(steps) < radius):
                            q = np.int32(steps)
                        elif value != value:
                            candidate, q = prediction, np.int32(0)
                        else:
                            candidate, q = value, OUTLIER
                            _append(outliers, cursor, value)
                        recon[i] = candidate
                        code[i] = q
                        around = activity[i] + weight1 * left + weight2 * left2
                        cells[position + i] = cell_of_activity[activity_of(around, reciprocal)]
                        left2 = left
                        left = magnitude_of(q)
                        before2 = before
                        before = candidate
                for i in range(nx):
                    values[base + i] = recon[i]
                for i in range(nx):
                    codes[position + i] = code[i]
                    magnitudes[base + i] = np.uint16(magnitude_of(code[i]))
                cursor[0] = position + nx
                extend_row(values, lattice, t, z, y)
                extend_row(magnitudes, lattice, t, z, y)


@kernel
def _append(outliers, cursor, value):
    if cursor[1] < outliers.size:
        outliers[cursor[1]] = value
    cursor[1] += 1


@kernel
def decode_pass(
    values, magnitudes, lattice, stencils, contexts, quantizer, lookup, coder, extra, outliers, cursor
):
    """Put what `encode_pass` put into ``values`` and ``magnitudes``, the codes coming from ``coder``.

    ``cursor`` holds how many codes, outliers, words of ``coder`` and bits of ``extra`` are used up, and
    becomes negative in its last place when one of them ends too early.
    """
    nx = lattice.nx
    step = quantizer.step
    low, high = quantizer.low, quantizer.high
    # As locals: fetching an array from a tuple within the loop counts its references each time.
    reciprocal, weight1, weight2 = contexts.reciprocal, contexts.left, contexts.left2
    token_of_slot, frequency, start = coder.token_of_slot, coder.frequency, coder.start
    states, words = coder.states, coder.words
    lane_mask = states.size - 1
    context_of_activity = np.empty(lookup.size, np.uint8)
    for k in range(lookup.size):
        context_of_activity[k] = coder.context_of_cell[contexts.cell + np.int64(lookup[k])]
    total = np.empty(nx, values.dtype)
    code = np.empty(nx, np.int32)
    activity = np.empty(nx, np.int32)
    recon = np.empty(nx, values.dtype)
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            for y in range(lattice.ny):
                base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
                which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
                predict_row(total, values, base, stencils, which)
                activity_row(activity, magnitudes, base, contexts, t)
                position = cursor[0]
                used = cursor[2]
                if stencils.serial == 0:
                    for i in range(nx):
                        context = np.int64(context_of_activity[activity_of(activity[i], reciprocal)])
                        lane = (position + i) & lane_mask
                        symbol, state, used = decode_symbol(
                            context, states[lane], used, token_of_slot, frequency, start, words
                        )
                        states[lane] = state
                        code[i] = decode_token(symbol, extra, cursor)
                    for i in range(nx):
                        steps = values.dtype.type(code[i])
                        recon[i] = clamp(clamp(total[i], low, high) + steps * step, low, high)
                    for i in range(nx):
                        if code[i] == OUTLIER:
                            recon[i] = next_outlier(outliers, cursor, low)
                else:
                    before = value_before_row(values, lattice, base, t, z, y, low)
                    before2 = before
                    run1, run2 = stencils.running[which, 0], stencils.running[which, 1]
                    left, left2 = np.int32(0), np.int32(0)
                    for i in range(nx):
                        around = activity[i] + weight1 * left + weight2 * left2
                        context = np.int64(context_of_activity[activity_of(around, reciprocal)])
                        lane = (position + i) & lane_mask
                        symbol, state, used = decode_symbol(
                            context, states[lane], used, token_of_slot, frequency, start, words
                        )
                        states[lane] = state
                        q = decode_token(symbol, extra, cursor)
                        code[i] = q
                        prediction = clamp((total[i] + run2 * before2) + run1 * before, low, high)
                        candidate = clamp(prediction + values.dtype.type(q) * step, low, high)
                        if q == OUTLIER:
                            candidate = next_outlier(outliers, cursor, low)
                        recon[i] = candidate
                        left2 = left
                        left = magnitude_of(q)
                        before2 = before
                        before = candidate
                cursor[2] = used
                for i in range(nx):
                    values[base + i] = recon[i]
                for i in range(nx):
                    magnitudes[base + i] = np.uint16(magnitude_of(code[i]))
                cursor[0] = position + nx
                extend_row(values, lattice, t, z, y)
                extend_row(magnitudes, lattice, t, z, y)


@kernel
def next_outlier(outliers, cursor, low):
    if cursor[1] >= outliers.size:
        cursor[4] = -1
        return low
    cursor[1] += 1
    return outliers[cursor[1] - 1]
