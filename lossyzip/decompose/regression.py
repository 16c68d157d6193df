"""Raster stencils: each value from its causal neighbours, the previous time step among them.

One pass over the whole tile. Rows that lack a previous row, plane or volume have stencils of their
own. A stencil is fitted where that pays, to usual taps or to more of them in the volume before; otherwise
it is the Lorenzo predictor (Ibarria et al., 2003) along the axes that have a neighbour.
docs/FORMAT.md, "Raster".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lossyzip.decompose.buffer import (
    BESIDE,
    Around,
    Buffer,
    Grid,
    Pass,
    Visit,
    pack_contexts,
    pack_stencils,
    padded,
)
from lossyzip.decompose.fold import Fold, Shape4
from lossyzip.decompose.guide_taps import HERE, GuideWeights, Place, Table, added, read_entry, write_entry
from lossyzip.decompose.rows import Quantizer
from lossyzip.decompose.stencil import Weights
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.errors import CorruptError

CLASSES = 8  # of rows, see rows.row_class
GROUPS = 1  # of context cells
CODES = 1  # for each value
HALO = 3
_AHEAD = 1  # rows further, in the plane before: as many as are decoded by then, see band.SKEW
_LEFT, _LEFT2 = (0, 0, 0, -1), (0, 0, 0, -2)
_CONTEXT = {
    (0, 0, -1, 0): 2,
    (0, 0, -1, 1): 1,
    (0, 0, -1, -1): 1,
    (0, -1, 0, 0): 2,
    (0, -1, 0, 1): 1,
    (0, -1, 0, -1): 1,
    (0, -1, 1, 0): 1,
    (0, -1, -1, 0): 1,
    (-1, 0, 0, 0): 2,
}


@dataclass(frozen=True)
class Raster:
    """``weights[c]`` serves the rows of class c; how many there are says which taps. None, or as many as no
    taps here, is Lorenzo.

    ``still``: nothing is predicted, every value is coded as it is, and what its neighbours are is known to
    the contexts alone. That is best for sparse fields and for those with plateaus and steep fronts.
    ``beside``: weights of taps into so many ``guides`` for the rows of each class, if there are any.
    """

    fold: Fold
    weights: tuple[Weights | None, ...] = (None,) * CLASSES
    still: bool = False
    guides: int = 0
    beside: tuple[GuideWeights | None, ...] = (None,) * CLASSES
    name = "raster"

    def write(self, writer: BitWriter) -> None:
        writer.bits(self.fold, 2)
        writer.bits(self.still, 1)
        for weights, taps in () if self.still else zip(self.weights, self.beside, strict=True):
            writer.bits(weights is not None, 1)
            if weights is not None:
                writer.bits(len(weights.parameters), 6)
                weights.write(writer)
            write_entry(writer, taps, self.guides)

    @classmethod
    def read(cls, reader: BitReader, guides: int = 0) -> Raster:
        how = reader.bits(2)
        if how > max(Fold):
            raise CorruptError(f"raster with fold {how}")
        if reader.bits(1):
            return cls(Fold(how), still=True, guides=guides)
        weights, beside = [], []
        for _ in range(CLASSES):
            weights.append(Weights.read(reader, reader.bits(6) + 1) if reader.bits(1) else None)
            beside.append(read_entry(reader, guides))
        return cls(Fold(how), tuple(weights), False, guides, tuple(beside))

    def stencil(self, row_class: int, field: Shape4) -> tuple[np.ndarray, np.ndarray]:
        """The taps (K, 4) that serve the rows of a class, and their weights, float64."""
        fitted, (usual, *_) = self.weights[row_class], class_taps(row_class, field)
        if self.still:
            return usual.offsets, np.zeros(len(usual.offsets))
        for taps in class_taps(row_class, field):
            if fitted is not None and len(fitted.parameters) + 1 == len(taps.offsets):
                return taps.offsets, fitted.of_taps(np.arange(len(taps.offsets)))
        return usual.offsets, usual.lorenzo


@dataclass(frozen=True)
class Taps:
    """``offsets`` (K, 4) as (t, z, y, x), the first being the value to the left; Lorenzo weights (K,)."""

    offsets: np.ndarray
    lorenzo: np.ndarray


def class_taps(row_class: int, field: Shape4) -> tuple[Taps, ...]:
    """Causal neighbours of the rows of a class: the usual ones; if there are volumes before, these and others
    there that share an edge with the point, and these and those that share a corner."""
    several = not row_class & 4 and field.z > 1  # a plane before may as well be one of the same volume
    reach = (1, 2, 3) if several else (1,)
    return tuple(_class_taps(row_class, field.z > 1, field.y > 1, before) for before in reach)


@lru_cache(maxsize=64)
def _class_taps(row_class: int, planes: bool, rows: bool, before: int) -> Taps:
    has_t, has_z, has_y = not row_class & 4, planes and not row_class & 2, rows and not row_class & 1
    reach, distance = (2, 3) if planes else (3, 4)
    offsets = [_LEFT, _LEFT2]
    for offset in itertools.product(range(-reach, 1), range(-reach, _AHEAD + 1), range(-reach, reach + 1)):
        z, y, _ = offset
        if offset >= (0, 0, 0) or sum(map(abs, offset)) > distance or (z == 0 and y == 0):
            continue
        if (z < 0 and not has_z) or (y != 0 and not rows) or (z == 0 and y < 0 and not has_y):
            continue
        offsets.append((0, *offset))
    for steps in [(0, 1), (2,), (3,)][:before] if has_t else []:
        for z, y, x in itertools.product((-1, 0, 1), repeat=3):
            if abs(z) + abs(y) + abs(x) in steps and (planes or not z) and (rows or not y):
                offsets.append((-1, z, y, x))
    return Taps(np.array(offsets, np.int64), np.array([_lorenzo(o, has_z, has_y) for o in offsets]))


def _lorenzo(offset: tuple[int, ...], has_z: bool, has_y: bool) -> float:
    t, z, y, x = offset
    inside = t == 0 and -int(has_z) <= z <= 0 and -int(has_y) <= y <= 0 and -1 <= x <= 0
    return (1.0 if (z + y + x) % 2 else -1.0) if inside else 0.0


def row_classes(field: Shape4) -> list[int]:
    """The row classes that occur."""
    flags = [
        (0, 4) if field.t > 1 else (4,),
        (0, 2) if field.z > 1 else (2,),
        (0, 1) if field.y > 1 else (1,),
    ]
    return [sum(flag) for flag in itertools.product(*flags)]


def rows_of_class(field: Shape4, row_class: int) -> int:
    lacking = (row_class & 4, row_class & 2, row_class & 1)
    t, z, y = (1 if lack else n - 1 for n, lack in zip(field[:3], lacking, strict=True))
    return t * z * y


def context_places(field: Shape4) -> dict[tuple[int, int, int, int], int]:
    """The weight of each place whose code counts among those around a value, in finished rows.

    The one in the volume before, if there are several, comes last.
    """
    return {
        place: weight
        for place, weight in _CONTEXT.items()
        if all(n > 1 for o, n in zip(place, field, strict=True) if o)
    }


def context_taps(grid: Grid, coupled: bool = True) -> list[tuple[int, int]]:
    """(offset, weight) of the same in a buffer's first part; without volumes before unless ``coupled``."""
    here = grid.at(0)
    shape = grid.shape if coupled else grid.shape._replace(t=1)
    return [(grid.at(0, *place) - here, weight) for place, weight in context_places(shape).items()]


