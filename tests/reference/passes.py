"""The points of a tile in the order of their codes: what is predicted for each, and its context cell.

Folding and plans (FORMAT.md, sections 3 and 4), and the activity of section 6; multigrid.py, raster.py and
wavelet.py are the families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
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
    points: int  # in its row
    ahead: Callable[[int], int]  # that total of the point so many places on, of finished rows alone


COMPONENTS = 3


def fold(shape: tuple[int, ...], way: int) -> Point:
    if way == COMPONENTS:
        lengths = [n for n in shape[:-1] if n != 1]
        nz, ny, nx = ([1, 1, 1, *lengths])[-3:]
        return prod(shape[-1:]) * prod(lengths[:-3]), nz, ny, nx
    lengths = [n for n in shape if n != 1]
    lengths = [1] * (2 - len(lengths)) + lengths
    *leading, ny, nx = lengths
    if way == 0:
        return 1, prod(leading), ny, nx
    if way == 1:
        return prod(leading[:-1]), prod(leading[-1:]), ny, nx
    return prod(leading), 1, ny, nx


def in_order_of_fold(values: np.ndarray, shape: tuple[int, ...], way: int) -> np.ndarray:
    """``values`` (..., values of a tile)"""
    if way != COMPONENTS or not shape:
        return values
    moved = np.moveaxis(values.reshape(*values.shape[:-1], *shape), -1, values.ndim - 1)
    return moved.reshape(values.shape)


def in_c_order(values: np.ndarray, shape: tuple[int, ...], way: int) -> np.ndarray:
    if way != COMPONENTS or not shape:
        return values.reshape(shape)
    return np.moveaxis(values.reshape(shape[-1], *shape[:-1]), 0, -1)


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


# Orders, and what is around a point

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


def in_turn(nt: int, *places: range) -> Iterator[tuple[object, Point]]:
    """The points of a pass in C order; a batch is a plane."""
    for point in product(range(nt), *places):
        yield point[:2], point


def side_by_side(nt: int, *places: range) -> Iterator[tuple[object, Point]]:
    """The batches and points (t, z, y, x) of a pass whose points look at their rows: eight planes at a time,
    each two rows behind the one before. ``places`` are the coordinates along z, y and x."""
    planes, rows, columns = places
    for t in range(nt):
        for first in range(0, len(planes), 8):
            together = planes[first : first + 8]
            for step in range(len(rows) + 2 * (len(together) - 1)):
                active = [
                    (z, rows[step - 2 * j]) for j, z in enumerate(together) if 0 <= step - 2 * j < len(rows)
                ]
                for x in columns:
                    for z, y in active:
                        yield (t, first, step), (t, z, y, x)


def reaching(weights: dict, lengths: Sequence[int]) -> dict:
    """Without the offsets along axes of one point."""
    return {
        offset: weight
        for offset, weight in weights.items()
        if all(d == 0 or n > 1 for d, n in zip(offset, lengths, strict=True))
    }


def distance(offset: Axes3) -> int:
    return sum(map(abs, offset))


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
    total, weights = finished_around(known, context, row, x, box), sum(context.values())
    if known.mixed:
        left, left2 = (known.magnitudes[(*row, x - k)] if x >= k else 0 for k in (1, 2))
        total, weights = total + 2 * left + left2, weights + 3
    return total, weights


def finished_around(
    known: Known, context: dict[Point, int], row: Axes3, x: int, box: Sequence[range] = ()
) -> int:
    """That sum, of rows that are decoded."""
    box = box or [range(n) for n in known.values.shape[1:]]
    total = 0
    for offset, weight in context.items():
        if row[0] + offset[0] >= 0:
            place = nearest(box, row, x, offset)
            if place[:3] < row:
                total += weight * known.magnitudes[place]
    return total


def nearest(box: Sequence[range], row: Axes3, x: int, offset: Point) -> Point:
    """The point at ``offset``, or the nearest in the box; never outside along t."""
    t, *place = (c + d for c, d in zip((*row, x), offset, strict=True))
    z, y, x = (min(max(i, inside[0]), inside[-1]) for i, inside in zip(place, box, strict=True))
    return t, z, y, x
