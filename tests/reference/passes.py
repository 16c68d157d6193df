"""The points of a tile in the order of their codes: what is predicted for each, and its context cell.

Folding, plans, multigrid and raster (FORMAT.md, sections 3 and 4), and the activity of section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from reference.codes import OUTLIER_MAGNITUDE
from reference.quantizer import Quantizer
from reference.readers import Bits

Point = tuple[int, int, int, int]  # (t, z, y, x); offsets too
Axes3 = tuple[int, int, int]


Order = Callable[
    ..., Iterator[tuple[object, Point]]
]  # batches and points of a pass that may look at its rows


class Step(NamedTuple):
    """What is known of a point before its code."""

    batch: object  # differs from one batch to the next
    point: Point
    place: Point  # in its pass
    group: int
    total: int  # of magnitudes around, weighted
    weight: int  # the sum of their weights
    prediction: np.floating  # sum
    looks: list[np.floating]  # for mixed codes


def fold(shape: tuple[int, ...], way: int) -> Point:
    lengths = [n for n in shape if n != 1]
    lengths = [1] * (2 - len(lengths)) + lengths
    *leading, ny, nx = lengths
    if way == 0:
        return 1, prod(leading), ny, nx
    if way == 1:
        return prod(leading[:-1]), prod(leading[-1:]), ny, nx
    return prod(leading), 1, ny, nx


class Known:
    """What is decoded so far of a folded tile, and how the next code is to be read."""

    def __init__(
        self,
        shape: Point,
        dtype: np.dtype,
        quantizer: Quantizer,
        mixed: bool,
        guides: np.ndarray | None = None,
    ) -> None:
        self.guides = np.zeros((0, *shape), dtype) if guides is None else guides.reshape(-1, *shape)
        self.values, self.magnitudes = np.zeros(shape, dtype), np.zeros(shape, int)
        self.quantizer = quantizer
        self.mixed = mixed
        self.order: Order = in_turn if mixed else side_by_side

    def reset(self, quantizer: Quantizer) -> None:
        self.__init__(self.values.shape, self.values.dtype, quantizer, self.mixed, self.guides)

    def add(self, point: Point, value: np.floating, magnitude: int) -> None:
        self.values[point] = value
        self.magnitudes[point] = min(magnitude, OUTLIER_MAGNITUDE)


# 4. Plans


def read_parameters(bits: Bits) -> list[float] | None:
    """What a plan says of one stencil: None where it has no weights for it."""
    if not bits.take(1):
        return None
    count, precision, k = bits.take(6), bits.take(2), bits.take(4)
    return [bits.signed(k) / 2 ** (5, 7, 9, 12)[precision] for _ in range(count)]


Entry = list[dict[int, float]] | None  # for each guide the weight of each kind
Table = list[list[tuple[Point, int]]]  # the kinds from 1 on


def read_taps(bits: Bits, guides: int) -> Entry:
    """A guide entry."""
    if not guides or not bits.take(1):
        return None
    precision, k = bits.take(2), bits.take(4)
    entry: list[dict[int, float]] = [{} for _ in range(guides)]
    for weights in entry:
        kind = -1
        for _ in range(bits.rice(2)):
            kind += 1 + bits.rice(2)
            weights[kind] = bits.signed(k) / 2 ** (5, 7, 9, 12)[precision]
    return entry


def taps_into(
    entry: Entry, table: Table, stencil: list[tuple[Point, float]]
) -> list[tuple[int, Point, float]]:
    """(guide, place, weight not yet rounded) of each tap; ``stencil``: the target's own."""
    weights: dict[tuple[int, Point], float] = {}
    for guide, kinds in enumerate(entry or []):
        for kind, weight in kinds.items():
            places = [(table[kind - 1])] if 0 < kind <= len(table) else []
            added = [(place, sign * weight) for places_of in places for place, sign in places_of]
            if kind == 0 and stencil:
                added = [((0, 0, 0, 0), weight), *((place, -(weight * own)) for place, own in stencil)]
            for place, share in added:
                weights[guide, place] = weights.get((guide, place), 0.0) + share
    return [(*where, weights[where]) for where in sorted(weights) if weights[where]]


