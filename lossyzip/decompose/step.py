"""The rows of one step of a band: where they are, room for what is computed of them, and what is known of
them before they are coded: contexts, from magnitudes around them, and predictions, but for what lies in them.

docs/FORMAT.md, "Order".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, merged
from lossyzip.decompose.band import SKEW, take_lanes
from lossyzip.decompose.batch import cells_of, sum_magnitudes
from lossyzip.decompose.parents import parent_shift, parents_of_row
from lossyzip.decompose.rows import SWEEP, Stencils, predict_row, row_class


class Places(NamedTuple):
    """Stencils and contexts, in the layout."""

    stencils: Stencils
    offsets: np.ndarray  # (C,) int64 of context taps, padded
    weights: np.ndarray  # (C,) uint16
    reciprocal: int
    cell: int


class Place(NamedTuple):
    """The rows of a step: those of planes j0 to j1 of the band whose first plane is ``first``."""

    t: int
    first: int
    j0: int
    j1: int
    y0: int  # the row of plane j0; that of each next plane is SKEW less
    base: int  # of x = 0 in the buffer


class Step(NamedTuple):
    """Room for what is computed of the rows at one step; *dense* is (x, plane), as in batch.py.

    There may be more than a pass needs, but for `total`.
    """

    total: np.ndarray  # a run: sums of taps
    activity: np.ndarray  # a run, uint16
    scratch: np.ndarray  # a run, float32
    bits: np.ndarray  # the same as int32
    cell_run: np.ndarray  # a run, uint8
    cell: np.ndarray  # dense, uint8
    sums: np.ndarray  # dense: predictions but for the values before in the row
    wanted: np.ndarray  # dense: the values to code
    recon: np.ndarray  # dense
    steps: np.ndarray  # dense: codes in the field's dtype
    code: np.ndarray  # dense, int32
    code_rows: np.ndarray  # the same, row by row
    magnitude: np.ndarray  # dense, uint8
    token: np.ndarray  # dense, uint8
    running: np.ndarray  # (5, planes): see `predict_step`, and the two values before while a row is coded


@merged
def find_cells(step, place, magnitudes, sizes, layout, parent, places, lattice):
    """Fill the step's cells."""
    t, first, j0, j1, y0, base = place
    lanes, nx = layout.lanes, lattice.nx
    activity = step.activity[: nx * lanes]
    sum_magnitudes(activity, magnitudes, base, places.offsets, places.weights)
    if parent.ny > 0:
        weight, last, shift = np.uint16(layout.expected), parent.nx - 1, parent_shift(parent, lattice)
        for j in range(j0, j1):
            source = parents_of_row(parent, lattice, t, first + j, y0 - SKEW * (j - j0))
            above = sizes[source : source + parent.nx]
            target = np.uint64(j + layout.history)
            for i in range(nx):
                activity[target] += np.uint16(weight * above[min(i >> shift, last)])
                target += np.uint64(lanes)
    cells_of(activity, places.reciprocal, places.cell, step.scratch, step.bits, step.cell_run)
    take_lanes(step.cell_run[j0 + layout.history :], nx, j1 - j0, lanes, step.cell)


@helper
def predict_step(step, place, values, layout, places, lattice, low):
    """Fill the step's sums and, as `running`, the weights of the two values before in each row, and what
    stands for these before its first."""
    t, first, j0, j1, y0, base = place
    lanes, nx = layout.lanes, lattice.nx
    stencils = places.stencils
    common = stencils.of_class[row_class(t, np.int64(lattice.nz > 1), np.int64(1), lattice.coupled)]
    predict_row(step.total, values, base, stencils, common)
    for j in range(j0, j1):
        z, y = first + j, y0 - SKEW * (j - j0)
        which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
        if which != common:
            _predict_plane(step.total, j + layout.history, lanes, values, base, stencils, which)
        step.running[0, j - j0] = stencils.running[which, 0]
        step.running[1, j - j0] = stencils.running[which, 1]
        step.running[2, j - j0] = _value_before(values, base, j, layout, t, z, y, lattice.coupled, low)
    take_lanes(step.total[j0 + layout.history :], nx, j1 - j0, lanes, step.sums)


@helper
def _predict_plane(total, j, lanes, values, base, stencils, which):
    """`predict_row` for the row of one plane of a step."""
    number = total.dtype.type
    for at in range(j, total.size, lanes):
        total[at] = number(0)
    offsets, weights = stencils.offsets[which], stencils.weights[which]
    for first in range(0, stencils.taps[which], SWEEP):
        o = offsets[first : first + SWEEP]
        w = weights[first : first + SWEEP]
        for at in range(j, total.size, lanes):
            p = base + at
            total[at] = (
                total[at]
                + (
                    (w[0] * values[p + o[0]] + w[4] * values[p + o[4]])
                    + (w[1] * values[p + o[1]] + w[5] * values[p + o[5]])
                )
                + (
                    (w[2] * values[p + o[2]] + w[6] * values[p + o[6]])
                    + (w[3] * values[p + o[3]] + w[7] * values[p + o[7]])
                )
            )


@helper
def _value_before(values, base, j, layout, t, z, y, coupled, low):
    """What stands for the values before the first of a row: see `rows.value_before_row`."""
    here = base + j + layout.history
    if y > 0:
        return values[here - layout.width * layout.lanes]
    if z > 0:
        return values[here - SKEW * layout.width * layout.lanes - 1]
    if t > 0 and coupled == 1:
        return values[here + layout.size]
    return low
