"""Fitted multigrid: values are interpolated level by level, from coarse to fine.

A level of stride s knows the points whose coordinates are multiples of 2 s, and adds those of the
seven other parity classes (phases) of stride s, one pass each. A phase is predicted from all points
known by then within an L1 distance of three; by cubic interpolation, unless fitted weights pay.
The phases of a level lie in separate arrays, so that every tap is read with unit stride.
Follows the interpolation of SZ3 (Zhao et al., ICDE 2021); fitted weights are ours.
docs/FORMAT.md, "Multigrid".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from lossyzip.decompose.buffer import Around, Buffer, Grid, Pass, Visit, pack_contexts, pack_stencils, padded
from lossyzip.decompose.fold import Fold, Shape4
from lossyzip.decompose.guide_taps import HERE, GuideWeights, Kind, Table, pairs, read_entry, write_entry
from lossyzip.decompose.planes import join
from lossyzip.decompose.rows import CELLS, HALF_SWEEP, Contexts, Lattice, Quantizer, Stencils
from lossyzip.decompose.stencil import Weights
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.errors import CorruptError

Axes3 = tuple[int, int, int]
PHASES: tuple[Axes3, ...] = ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))
GROUPS = 6  # of context cells: finest level by odd axes, the next, all coarser, anchors
CODES = 1  # for each value
_REACH = 3
_CUBIC = {1: 9.0 / 16.0, 3: -1.0 / 16.0}
_MOST_LEVELS = 30


@dataclass(frozen=True)
class Multigrid:
    """How a field is interpolated. Level l has stride 2**(l - 1).

    ``weights[l - 1][p]`` serves phase p of level l; where it is None,
    what serves the same phase at the next coarser level, or cubic where nothing does.
    ``beside``: those of taps into so many ``guides``, in the same way, or none where nothing serves.
    """

    fold: Fold
    levels: int
    weights: tuple[tuple[Weights | None, ...], ...] = ()
    guides: int = 0
    beside: tuple[tuple[GuideWeights | None, ...], ...] = ()
    name = "multigrid"

    def write(self, writer: BitWriter) -> None:
        writer.bits(self.fold, 2)
        writer.bits(self.levels, 5)
        fitted = max(len(self.weights), len(self.beside))
        writer.bits(fitted, 5)
        none = ((None,) * len(PHASES),) * fitted
        for level, beside in zip((self.weights + none)[:fitted], (self.beside + none)[:fitted], strict=True):
            for weights, taps in zip(level, beside, strict=True):
                writer.bits(weights is not None, 1)
                if weights is not None:
                    writer.bits(len(weights.parameters), 6)
                    weights.write(writer)
                write_entry(writer, taps, self.guides)

    @classmethod
    def read(cls, reader: BitReader, guides: int = 0) -> Multigrid:
        how, levels = reader.bits(2), reader.bits(5)
        fitted = reader.bits(5)
        if how > max(Fold) or not 0 < levels <= _MOST_LEVELS:
            raise CorruptError(f"multigrid with fold {how} and {levels} levels")
        weights, beside = [], []
        for _ in range(fitted):
            level, taps = [], []
            for _ in PHASES:
                level.append(Weights.read(reader, reader.bits(6) + 1) if reader.bits(1) else None)
                taps.append(read_entry(reader, guides))
            weights.append(tuple(level))
            beside.append(tuple(taps))
        return cls(Fold(how), levels, tuple(weights), guides, tuple(beside) if guides else ())

    def weights_of(self, level: int, phase: int, parameters: int) -> Weights | None:
        """What serves a phase that takes ``parameters``; None: cubic."""
        own = (here[phase] for here in self.weights[level - 1 :])
        nearest = next((weights for weights in own if weights is not None), None)
        return nearest if nearest is not None and len(nearest.parameters) == parameters else None

    def beside_of(self, level: int, phase: int) -> GuideWeights | None:
        """What serves a phase's taps into guides."""
        own = (here[phase] for here in self.beside[level - 1 :])
        return next((weights for weights in own if weights is not None), None)