def around(
    field: Shape4,
    taps: list[np.ndarray],
    weight: int = 1,
    expected: int = 0,
    predicted: bool = False,
    beside: bool = False,
) -> Around:
    """What the ``taps`` (K, 4) of each stencil and contexts look at; their weights count ``weight`` times."""
    places = context_places(field)
    width = padded(max(map(len, taps), default=0))
    packed = np.zeros((len(taps), width, 4), np.int64)
    for k, offsets in enumerate(taps):
        packed[k, : len(offsets)] = offsets
    weights = tuple(weight * w for w in places.values())
    return Around(
        packed, np.array(list(places), np.int64).reshape(-1, 4), weights, expected, predicted, beside
    )


def sweep(
    plan: Raster,
    field: Shape4,
    rule: Quantizer,
    visit: Visit,
    source: np.ndarray | None = None,
    _fitter: None = None,
    mixed: bool = False,
    into: np.ndarray | None = None,
    guides: np.ndarray | None = None,
    unseen: bool = False,
) -> np.ndarray:
    """Visit the one pass; return the reconstructed tile, folded. Both directions are this function.

    Mixed coding (``mixed``) needs a halo around the values; the kernels of static coding have their own, and
    put the values ``into`` a flat array, if there is one. ``guides`` (guides, t, z, y, x) in the field's
    dtype are what taps may reach into: what they add to each prediction does not depend on any code, and is
    one more tap, of weight 1.
    """
    dtype = rule.step.dtype
    grid = Grid(1, field, HALO if mixed else 0, field)
    helped = guides is not None and any(plan.beside)
    place = None if mixed or helped else into
    kept = not mixed and (unseen or place is not None)  # what comes back is not the room itself
    buffer = Buffer(grid, dtype, place, beside=int(helped), kept="raster" if kept else None)
    if guides is not None and helped:
        buffer.view(buffer.beside[0], 0, field)[...] = _added(plan, field, guides)
    visit(buffer, _passes(plan, grid, dtype, helped), rule, source)
    return buffer.view(buffer.values, 0, field)