def weights_of(parameters: list[float], groups: list[int]) -> np.ndarray:
    """The weight of each tap, whose group is ``groups[tap]``, in float64."""
    rest = 1.0
    for group, parameter in enumerate(parameters, start=1):
        rest -= groups.count(group) * parameter
    by_group = [rest / groups.count(0), *parameters]
    return np.array([by_group[group] for group in groups])


def prediction_sum(weights: np.ndarray, values: list[np.floating]) -> np.floating:
    zero = weights.dtype.type(0)
    products = [w * v for w, v in zip(weights, values, strict=True)]
    products += [zero] * (-len(products) % 8)
    total = zero
    for k in range(0, len(products), 8):
        p = products[k : k + 8]
        total = (total + ((p[0] + p[4]) + (p[1] + p[5]))) + ((p[2] + p[6]) + (p[3] + p[7]))
    return total


# 4.1 Multigrid

PHASES: tuple[Axes3, ...] = ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))


def multigrid(known: Known, plan: bytes) -> Iterator[Step]:
    bits = Bits(plan)
    bits.take(2)  # fold
    levels, fitted = bits.take(5), bits.take(5)
    entries, beside = {}, {}
    for level, phase in product(range(1, fitted + 1), range(7)):
        entries[level, phase] = read_parameters(bits)
        beside[level, phase] = read_taps(bits, len(known.guides))
    yield from anchors(known, 2**levels)
    for level in range(levels, 0, -1):
        lattice = [ceil(n / 2 ** (level - 1)) for n in known.values.shape[1:]]
        classes: list[Axes3] = [(0, 0, 0)]
        for phase, parity in enumerate(PHASES):
            if all(n > p for n, p in zip(lattice, parity, strict=True)):
                of_levels = (entries[coarser, phase] for coarser in range(level, fitted + 1))
                parameters = next((found for found in of_levels if found is not None), None)
                of_levels = (beside[coarser, phase] for coarser in range(level, fitted + 1))
                taps = next((found for found in of_levels if found is not None), None)
                yield from Phase(level, parity, classes, lattice).steps(known, parameters, taps)
                classes.append(parity)


def in_turn(nt: int, *places: range) -> Iterator[tuple[object, Point]]:
    """The points of a pass in C order; a batch is a plane."""
    for point in product(range(nt), *places):
        yield point[:2], point


def side_by_side(nt: int, *places: range) -> Iterator[tuple[object, Point]]:
    """The batches and points (t, z, y, x) of a pass whose points look at their rows: eight planes at a time,
    each three rows behind the one before. ``places`` are the coordinates along z, y and x."""
    planes, rows, columns = places
    for t in range(nt):
        for first in range(0, len(planes), 8):
            together = planes[first : first + 8]
            for step in range(len(rows) + 3 * (len(together) - 1)):
                active = [
                    (z, rows[step - 3 * j]) for j, z in enumerate(together) if 0 <= step - 3 * j < len(rows)
                ]
                for x in columns:
                    for z, y in active:
                        yield (t, first, step), (t, z, y, x)