class Groups(NamedTuple):
    """Groups of taps that get weights: their ``numbers`` among all, which taps those are (``used``), the
    ``group`` of each, counted anew, and the ``sizes`` and ``cubic`` weights of the groups."""

    numbers: np.ndarray
    used: np.ndarray
    group: np.ndarray
    sizes: np.ndarray
    cubic: np.ndarray


@dataclass(frozen=True)
class Taps:
    """The taps of one phase: ``offsets`` (K, 3) in units of the level's stride, ``cubic`` weights (K,).

    ``groups`` (K,): taps that are mirror images share one; group 0 holds the nearest ones.
    """

    offsets: np.ndarray
    groups: np.ndarray
    cubic: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many taps share each group, (groups,) float64."""
        return np.bincount(self.groups).astype(np.float64)

    @cached_property
    def all_groups(self) -> Groups:
        return self._groups(np.arange(int(self.groups.max()) + 1))

    @cached_property
    def near_groups(self) -> Groups:
        """Without those of taps off the axes at distance three, of which there are many."""
        distance, largest = np.abs(self.offsets).sum(axis=1), np.abs(self.offsets).max(axis=1)
        return self._groups(np.unique(self.groups[(distance < 3) | (largest != 2)]))

    def _groups(self, numbers: np.ndarray) -> Groups:
        used = np.isin(self.groups, numbers)
        group = np.searchsorted(numbers, self.groups[used])
        sizes = np.bincount(group).astype(np.float64)
        return Groups(numbers, used, group, sizes, np.bincount(group, self.cubic[used]) / sizes)


def most_levels(shape: Shape4) -> int:
    """So many that about four anchors are left along the longest axis."""
    return max(1, (max(shape[1:]) - 1).bit_length() - 2)


@dataclass(frozen=True)
class PhasePass:
    """What a phase's pass needs that follows from the shape of the tile alone."""

    level: int
    phase: int
    lattice: Lattice
    taps: Taps
    offsets: np.ndarray  # of the taps in the buffer, (K,) int64
    contexts: Contexts
    looks: tuple[int, ...]
    grid: Grid
    flat: tuple[bool, bool, bool]  # axes of one point

    def beside(self, places: np.ndarray) -> np.ndarray:
        """Where, from a point, a first guide's values are that lie ``places`` (K, 4) strides from it; those
        of the next are `guide_size` further on."""
        parity = PHASES[self.phase]
        return _flat(self.grid, parity, places[:, 1:]) - self.grid.at(_part(parity)) + self.guide_size

    @property
    def guide_size(self) -> int:
        return self.grid.parts * self.grid.part_size

    @cached_property
    def guide_table(self) -> Table:
        """Kinds of taps into guides: the point, each group of taps that the stencil has, other neighbours
        that mirror each other, and differences along each axis."""
        kinds: list[Kind] = [((HERE, 1),)]
        own = [(0, z, y, x) for z, y, x in self.taps.offsets.tolist()]
        for group in range(self.parameters + 1):
            kinds.append(tuple((own[k], 1) for k in np.flatnonzero(self.taps.groups == group).tolist()))
        mirrored: dict[Axes3, list[tuple[int, int, int, int]]] = {}
        for z, y, x in itertools.product((-1, 0, 1), repeat=3):
            if any(n and one for n, one in zip((z, y, x), self.flat, strict=True)):
                continue
            if (z, y, x) != (0, 0, 0) and (0, z, y, x) not in own:
                mirrored.setdefault((abs(z), abs(y), abs(x)), []).append((0, z, y, x))
        kinds += [tuple((place, 1) for place in places) for _, places in sorted(mirrored.items())]
        kinds += pairs(self.flat)[2::2]
        return tuple(kinds)

    @property
    def parameters(self) -> int:
        """How many its weights have."""
        return int(self.taps.groups.max())

    def coded_by(self, fitted: Weights | None, beside: GuideWeights | None, dtype: np.dtype) -> Pass:
        """The pass, with these weights."""
        return Pass(self.lattice, _pack(self, fitted, beside, dtype), self.contexts, self.looks)