@lru_cache(maxsize=32)
def _passes(plan: Raster, grid: Grid, dtype: np.dtype, helped: bool) -> tuple[Pass, ...]:
    """The one."""
    field, here = grid.shape, grid.at(0)
    taps_used: list[np.ndarray] = []
    stencils: list[tuple[np.ndarray, np.ndarray]] = []
    of_class, running = [0] * CLASSES, []
    for row_class in row_classes(field):
        taps, weights = plan.stencil(row_class, field)
        used = np.flatnonzero(weights[2:]) + 2
        places, own = taps[used], weights[used]
        offsets = np.array([grid.at(0, *taps[k]) - here for k in used], np.int64)
        if helped:
            places, own = np.vstack([places, [(BESIDE, 0, 0, 0)]]), np.append(own, 1.0)
            offsets = np.append(offsets, grid.part_size)
        taps_used.append(places)
        of_class[row_class] = len(stencils)
        stencils.append((offsets, own))
        running.append(weights[:2])
    contexts = pack_contexts(context_taps(grid), 0, 2, 1, int(field.t > 1))
    packed = pack_stencils(stencils, dtype, of_class, np.array(running))
    lattice = grid.lattice(0, field, field, Shape4(0, 0, 0, 0), 1, coupled=field.t > 1)
    surroundings = around(field, taps_used, beside=helped)
    return (Pass(lattice, packed, contexts, grid.looks(), surroundings),)


def _added(plan: Raster, field: Shape4, guides: np.ndarray) -> np.ndarray:
    """What taps into ``guides`` add to the prediction of each value."""
    found: list[tuple[list[tuple[int, Place]], np.ndarray]] = []
    of_class = [0] * CLASSES
    for row_class in row_classes(field):
        beside = plan.beside[row_class]
        of_class[row_class] = len(found)
        if beside is None:
            found.append(([], np.zeros(0)))
        else:
            taps, weights = plan.stencil(row_class, field)
            places = [(t, z, y, x) for t, z, y, x in taps.tolist()]
            found.append(beside.taps(guide_table(row_class, field), places, weights.tolist()))
    return added(guides, found, of_class, coupled=field.t > 1)


@lru_cache(maxsize=64)
def guide_table(row_class: int, field: Shape4) -> Table:
    """Kinds of taps into guides: the point, the usual ones of the stencil, the rest of the cube around it."""
    usual, *_ = class_taps(row_class, field)
    places: list[Place] = [HERE, *((t, z, y, x) for t, z, y, x in usual.offsets.tolist())]
    for z, y, x in itertools.product((-1, 0, 1), repeat=3):
        if (0, z, y, x) not in places and not (z and field.z == 1) and not (y and field.y == 1):
            places.append((0, z, y, x))
    return tuple(((place, 1),) for place in places)
