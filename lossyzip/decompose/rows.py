"""What happens to a row of points: predict, quantize, measure the activity around, extend into the halo.

Values lie in a buffer with a halo around them; knows nothing of how the buffer was laid out, nor in
what order rows come: passes.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, merged
from lossyzip.entropy.tokens import FLAG_CELL, GROUP_CELLS, OUTLIER

SWEEP = 8  # taps that one vectorized sweep over a row adds up
HALF_SWEEP = 4  # those of the last sweep, where they are enough
MOST_MAGNITUDE = 255  # of a code, as contexts see it
MOST_ACTIVITY = 16 * MOST_MAGNITUDE
CELLS = GROUP_CELLS
LAST_CELL = FLAG_CELL - 1
CELLS_AN_OCTAVE = 21  # in eighths


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


@merged
def lattice_of(row):
    """The `Lattice` whose numbers ``row`` begins with."""
    nt, nz, ny, nx = row[0], row[1], row[2], row[3]
    base, st, sz, sy = row[4], row[5], row[6], row[7]
    halo_z, halo_y, halo_x = row[8], row[9], row[10]
    origin, ft, fz, fy, fx, coupled = row[11], row[12], row[13], row[14], row[15], row[16]
    return Lattice(
        *(nt, nz, ny, nx, base, st, sz, sy, halo_z, halo_y, halo_x, origin, ft, fz, fy, fx, coupled)
    )


class Contexts(NamedTuple):
    """How the activity around a point is measured: a weighted mean of known codes' magnitudes.

    Mixed coding counts the two codes before in the row, too; where a row is a vector they are not known.
    """

    offsets: np.ndarray  # int64, relative to the point, into the magnitudes; padded to a multiple of SWEEP
    weights: np.ndarray  # uint16, zero where padded
    taps: int  # how many are not padding
    previous: int  # so many of the last of these are in the volume before, and count where there is one
    reciprocal: int  # 2**16 / sum of all weights, rounded
    cell: int  # first context cell of this pass's group
    left: int  # weights of the two codes before in the row
    left2: int
    mixed_reciprocal: int  # with those two


class Stencils(NamedTuple):
    """The stencils of one pass; which of them serves a row depends on the row's place."""

    of_class: np.ndarray  # (8,) int64: row class -> stencil
    taps: np.ndarray  # (S,) int64: how many, a multiple of HALF_SWEEP
    offsets: np.ndarray  # (S, K) int64, relative to the point, into the values
    weights: np.ndarray  # (S, K) in the field's dtype, zero where padded
    running: np.ndarray  # (S, 2): weights of the two values before this one in the running row
    running_weights: int  # 1: some of those are not zero


class Quantizer(NamedTuple):
    """All in the field's dtype. A value is reconstructed as prediction + code * step, within [low, high]."""

    step: np.floating
    inverse: np.floating
    eps: np.floating
    low: np.floating
    high: np.floating


# The cell of each activity: its logarithm, 21/8 cells an octave, as the bits of a float show it.
_BITS_OF_ACTIVITY = (np.arange(MOST_ACTIVITY + 1) + 1).astype(np.float32).view(np.int32)
CELL_OF_ACTIVITY = np.minimum(
    ((_BITS_OF_ACTIVITY >> 10) - (127 << 13)) * CELLS_AN_OCTAVE >> 16, LAST_CELL
).astype(np.uint8)


@merged
def within(value, recon, eps):
    """Whether |value - recon| <= eps holds exactly; may say no on the bound itself, never a false yes."""
    difference = value - recon
    back = difference - value
    error = (value - (difference - back)) - (recon + back)
    size = abs(difference)
    return (size < eps) | ((size == eps) & (error == 0))


@merged
def clamp(value, low, high):
    """``value`` within [low, high]; NaN becomes ``low``."""
    value = value if value > low else low
    return value if value < high else high


@helper
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


