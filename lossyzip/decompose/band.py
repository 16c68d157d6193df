"""The buffer of a band of planes: its points in the order (step, x, plane), with a halo.

Plane j of a band is SKEW rows behind plane j - 1, so that all that a point looks at in other rows is finished
when its step comes; the rows of one step lie together, and every tap is a stretch of the buffer.
Knows nothing of what the points are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, merged
from lossyzip.decompose.batch import condense, spread
from lossyzip.decompose.buffer import BESIDE, Around, padded
from lossyzip.decompose.rows import Lattice

WAVE = 8  # planes of a band
SKEW = 2  # taps and contexts reach a row further in the plane before
HALO = 3
_REACH = 2  # planes that taps reach back


class Layout(NamedTuple):
    """Where things are in the buffer of a band.

    Point (y, x) of plane j is at
    ``((y + HALO + SKEW * (j + history)) * width + x + HALO) * lanes + j + history``.
    """

    planes: int  # of a full band
    history: int  # planes before the band's
    lanes: int  # planes, history, and one more where there is a volume before
    width: int
    size: int  # of a band; one of the volume before follows it, if there is one
    tapped: int  # 1: some stencil has taps, and the band needs values
    predicted: int  # 1: the prediction of each value lies in its place
    expected: int  # weight of the expected magnitudes, among those around
    aside: int  # how far behind the values in the field's buffer that is which guides add
    beside: int  # 1: it is behind the band, too, and that of the volume before
    kept: int  # 1: the magnitudes are put where they lie in the field's buffer, too


class Geometry(NamedTuple):
    """What the lattice and the surroundings of a pass say about its band."""

    layout: Layout
    strides: np.ndarray  # of (t, z, y, x)
    offsets: np.ndarray  # of context taps, int64, padded
    weights: np.ndarray  # uint16
    reciprocal: int  # 2**16 / sum of the weights, rounded


@lru_cache(maxsize=256)
def geometry(lattice: Lattice, around: Around, part_size: int) -> Geometry:
    """``part_size`` is that of the field's buffer."""
    planes = min(WAVE, lattice.nz)
    history = _REACH if lattice.nz > 1 else 0
    lanes = planes + history + (1 if lattice.coupled == 1 and lattice.nz > 1 else 0)
    width = lattice.nx + 2 * HALO
    size = (lattice.ny + 2 * HALO + SKEW * (lanes - 1) + 1) * width * lanes
    layout = Layout(
        *(planes, history, lanes, width, size),
        tapped=0,
        predicted=int(around.predicted),
        expected=around.expected,
        aside=part_size,
        beside=int(around.beside),
        kept=1,
    )
    strides = np.array([-size, SKEW * width * lanes + 1, width * lanes, lanes], np.int64)
    offsets = np.zeros(padded(len(around.contexts)), np.int64)
    weights = np.zeros(offsets.size, np.uint16)
    offsets[: len(around.contexts)] = around.contexts @ strides
    weights[: len(around.weights)] = around.weights
    reciprocal = (1 << 16) // max(sum(around.weights) + around.expected, 1)
    return Geometry(layout, strides, offsets, weights, reciprocal)


@helper
def carry_planes(array, layout, lattice):
    """Put the last two planes of a full band before those of the next one."""
    lanes, width = layout.lanes, layout.width
    row = width * lanes
    from_plane = SKEW * layout.planes * row + layout.planes
    for y in range(lattice.ny + 2 * HALO):
        for j in range(layout.history):
            at = np.uint64((y + SKEW * j) * row + j)
            source = at + np.uint64(from_plane)
            for _ in range(width):
                array[at] = array[source]
                at += np.uint64(lanes)
                source += np.uint64(lanes)