@dataclass(frozen=True)
class Level:
    """The passes of one level. ``known``: the points that are there before, in the first part of ``grid``."""

    known: Lattice
    grid: Grid
    phases: tuple[PhasePass, ...]


class Fitter(Protocol):
    """What finds weights while a sample is swept."""

    levels: int  # the finest ones: coarser ones get no weights

    def __call__(self, buffer: Buffer, here: PhasePass) -> tuple[Weights | None, GuideWeights | None]:
        """The weights that serve a phase, and those of its taps into guides."""


@lru_cache(maxsize=256)
def phase_taps(phase: int, known: tuple[Axes3, ...], flat: tuple[bool, bool, bool]) -> Taps:
    """Taps of a phase when the ``known`` parity classes are there; ``flat`` axes have one point only."""
    parity = PHASES[phase]
    offsets = [
        offset
        for offset in itertools.product(range(-_REACH, _REACH + 1), repeat=3)
        if sum(map(abs, offset)) <= _REACH
        and not any(o and f for o, f in zip(offset, flat, strict=True))
        and tuple((p + o) & 1 for p, o in zip(parity, offset, strict=True)) in known
    ]
    odd = [axis for axis in range(3) if parity[axis]]
    cubic = {}
    for axis in odd:
        for distance in (-3, -1, 1, 3):
            offset = tuple(distance if a == axis else 0 for a in range(3))
            cubic[offset] = _CUBIC[abs(distance)] / len(odd)
    shapes = sorted({tuple(map(abs, o)) for o in offsets}, key=lambda o: (sum(o), max(o), o[odd[-1]] != 1, o))
    group_of = {shape: k for k, shape in enumerate(shapes)}
    return Taps(
        np.array(offsets, np.int64),
        np.array([group_of[tuple(map(abs, o))] for o in offsets], np.int64),
        np.array([cubic.get(o, 0.0) for o in offsets]),
    )


