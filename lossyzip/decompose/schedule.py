"""The passes that one call of a kernel of wave.py goes through, as arrays, and the room that they take.

All of it follows from the tile's shape and the plan: it is made once and kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossyzip._jit import inlined, merged
from lossyzip.decompose.band import Layout, geometry, places_of
from lossyzip.decompose.buffer import Pass, stacked
from lossyzip.decompose.parents import Parent
from lossyzip.decompose.rows import Stencils
from lossyzip.decompose.step import Places, Step
from lossyzip.kept import apart, kept_room

_NO_PARENT = Parent(0, 0, 0)


class Schedule(NamedTuple):
    """A row a pass."""

    numbers: np.ndarray  # (passes, n) int64: the lattice first, the layout, the parent, what `Places` has
    offsets: np.ndarray  # (passes, C) int64 of context taps, padded
    weights: np.ndarray  # (passes, C) uint16
    stencils: Stencils  # of all passes, in the layout


class Extent(NamedTuple):
    """How much room the largest pass takes."""

    run: int
    dense: int
    planes: int
    values: int
    magnitudes: int


@lru_cache(maxsize=64)
def schedule_of(passes: tuple[Pass, ...], part_size: int) -> tuple[Schedule, Extent]:
    """Those of ``passes``, over one buffer with parts of ``part_size``.

    One that has stencils with taps is alone.
    """
    numbers, offsets, weights, extents = [], [], [], []
    stencils = passes[0].stencils
    for here in passes:
        assert here.around is not None
        found = geometry(here.lattice, here.around, part_size)
        layout, lattice = found.layout, here.lattice
        in_rows = lattice.fx == 1 and not here.stencils.taps.any() and not here.stencils.running_weights
        if not here.around.predicted and not in_rows:
            assert len(passes) == 1
            layout = layout._replace(tapped=1)
            stencils = stencils._replace(offsets=places_of(here.around.taps, lattice, found))
        layout = layout._replace(kept=int(here.seen))
        parent = here.parent or _NO_PARENT
        taps = found.offsets.size
        numbers.append((*lattice, *layout, *parent, taps, found.reciprocal, here.contexts.cell))
        offsets.append(found.offsets)
        weights.append(found.weights)
        size = layout.size * (1 + lattice.coupled)
        run, dense = lattice.nx * layout.lanes, lattice.nx * layout.planes
        values = size + layout.beside * layout.size if layout.tapped else 1
        extents.append((run, dense, layout.planes, values, size))
    rows = np.array(numbers, np.int64)
    schedule = Schedule(rows, stacked(offsets), stacked(weights), stencils)
    return schedule, Extent(*np.max(extents, axis=0).tolist())


def room_of(extent: Extent, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, Step]:
    """Values and magnitudes of a band, both zeros, and the room for its steps."""
    run, dense = extent.run, extent.dense
    scratch = np.empty(run, np.float32)
    step = Step(
        np.empty(run, dtype),
        np.empty(run, np.uint16),
        scratch,
        scratch.view(np.int32),
        np.empty(run, np.uint8),
        np.empty(dense, np.uint8),
        np.empty(dense, dtype),
        np.empty(dense, dtype),
        np.empty(dense, dtype),
        np.empty(dense, dtype),
        np.empty(dense, np.int32),
        np.empty(dense, np.int32),
        np.empty(dense, np.uint8),
        np.empty(dense, np.uint8),
        apart((5, extent.planes), dtype),
    )
    values = kept_room("band values", extent.values, dtype)
    magnitudes = kept_room("band magnitudes", extent.magnitudes, np.dtype(np.uint8))
    values[:], magnitudes[:] = 0, 0
    return values, magnitudes, step


@merged
def layout_of(schedule, k):
    """That of the k-th pass."""
    n = schedule.numbers[k]
    return Layout(n[17], n[18], n[19], n[20], n[21], n[22], n[23], n[24], n[25], n[26], n[27])


@merged
def parent_of(schedule, k):
    """That of the k-th pass; without rows where it has none."""
    n = schedule.numbers[k]
    return Parent(n[28], n[29], n[30])


@inlined
def places_in(schedule, k):
    """The stencils and contexts of the k-th pass."""
    n = schedule.numbers[k]
    taps = n[31]
    return Places(schedule.stencils, schedule.offsets[k, :taps], schedule.weights[k, :taps], n[32], n[33])
