"""The multigrid family: section 4.1 of FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from math import ceil

import numpy as np

from reference.passes import (
    Axes3,
    Entry,
    Known,
    Point,
    Step,
    Table,
    distance,
    looks_before,
    prediction_sum,
    reaching,
    read_parameters,
    read_taps,
    taps_into,
    weights_of,
)
from reference.readers import Bits

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
        points = lengths_here[3]
        total, weight = sum(row), len(lefts)
        yield Step(("anchors", batch), point, place, 5, total, weight, prediction, looks, points, nothing)


def nothing(_ahead: int) -> int:
    return 0


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
            ahead = partial(self.around, known, context, t, point)
            values = [known.values[self.at(t, point, taps[k])] for k in used]
            values += [known.guides[(guide, *self.at(t, point, at[1:]))] for guide, at, _ in into]
            place = (t, *(here // 2 for here in point))
            yield Step(
                (self.level, self.parity, t, point[0]),
                self.at(t, point, (0, 0, 0)),
                place,
                group,
                ahead(0),
                sum(context.values()),
                prediction_sum(weights, values),
                self.looks(known, t, point, place),
                len(places[2]),
                ahead,
            )

    def around(self, known: Known, context: dict[Axes3, int], t: int, point: list[int], ahead: int) -> int:
        total, here = 0, [*point[:2], point[2] + 2 * ahead]
        for offset, weight in context.items():
            before_first = any(d == -2 and c < 2 for d, c in zip(offset, here, strict=True))
            total += 0 if before_first else weight * known.magnitudes[self.at(t, here, offset)]
        return total

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