@helper
def _add_few_taps(total, values, base, offsets, weights, first):
    """`_add_taps` where all but the first HALF_SWEEP weigh nothing: the same sums, to the bit."""
    n = total.size
    v0 = values[base + offsets[first] : base + offsets[first] + n]
    v1 = values[base + offsets[first + 1] : base + offsets[first + 1] + n]
    v2 = values[base + offsets[first + 2] : base + offsets[first + 2] + n]
    v3 = values[base + offsets[first + 3] : base + offsets[first + 3] + n]
    w0, w1, w2, w3 = weights[first], weights[first + 1], weights[first + 2], weights[first + 3]
    for i in range(n):
        total[i] = total[i] + (w0 * v0[i] + w1 * v1[i]) + (w2 * v2[i] + w3 * v3[i])


@helper
def predict_row(total, values, base, stencils, which):
    """Sum the taps that lie in finished rows into ``total``.

    A buffer of its own, not the array that is also read: so the compiler knows that nothing aliases.
    """
    offsets, weights = stencils.offsets[which], stencils.weights[which]
    total[:] = total.dtype.type(0)
    taps = stencils.taps[which]
    for first in range(0, taps - HALF_SWEEP, SWEEP):
        _add_taps(total, values, base, offsets, weights, first)
    if taps % SWEEP == HALF_SWEEP:
        _add_few_taps(total, values, base, offsets, weights, taps - HALF_SWEEP)


@helper
def activity_row(total, magnitudes, base, contexts, t):
    """Sum the magnitudes of finished rows around each point of a row into ``total`` (int32)."""
    total[:] = np.int32(0)
    n = total.size
    for tap in range(contexts.taps - (0 if t > 0 else contexts.previous)):
        start = base + contexts.offsets[tap]
        seen = magnitudes[start : start + n]
        weight = np.int32(contexts.weights[tap])
        for i in range(n):
            total[i] += weight * np.int32(seen[i])


@merged
def activity_of(total, reciprocal):
    """The activity around a point, at most MOST_ACTIVITY, from its weighted sum of magnitudes."""
    return min((np.int64(total) * np.int64(reciprocal)) >> np.int64(12), np.int64(MOST_ACTIVITY))


@merged
def magnitude_of(code):
    """A code's magnitude as contexts see it."""
    return np.int32(MOST_MAGNITUDE) if code == OUTLIER else min(abs(code), np.int32(MOST_MAGNITUDE))


@merged
def row_class(t, z, y, coupled):
    """0: every neighbour exists; +4, +2, +1: there is no volume, plane, row before this one."""
    return (0 if (t > 0 and coupled == 1) else 4) + (0 if z > 0 else 2) + (0 if y > 0 else 1)


@helper
def repeat(array, start, end, distance):
    """array[start:end] to ``distance`` further on; they do not overlap."""
    source, target = array[start:end], array[start + distance : end + distance]
    for i in range(source.size):
        target[i] = source[i]


@helper
def extend_row(array, lattice, t, z, y):
    """Repeat a finished row's ends into its halo; the first and last rows and planes into theirs."""
    base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
    for h in range(1, lattice.halo_x + 1):
        array[base - h] = array[base]
        array[base + lattice.nx - 1 + h] = array[base + lattice.nx - 1]
    start, end = base - lattice.halo_x, base + lattice.nx + lattice.halo_x
    for h in range(1, lattice.halo_y + 1):
        if y == 0:
            repeat(array, start, end, -h * lattice.sy)
        if y == lattice.ny - 1:
            repeat(array, start, end, h * lattice.sy)
    if z > 0 and z < lattice.nz - 1:
        return
    start -= lattice.halo_y * lattice.sy if y == 0 else 0
    end += lattice.halo_y * lattice.sy if y == lattice.ny - 1 else 0
    for h in range(1, lattice.halo_z + 1):
        if z == 0:
            repeat(array, start, end, -h * lattice.sz)
        if z == lattice.nz - 1:
            repeat(array, start, end, h * lattice.sz)


@merged
def value_before_row(values, lattice, base, t, z, y, low):
    """What stands for the values before a row's first one: the nearest finished row's first value."""
    if y > 0:
        return values[base - lattice.sy]
    if z > 0:
        return values[base - lattice.sz]
    if t > 0 and lattice.coupled == 1:
        return values[base - lattice.st]
    return low


@helper
def next_outlier(outliers, cursor, low):
    """The next of ``outliers``; ``low``, and a negative cursor[4], when there is none."""
    if cursor[1] >= outliers.size:
        cursor[4] = -1
        return low
    cursor[1] += 1
    return outliers[cursor[1] - 1]