def _phase_points(lattice: Shape4, parity: Axes3) -> Shape4:
    """How many points of a level's lattice have ``parity``."""
    return Shape4(lattice.t, *((n + 1 - p) // 2 for n, p in zip(lattice[1:], parity, strict=True)))


def _group(level: int, parity: Axes3) -> int:
    return sum(parity) - 1 if level == 1 else min(level, 3) + 1


def _context_taps(grid: Grid, part: int, parity: Axes3, known: tuple[Axes3, ...]) -> list[tuple[int, int]]:
    """Codes one stride away that are known, near ones and those of this level counting more; of the pass
    itself only the one in the plane before, so that a plane is a vector."""
    flat = tuple(n == 1 for n in grid.shape[1:])
    offsets, weights = _context_offsets(parity, known, (flat[0], flat[1], flat[2]))
    places = _flat(grid, parity, offsets) - grid.at(part)
    taps = list(zip(places.tolist(), weights, strict=True))
    if grid.shape.z > 1:
        taps.append((grid.at(part, 0, -1) - grid.at(part), 4))
    return taps


@lru_cache(maxsize=256)
def _context_offsets(
    parity: Axes3, known: tuple[Axes3, ...], flat: tuple[bool, bool, bool]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Offsets (K, 3) of the known points around one of ``parity``, and their weights."""
    offsets, weights = [], []
    for offset in itertools.product((-1, 0, 1), repeat=3):
        other = tuple((p + o) & 1 for p, o in zip(parity, offset, strict=True))
        distance = sum(map(abs, offset))
        if distance and other in known and not any(o and f for o, f in zip(offset, flat, strict=True)):
            offsets.append(offset)
            weights.append((8, 4, 2)[distance - 1] if any(other) else (3, 2, 1)[distance - 1])
    return np.array(offsets, np.int64).reshape(-1, 3), tuple(weights)


def _looks(grid: Grid, part: int, parity: Axes3) -> tuple[int, ...]:
    """Both neighbours along each odd axis, then those of `Grid.looks`."""
    units = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    odd = [unit for unit, p in zip(units, reversed(parity), strict=True) if p]
    offsets = np.array([np.array(unit) * sign for unit in odd for sign in (-1, 1)])
    return grid.looks(*(_flat(grid, parity, offsets) - grid.at(part)).tolist())


def _part(parity: tuple[int, ...]) -> int:
    return parity[0] * 4 + parity[1] * 2 + parity[2]


def _flat(grid: Grid, parity: Axes3, offsets: np.ndarray) -> np.ndarray:
    """Where the points lie that are ``offsets`` (K, 3) strides from the first point of ``parity``."""
    place = np.array(parity) + offsets
    part = (place & 1) @ np.array([4, 2, 1])
    return part * grid.part_size + grid.at(0) + (place >> 1) @ np.array(grid.strides[1:])


def sweep(
    plan: Multigrid,
    field: Shape4,
    rule: Quantizer,
    visit: Visit,
    source: np.ndarray | None = None,
    fitter: Fitter | None = None,
    mixed: bool = False,
    into: np.ndarray | None = None,
    guides: np.ndarray | None = None,
    unseen: bool = False,
) -> np.ndarray:
    """Visit every pass in order; return the reconstructed tile, folded. Both directions are this loop.

    If ``unseen``, nobody looks at it, and it need not be put together.

    ``fitter``, if given, is called before each pass of its levels and returns the weights that serve it
    (tuning); ``plan`` has none then.
    The values are put ``into`` a flat array, if there is one. ``mixed``: that is how they are coded.
    ``guides`` (guides, t, z, y, x) in the field's dtype are what taps may reach into.
    """
    dtype = rule.step.dtype
    stride = 1 << plan.levels
    grid, anchors = _anchors(field, stride, dtype)
    buffer = Buffer(grid, dtype)
    visit(buffer, anchors, rule, source)
    known = _passes(plan, field, dtype)
    for number, level in enumerate(_levels(field, plan.levels)):
        room = None if mixed else f"level {number % 2}"  # what mixed coding looks at starts as zeros
        finer = Buffer(level.grid, dtype, beside=0 if guides is None else len(guides), kept=room)
        if source is None and not mixed:
            finer.values.fill(np.nan)  # of what is not decoded, the encoder's values must not stand there
        for guide, beside in zip(() if guides is None else guides, finer.beside, strict=True):
            _split(guide, 1 << (plan.levels - number - 1), finer, beside)
        join(buffer.values, buffer.grid.layout, finer.values, level.known)
        join(buffer.magnitudes, buffer.grid.layout, finer.magnitudes, level.known)
        if fitter is not None and plan.levels - number <= fitter.levels:
            for here in level.phases:
                visit(finer, (here.coded_by(*fitter(finer, here), dtype),), rule, source)
        elif level.phases:
            visit(finer, known[number], rule, source)
        buffer = finer
    if unseen:
        return buffer.values
    whole = np.empty(field, dtype) if into is None else into.reshape(field)
    plain = Grid(1, field, 0, field).lattice(0, field, field, Shape4(0, 0, 0, 0), 1, coupled=False)
    join(buffer.values, buffer.grid.layout, whole.reshape(-1), plain)
    return whole


@lru_cache(maxsize=16)
def _levels(field: Shape4, levels: int) -> tuple[Level, ...]:
    """All levels, from coarse to fine."""
    found = []
    for level in range(levels, 0, -1):
        stride = 1 << (level - 1)
        known, points = _sublattice(field, 2 * stride), _sublattice(field, stride)
        grid = Grid(8, known, 2, points)
        classes: tuple[Axes3, ...] = ((0, 0, 0),)
        phases = []
        for phase, parity in enumerate(PHASES):
            size = _phase_points(points, parity)
            if 0 in size:
                continue
            taps = phase_taps(phase, classes, (points.z == 1, points.y == 1, points.x == 1))
            part = _part(parity)
            origin = Shape4(0, *(p * stride for p in parity))
            phases.append(
                PhasePass(
                    level,
                    phase,
                    grid.lattice(part, size, field, origin, 2 * stride, False),
                    taps,
                    _flat(grid, parity, taps.offsets) - grid.at(part),
                    pack_contexts(_context_taps(grid, part, parity, classes), _group(level, parity) * CELLS),
                    _looks(grid, part, parity),
                    grid,
                    (points.z == 1, points.y == 1, points.x == 1),
                )
            )
            classes = (*classes, parity)
        before = grid.lattice(0, known, field, Shape4(0, 0, 0, 0), 2 * stride, False)
        found.append(Level(before, grid, tuple(phases)))
    return tuple(found)


@lru_cache(maxsize=16)
def _passes(plan: Multigrid, field: Shape4, dtype: np.dtype) -> tuple[tuple[Pass, ...], ...]:
    """Of the phases of each level, in the order of `_levels`."""
    return tuple(
        tuple(
            here.coded_by(
                plan.weights_of(here.level, here.phase, here.parameters),
                plan.beside_of(here.level, here.phase),
                dtype,
            )
            for here in level.phases
        )
        for level in _levels(field, plan.levels)
    )


def _pack(here: PhasePass, fitted: Weights | None, beside: GuideWeights | None, dtype: np.dtype) -> Stencils:
    weights = here.taps.cubic if fitted is None else fitted.of_taps(here.taps.groups)
    used = np.flatnonzero(weights)
    offsets, weights = here.offsets[used], weights[used]
    if beside is not None:
        places = [(0, z, y, x) for z, y, x in here.taps.offsets[used].tolist()]
        taps, own = beside.taps(here.guide_table, places, weights.tolist())
        if taps:
            further = np.array([guide for guide, _ in taps]) * here.guide_size
            offsets = np.concatenate([offsets, here.beside(np.array([place for _, place in taps])) + further])
            weights = np.concatenate([weights, own])
    if missing := -offsets.size % HALF_SWEEP:  # 0 times what is not known yet might be NaN
        offsets = np.concatenate([offsets, np.repeat(offsets[:1], missing)])
        weights = np.concatenate([weights, np.zeros(missing)])
    return pack_stencils([(offsets, weights)], dtype)


def _split(guide: np.ndarray, stride: int, buffer: Buffer, into: np.ndarray) -> None:
    """Put a level's points of ``guide`` (t, z, y, x) into an array beside the buffer's values."""
    for z, y, x in itertools.product((0, 1), repeat=3):
        points = guide[:, z * stride :: 2 * stride, y * stride :: 2 * stride, x * stride :: 2 * stride]
        if points.size:
            shape = Shape4(*points.shape)
            buffer.view(into, _part((z, y, x)), shape)[...] = points
            buffer.extend(into, _part((z, y, x)), shape)


def _sublattice(field: Shape4, stride: int) -> Shape4:
    return Shape4(field.t, *(-(-n // stride) for n in field[1:]))


@lru_cache(maxsize=32)
def _anchors(field: Shape4, stride: int, dtype: np.dtype) -> tuple[Grid, tuple[Pass, ...]]:
    """The grid of the coarsest points, and the pass over them, each predicted by the one before it."""
    points = _sublattice(field, stride)
    grid = Grid(1, points, 2, points)
    lattice = grid.lattice(0, points, field, Shape4(0, 0, 0, 0), stride, coupled=False)
    none = (np.zeros(0, np.int64), np.zeros(0))
    stencils = pack_stencils([none], dtype, running=np.array([[1.0, 0.0]]))
    contexts = pack_contexts([], (GROUPS - 1) * CELLS, 1, 1)
    around = Around(np.zeros((1, padded(0), 4), np.int64), np.zeros((0, 4), np.int64), ())
    return grid, (Pass(lattice, stencils, contexts, grid.looks(0), around),)