def anchors(known: Known, stride: int) -> Iterator[Step]:
    nt, *lengths = known.values.shape
    for batch, (t, z, y, x) in known.order(nt, *(range(0, n, stride) for n in lengths)):
        before = (t, z, y, x - stride) if x else (t, z, y - stride, 0) if y else (t, z - stride, 0, 0)
        prediction = known.values[before] if x or y or z else known.quantizer.low
        lefts = (1, 2) if known.mixed else ()
        row = [known.magnitudes[t, z, y, x - k * stride] for k in lefts if x >= k * stride]
        point = (t, z, y, x)
        lengths_here = (nt, *(ceil(n / stride) for n in lengths))
        looks = looks_before(known, point, (1, stride, stride, stride), lengths_here, prediction, point)
        looks = [prediction, *looks[:3]]
        place = (t, z // stride, y // stride, x // stride)
        yield Step(("anchors", batch), point, place, 5, sum(row), len(lefts), prediction, looks)


class Phase:
    """The points of one ``parity`` on a ``lattice`` (its lengths), in units of whose stride all is counted.

    ``classes`` are the parities that are decoded.
    """

    def __init__(self, level: int, parity: Axes3, classes: list[Axes3], lattice: list[int]) -> None:
        self.level, self.parity, self.classes, self.lattice = level, parity, classes, lattice
        self.odd = [axis for axis in range(3) if parity[axis]]

    def class_of(self, offset: Axes3) -> Axes3:
        z, y, x = ((p + d) & 1 for p, d in zip(self.parity, offset, strict=True))
        return z, y, x

    def offsets(self, radius: int, most: int) -> list[Axes3]:
        """Those of decoded points, in the order of taps."""
        return [
            offset
            for offset in product(range(-radius, radius + 1), repeat=3)
            if distance(offset) <= most
            and self.class_of(offset) in self.classes
            and all(d == 0 or n > 1 for d, n in zip(offset, self.lattice, strict=True))
        ]

    def at(self, t: int, point: list[int], offset: Axes3) -> Point:
        """In the tile: the point at ``offset``, or the nearest of its class."""
        place = []
        for here, d, n in zip(point, offset, self.lattice, strict=True):
            last = n - 1 - (n - 1 - here - d) % 2  # of this parity
            place.append(min(max(here + d, (here + d) % 2), last) * 2 ** (self.level - 1))
        return (t, *place)

    def groups(self, taps: list[Axes3]) -> list[Axes3]:
        mirrored = {tuple(map(abs, offset)) for offset in taps}
        return sorted(mirrored, key=lambda g: (sum(g), max(g), g[self.odd[-1]] != 1, g))

    def table(self, taps: list[Axes3]) -> Table:
        """Kinds of taps into guides."""
        kinds = [[(0, 0, 0)]]
        kinds += [[o for o in taps if tuple(map(abs, o)) == group] for group in self.groups(taps)]
        others = [
            offset
            for offset in product((-1, 0, 1), repeat=3)
            if offset not in ((0, 0, 0), *taps)
            and all(d == 0 or n > 1 for d, n in zip(offset, self.lattice, strict=True))
        ]
        for group in sorted({tuple(map(abs, offset)) for offset in others}):
            kinds.append([offset for offset in others if tuple(map(abs, offset)) == group])
        table = [[((0, *offset), 1) for offset in kind] for kind in kinds]
        for axis in range(3):
            if self.lattice[axis] > 1:
                ends = [tuple(d if a == axis else 0 for a in range(3)) for d in (-1, 1)]
                table.append([((0, *end), sign) for end, sign in zip(ends, (-1, 1), strict=True)])
        return table

    def weights(self, parameters: list[float] | None, taps: list[Axes3]) -> np.ndarray:
        mirrored, groups = [tuple(map(abs, offset)) for offset in taps], self.groups(taps)
        if parameters is not None and len(parameters) == len(groups) - 1:
            return weights_of(parameters, [groups.index(group) for group in mirrored])
        cubic = {1: 9 / 16 / len(self.odd), 3: -1 / 16 / len(self.odd)}
        straight = [any(sum(group) == group[axis] for axis in self.odd) for group in mirrored]
        weights = [cubic[sum(g)] if along else 0.0 for g, along in zip(mirrored, straight, strict=True)]
        return np.array(weights)

    def context(self) -> dict[Axes3, int]:
        """Weights of the magnitudes around."""
        weights = {}
        for offset in self.offsets(1, 3):
            of_distance = (3, 2, 1) if self.class_of(offset) == (0, 0, 0) else (8, 4, 2)
            weights[offset] = of_distance[distance(offset) - 1]
        weights[-2, 0, 0] = 4
        return reaching(weights, [ceil(n / 2) for n in self.lattice])

    def steps(self, known: Known, parameters: list[float] | None, beside: Entry) -> Iterator[Step]:
        taps, context = self.offsets(3, 3), self.context()
        weights = self.weights(parameters, taps)
        used = np.flatnonzero(weights)
        stencil = [((0, *taps[k]), float(weights[k])) for k in used]
        into = taps_into(beside, self.table(taps), stencil)
        weights = np.array([*weights[used], *(weight for *_, weight in into)]).astype(known.values.dtype)
        group = {1: len(self.odd) - 1, 2: 3}.get(self.level, 4)
        places = [range(p, n, 2) for p, n in zip(self.parity, self.lattice, strict=True)]
        for t, *point in product(range(known.values.shape[0]), *places):
            total = 0
            for offset, weight in context.items():
                before_first = any(d == -2 and here < 2 for d, here in zip(offset, point, strict=True))
                total += 0 if before_first else weight * known.magnitudes[self.at(t, point, offset)]
            values = [known.values[self.at(t, point, taps[k])] for k in used]
            values += [known.guides[(guide, *self.at(t, point, at[1:]))] for guide, at, _ in into]
            place = (t, *(here // 2 for here in point))
            yield Step(
                (self.level, self.parity, t, point[0]),
                self.at(t, point, (0, 0, 0)),
                place,
                group,
                total,
                sum(context.values()),
                prediction_sum(weights, values),
                self.looks(known, t, point, place),
            )

    def looks(self, known: Known, t: int, point: list[int], place: Point) -> list[np.floating]:
        """Both neighbours along each odd axis, x first; then those of `looks_before`."""
        pairs = []
        for axis in reversed(self.odd):
            for d in (-1, 1):
                offset = tuple(d if a == axis else 0 for a in range(3))
                pairs.append(known.values[self.at(t, point, offset)])
        _, z, y, x = place
        rows = [*point[:1], point[1] - 2, self.parity[2]] if y else [point[0] - 2, *self.parity[1:]]
        if x:
            before = known.values[self.at(t, point, (0, 0, -2))]
        elif y or z:
            before = known.values[self.at(t, rows, (0, 0, 0))]
        else:
            before = known.quantizer.low
        stride = 2**self.level
        lengths = (known.values.shape[0], *(ceil(n / 2) for n in self.lattice))
        here = self.at(t, point, (0, 0, 0))
        return (pairs + looks_before(known, here, (1, stride, stride, stride), lengths, before, place))[:4]


def reaching(weights: dict, lengths: Sequence[int]) -> dict:
    """Without the offsets along axes of one point."""
    return {
        offset: weight
        for offset, weight in weights.items()
        if all(d == 0 or n > 1 for d, n in zip(offset, lengths, strict=True))
    }


def distance(offset: Axes3) -> int:
    return sum(map(abs, offset))


# 4.2 Raster

RASTER_CONTEXT = {
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


def raster(known: Known, plan: bytes) -> Iterator[Step]:
    bits = Bits(plan)
    bits.take(2)  # fold
    still = bits.take(1)
    entries, beside = [], []
    for _ in range(8):
        entries.append(None if still else read_parameters(bits))
        beside.append(None if still else read_taps(bits, len(known.guides)))
    helped = any(entry is not None for entry in beside)
    nt, nz, ny, nx = shape = known.values.shape
    context = reaching(RASTER_CONTEXT, shape)
    zero = known.values.dtype.type(0)

    for batch, (t, z, y, x) in known.order(nt, range(nz), range(ny), range(nx)):
        row_class = 4 * (t == 0) + 2 * (z == 0) + (y == 0)
        taps = raster_taps(row_class, nz, ny)
        exact = raster_weights(entries[row_class], taps, row_class)
        weights = exact.astype(known.values.dtype)
        used = [k for k in range(2, len(taps)) if weights[k] != 0]
        before = (t, z, y - 1, 0) if y else (t, z - 1, 0, 0) if z else (t - 1, 0, 0, 0)
        before_row = known.values[before] if t or z or y else known.quantizer.low
        total, all_weights = context_around(known, context, (t, z, y), x)
        values = [known.values[nearest([range(n) for n in shape[1:]], (t, z, y), x, taps[k])] for k in used]
        own = weights[used]
        if helped:
            stencil = [] if beside[row_class] is None else list(zip(taps, map(float, exact), strict=True))
            into = taps_into(beside[row_class], raster_table(taps, nz, ny), stencil)
            there = [nearest([range(n) for n in shape[1:]], (t, z, y), x, at) for _, at, _ in into]
            near = [known.guides[(guide, *at)] for (guide, *_), at in zip(into, there, strict=True)]
            shares = np.array([weight for *_, weight in into]).astype(known.values.dtype)
            values.append(prediction_sum(shares, near))
            own = np.append(own, own.dtype.type(1))
        prediction = prediction_sum(own, values)
        b1, b2 = (known.values[t, z, y, x - k] if x >= k else before_row for k in (1, 2))
        prediction = (prediction + weights[1] * b2) + weights[0] * b1
        point = (t, z, y, x)
        looks = looks_before(known, point, (1, 1, 1, 1), shape, b1, point)
        yield Step(batch, point, point, 0, total, all_weights, zero if still else prediction, looks)


def looks_before(
    known: Known, point: Point, strides: Point, lengths: Point, before: np.floating, place: Point
) -> list[np.floating]:
    """``before``, which is the value before in the row; the values before along y, z and t.

    ``place`` tells where the first row, plane and volume are, ``lengths`` which axes have one point only.
    """
    looks = [before]
    for axis in (2, 1, 0):
        earlier = tuple(c - strides[a] if a == axis else c for a, c in enumerate(point))
        if lengths[axis] == 1 or (axis == 0 and place[0] == 0):
            looks.append(looks[-1])
        else:
            looks.append(known.values[earlier] if place[axis] else known.values.dtype.type(0))
    return looks


def context_around(
    known: Known, context: dict[Point, int], row: Axes3, x: int, box: Sequence[range] = ()
) -> tuple[int, int]:
    """The weighted sum of magnitudes around a point, and the sum of their weights. ``box``: of the pass."""
    t = row[0]
    box = box or [range(n) for n in known.values.shape[1:]]
    total, weights = 0, sum(context.values())
    if known.mixed:
        left, left2 = (known.magnitudes[(*row, x - k)] if x >= k else 0 for k in (1, 2))
        total, weights = 2 * left + left2, weights + 3
    for offset, weight in context.items():
        dt = offset[0]
        if t + dt >= 0:
            place = nearest(box, row, x, offset)
            if place[:3] < row:  # that row is decoded
                total += weight * known.magnitudes[place]
    return total, weights


def nearest(box: Sequence[range], row: Axes3, x: int, offset: Point) -> Point:
    """The point at ``offset``, or the nearest in the box; never outside along t."""
    t, *place = (c + d for c, d in zip((*row, x), offset, strict=True))
    z, y, x = (min(max(i, inside[0]), inside[-1]) for i, inside in zip(place, box, strict=True))
    return t, z, y, x


def raster_taps(row_class: int, nz: int, ny: int) -> list[Point]:
    r, most = (2, 3) if nz > 1 else (3, 4)
    taps = [(0, 0, 0, -1), (0, 0, 0, -2)]
    for dz, dy, dx in product(range(-r, 1), range(-r, r + 1), range(-r, r + 1)):
        near = (dz, dy, dx) < (0, 0, 0) and distance((dz, dy, dx)) <= most and (dz, dy) != (0, 0)
        beyond = (dz < 0 and row_class & 2) or (dz == 0 and dy < 0 and row_class & 1) or (dy and ny == 1)
        if near and not beyond:
            taps.append((0, dz, dy, dx))
    for dz, dy, dx in product((-1, 0, 1), repeat=3):
        near = distance((dz, dy, dx)) <= 1 and not (dz and nz == 1) and not (dy and ny == 1)
        if near and not row_class & 4:
            taps.append((-1, dz, dy, dx))
    return taps


def raster_table(taps: list[Point], nz: int, ny: int) -> Table:
    places = [(0, 0, 0, 0), *taps]
    for dz, dy, dx in product((-1, 0, 1), repeat=3):
        if (0, dz, dy, dx) not in places and not (dz and nz == 1) and not (dy and ny == 1):
            places.append((0, dz, dy, dx))
    return [[(place, 1)] for place in places]


def raster_weights(parameters: list[float] | None, taps: list[Point], row_class: int) -> np.ndarray:
    if parameters is not None and len(parameters) == len(taps) - 1:
        return weights_of(parameters, list(range(len(taps))))
    first_z, first_y = (0 if row_class & 2 else -1), (0 if row_class & 1 else -1)
    lorenzo = []
    for dt, dz, dy, dx in taps:
        corner = dt == 0 and first_z <= dz <= 0 and first_y <= dy <= 0 and -1 <= dx <= 0
        lorenzo.append((1 if (dz + dy + dx) % 2 else -1) if corner else 0)
    return np.array(lorenzo, float)
