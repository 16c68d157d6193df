"""The wavelet family: section 4.3 of FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from reference.passes import (
    RASTER_CONTEXT,
    Axes3,
    Entry,
    Known,
    Step,
    Table,
    context_around,
    looks_before,
    nearest,
    prediction_sum,
    reaching,
    read_taps,
    taps_into,
)
from reference.raster import around
from reference.readers import Bits

A, B, G, D = -1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971
K = 1.149604398860098


@dataclass
class Band:
    box: tuple[range, range, range]  # z, y, x
    group: int
    parent: tuple[range, range, range] | None


def halvings(length: int, shortest: int) -> list[int]:
    lengths = [length]
    while lengths[-1] >= shortest:
        lengths.append((lengths[-1] + 1) // 2)
    return lengths


def wavelet(known: Known, plan: bytes) -> Iterator[Step]:
    bits = Bits(plan)
    bits.take(2)  # fold
    values_quantizer = known.quantizer
    known.quantizer = values_quantizer.for_coefficients(bits.take(8))
    entries = [read_taps(bits, len(known.guides)) for _ in range(7)]
    for band in bands(known.values.shape[1:]):
        yield from coefficients(known, band)
    predicted = known.values + expected(known, entries)
    transform(predicted, inverse=True)
    known.reset(values_quantizer)
    nt, *lengths = known.values.shape
    context = reaching(RASTER_CONTEXT, (1, *lengths))
    for batch, (t, z, y, x) in known.order(nt, *map(range, lengths)):
        total, weight = context_around(known, context, (t, z, y), x)
        before = value_before(known, (0, 0, 0), (t, z, y), x)
        looks = looks_before(known, (t, z, y, x), (1, 1, 1, 1), (1, *lengths), before, (t, z, y, x))
        point = (t, z, y, x)
        ahead = partial(around, known, context, (t, z, y), x)
        values = predicted[point]
        yield Step(("values", batch), point, point, 0, total, weight, values, looks, lengths[2], ahead)


def value_before(known: Known, corner: Axes3, row: Axes3, x: int) -> np.floating:
    """The value before in the row; or the first of the row, plane before; or low.

    The pass begins at (z, y, x) of ``corner``.
    """
    t, z, y = row
    first_z, first_y, first_x = corner
    if x > first_x:
        return known.values[t, z, y, x - 1]
    if y > first_y:
        return known.values[t, z, y - 1, x]
    if z > first_z:
        return known.values[t, z - 1, y, x]
    return known.quantizer.low


def bands(lengths: Axes3) -> Iterator[Band]:
    nz, ny, nx = lengths
    rows, columns = halvings(ny, 5), halvings(nx, 5)
    depth = max(len(rows), len(columns)) - 1
    rows += rows[-1:] * (depth + 1 - len(rows))
    columns += columns[-1:] * (depth + 1 - len(columns))

    def part(lengths: list[int], level: int, high: int) -> range:
        return range(lengths[level + 1], lengths[level]) if high else range(lengths[level + 1])

    for start, end in pairwise([0, *reversed(halvings(nz, 9))]):
        z = range(start, end)
        yield Band((z, range(rows[depth]), range(columns[depth])), 7, None)
        for level in reversed(range(depth)):
            for high_y, high_x in ((0, 1), (1, 0), (1, 1)):
                box = (z, part(rows, level, high_y), part(columns, level, high_x))
                parent = None
                if level + 1 < depth:
                    parent = (z, part(rows, level + 1, high_y), part(columns, level + 1, high_x))
                if all(box):
                    group = 1 + min(level, 2) + (3 if start else 0)
                    yield Band(box, group, parent if parent and all(parent) else None)


def coefficients(known: Known, band: Band) -> Iterator[Step]:
    lengths = known.values.shape[1:]
    context = {offset: 2 * weight for offset, weight in reaching(RASTER_CONTEXT, (1, *lengths)).items()}
    zero = known.values.dtype.type(0)
    for batch, (t, *point) in known.order(known.values.shape[0], *band.box):
        z, y, x = point
        if known.mixed:
            total, weight = mixed_context(known, context, band, (t, z, y, x))
        else:
            total, weight = context_around(known, context, (t, z, y), x, band.box)
        if band.parent:
            weight += 4
            total += 4 * of_parent(known, band, (t, z, y, x))
        corner = tuple(own[0] for own in band.box)
        before = value_before(known, corner, (t, z, y), x)
        looks = looks_before(known, (t, z, y, x), (1, 1, 1, 1), (1, *lengths), before, (t, z, y, x))
        place = (t, *(c - first for c, first in zip(point, corner, strict=True)))
        points, ahead = len(band.box[2]), partial(around_coefficient, known, context, band, (t, z, y, x))
        about = total, weight, zero, looks, points, ahead
        yield Step((corner, batch), (t, z, y, x), place, band.group, *about)


def of_parent(known: Known, band: Band, point: tuple[int, ...]) -> int:
    """The magnitude of the parent of a coefficient."""
    place = []
    for c, own, parent in zip(point[1:], band.box, band.parent, strict=True):
        i = (c - own[0]) // (2 if len(own) > len(parent) else 1)
        place.append(parent[min(i, len(parent) - 1)])
    return known.magnitudes[(point[0], *place)]


def around_coefficient(
    known: Known,
    context: dict[tuple[int, ...], int],
    band: Band,
    point: tuple[int, ...],
    ahead: int,
) -> int:
    """Of mixed codes, what finished rows and the parent say of the coefficient so many places on."""
    moved = (*point[:3], point[3] + ahead)
    return any_band_around(known, context, moved) + (4 * of_parent(known, band, moved) if band.parent else 0)


def any_band_around(known: Known, context: dict[tuple[int, ...], int], point: tuple[int, ...]) -> int:
    total = 0
    for offset, weight in context.items():
        place = tuple(c + d for c, d in zip(point, offset, strict=True))
        if all(0 <= c < n for c, n in zip(place, known.values.shape, strict=True)):
            total += weight * known.magnitudes[place]
    return total


def mixed_context(
    known: Known, context: dict[tuple[int, ...], int], band: Band, point: tuple[int, ...]
) -> tuple[int, int]:
    """Neighbours count whichever band they are in; those before in the row if they are in this one."""
    total = any_band_around(known, context, point)
    t, z, y, x = point
    for k, left in ((1, 4), (2, 2)):
        if x - k in band.box[2]:
            total += left * known.magnitudes[t, z, y, x - k]
    return total, 4 + 2 + sum(context.values())


def expected(known: Known, entries: list[Entry]) -> np.ndarray:
    """What taps into guides say of all coefficients."""
    lengths = known.values.shape[1:]
    found = np.zeros_like(known.values)
    table: Table = [[((0, 0, 0, 0), 1)]]
    for axis, n in enumerate(lengths):
        if n > 1:
            behind, ahead = ((0, *(d if a == axis else 0 for a in range(3))) for d in (-1, 1))
            table += [[(behind, 1), (ahead, 1)], [(behind, -1), (ahead, 1)]]
    for group, entry in enumerate(entries, start=1):
        taps = taps_into(entry, table, [])
        weights = np.array([weight for *_, weight in taps]).astype(found.dtype)
        grid = np.zeros_like(found)
        for t, z, y, x in np.ndindex(*grid.shape) if taps else ():
            places = [nearest([range(n) for n in lengths], (t, z, y), x, at) for _, at, _ in taps]
            near = [known.guides[(guide, *at)] for (guide, *_), at in zip(taps, places, strict=True)]
            grid[t, z, y, x] = prediction_sum(weights, near)
        transform(grid, inverse=False)
        grid[~np.isfinite(grid)] = 0
        for band in bands(lengths):
            if band.group == group:
                box = tuple(slice(r.start, r.stop) for r in band.box)
                found[:, *box] = grid[:, *box]
    return found


def transform(values: np.ndarray, inverse: bool) -> None:
    """Do all halvings of (t, z, y, x), or undo them, in place."""
    _, nz, ny, nx = values.shape
    z_lengths, rows, columns = halvings(nz, 9), halvings(ny, 5), halvings(nx, 5)
    boxes = [(1, (n, ny, nx)) for n in z_lengths[:-1]]
    for level in range(max(len(rows), len(columns)) - 1):
        box = (nz, rows[min(level, len(rows) - 1)], columns[min(level, len(columns) - 1)])
        boxes += [(2, box)] * (level < len(rows) - 1) + [(3, box)] * (level < len(columns) - 1)
    for axis, (z, y, x) in reversed(boxes) if inverse else boxes:
        lines = np.moveaxis(values[:, :z, :y, :x], axis, 0)
        lines[...] = unhalved(lines) if inverse else halved(lines)


def halved(lines: np.ndarray) -> np.ndarray:
    """Of lines along the first axis."""
    number = lines.dtype.type
    s, d = lines[0::2].copy(), lines[1::2].copy()

    def predict(constant: float) -> np.ndarray:
        i = np.arange(len(d))
        return d + number(constant) * (s[i] + s[np.minimum(i + 1, len(s) - 1)])

    def update(constant: float) -> np.ndarray:
        i = np.arange(len(s))
        return s + number(constant) * (d[np.maximum(i - 1, 0)] + d[np.minimum(i, len(d) - 1)])

    d = predict(A)
    s = update(B)
    d = predict(G)
    s = update(D)
    return np.concatenate([s * number(K), d * number(1.0 / K)])


def unhalved(lines: np.ndarray) -> np.ndarray:
    """Of lines along the first axis."""
    number, lows = lines.dtype.type, (len(lines) + 1) // 2
    s, d = lines[:lows] * number(1.0 / K), lines[lows:] * number(K)

    def update(low: np.ndarray, constant: float) -> np.ndarray:
        last, i = len(d) - 1, np.arange(len(low))
        return low + -number(constant) * (d[np.maximum(i - 1, 0)] + d[np.minimum(i, last)])

    def predict(high: np.ndarray, constant: float) -> np.ndarray:
        last, i = len(s) - 1, np.arange(len(high))
        return high + -number(constant) * (s[i] + s[np.minimum(i + 1, last)])

    s = update(s, D)
    d = predict(d, G)
    s = update(s, B)
    d = predict(d, A)
    out = np.empty_like(lines)
    out[0::2], out[1::2] = s, d
    return out