@helper
def forget_planes(magnitudes, layout):
    """Those of the planes of a full band count 0 until they are decoded; those before are left."""
    at, lanes = np.uint64(layout.history), np.uint64(layout.lanes)
    zero = np.uint8(0)
    for _ in range(layout.size // layout.lanes):
        magnitudes[at] = zero
        magnitudes[at + np.uint64(1)] = zero
        magnitudes[at + np.uint64(2)] = zero
        magnitudes[at + np.uint64(3)] = zero
        magnitudes[at + np.uint64(4)] = zero
        magnitudes[at + np.uint64(5)] = zero
        magnitudes[at + np.uint64(6)] = zero
        magnitudes[at + np.uint64(7)] = zero
        at += lanes


@helper
def put_volume_before(array, layout, lattice, t, first, natural):
    """Put the part that a band looks at of the volume before t, if they follow one another, behind it."""
    lanes, width, history = layout.lanes, layout.width, layout.history
    ny, nx = lattice.ny, lattice.nx
    if lattice.coupled == 0 or t == 0:
        return
    ahead = lanes - history - layout.planes
    back = 1 if history > 0 else 0
    for j in range(-back, layout.planes + ahead):
        z = min(max(first + j, 0), lattice.nz - 1)
        for y in range(-1, ny + 1):
            inside = min(max(y, 0), ny - 1)
            source = lattice.base + (t - 1) * lattice.st + z * lattice.sz + inside * lattice.sy
            at = layout.size + ((y + HALO + SKEW * (j + history)) * width + HALO) * lanes + j + history
            array[at - lanes] = natural[source]
            target, origin = np.uint64(at), np.uint64(source)
            for _ in range(nx):
                array[target] = natural[origin]
                target += np.uint64(lanes)
                origin += np.uint64(1)
            array[target] = natural[source + nx - 1]


def places_of(taps: np.ndarray, lattice: Lattice, found: Geometry) -> np.ndarray:
    """Offsets of ``taps`` (stencils, K, 4) in the band."""
    size = (1 + lattice.coupled) * found.layout.size
    return np.where(taps[:, :, 0] == BESIDE, size, taps @ found.strides)


@helper
def put_beside(array, layout, lattice, t, first, natural, aside):
    """Put what lies ``aside`` from a field's values behind its band."""
    for j in range(min(layout.planes, lattice.nz - first)):
        plane = lattice.base + aside + t * lattice.st + (first + j) * lattice.sz
        for y in range(lattice.ny):
            at = ((y + HALO + SKEW * (j + layout.history)) * layout.width + HALO) * layout.lanes
            at += (1 + lattice.coupled) * layout.size + j + layout.history
            target, source = np.uint64(at), np.uint64(plane + y * lattice.sy)
            for _ in range(lattice.nx):
                array[target] = natural[source]
                target += np.uint64(layout.lanes)
                source += np.uint64(1)


@merged
def take_lanes(run, length, count, lanes, dense):
    """Copy the ``count`` planes of a ``run`` of ``length`` places to a ``dense`` array.

    Eight at a time are written out, so that they are one vector.
    """
    source, pitch = np.uint64(0), np.uint64(lanes)
    if count == WAVE:
        for i in range(np.uint64(length)):
            at = np.uint64(WAVE) * i
            _copy_eight(run, source, dense, at)
            source += pitch
    else:
        condense(run, length, count, lanes, dense)


@merged
def put_lanes(dense, length, count, lanes, run):
    """The reverse of `take_lanes`."""
    target, pitch = np.uint64(0), np.uint64(lanes)
    if count == WAVE:
        for i in range(np.uint64(length)):
            _copy_eight(dense, np.uint64(WAVE) * i, run, target)
            target += pitch
    else:
        spread(dense, length, count, lanes, run)


@merged
def _copy_eight(source, start, target, at):
    v0, v1 = source[start], source[start + np.uint64(1)]
    v2, v3 = source[start + np.uint64(2)], source[start + np.uint64(3)]
    v4, v5 = source[start + np.uint64(4)], source[start + np.uint64(5)]
    v6, v7 = source[start + np.uint64(6)], source[start + np.uint64(7)]
    target[at] = v0
    target[at + np.uint64(1)] = v1
    target[at + np.uint64(2)] = v2
    target[at + np.uint64(3)] = v3
    target[at + np.uint64(4)] = v4
    target[at + np.uint64(5)] = v5
    target[at + np.uint64(6)] = v6
    target[at + np.uint64(7)] = v7


@helper
def put_rows(array, dense, j0, j1, y0, base, layout, first, lattice):
    """Put the rows of a step into the buffer of the band, and their edges into its halo."""
    lanes, nx, width = layout.lanes, lattice.nx, layout.width
    active, row = j1 - j0, layout.width * layout.lanes
    put_lanes(dense, nx, active, lanes, array[base + j0 + layout.history :])
    for h in range(1, HALO + 1):
        for lane in range(j0 + layout.history, j1 + layout.history):
            array[base - h * lanes + lane] = array[base + lane]
            array[base + (nx - 1 + h) * lanes + lane] = array[base + (nx - 1) * lanes + lane]
    for j in range(j0, j1):
        z, y = first + j, y0 - SKEW * (j - j0)
        at = base - HALO * lanes + j + layout.history
        above = HALO if y == 0 and lattice.ny > 1 else 0  # nothing looks beyond a single row
        below = HALO if y == lattice.ny - 1 and lattice.ny > 1 else 0
        for k in range((layout.history if z == 0 else 0) + 1):
            for h in range(-above, below + 1):
                if k > 0 or h != 0:
                    _copy_lane(array, at, at + (h - k * SKEW) * row - k, lanes, width)


@helper
def _copy_lane(array, source, target, lanes, width):
    source, target = np.uint64(source), np.uint64(target)
    for _ in range(width):
        array[target] = array[source]
        source += np.uint64(lanes)
        target += np.uint64(lanes)


@helper
def put_natural(natural, dense, t, first, j0, j1, y0, lattice):
    """Put the rows of a step where they lie in the field's buffer."""
    active = j1 - j0
    for k in range(active):
        start = lattice.base + t * lattice.st + (first + j0 + k) * lattice.sz + (y0 - SKEW * k) * lattice.sy
        row = natural[start : start + lattice.nx]
        source = np.uint64(k)
        for i in range(row.size):
            row[i] = dense[source]
            source += np.uint64(active)
