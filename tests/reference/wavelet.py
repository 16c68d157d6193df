"""The wavelet family: section 4.3 of FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reference.passes import (
    RASTER_CONTEXT,
    Axes3,
    Known,
    Step,
    context_around,
    looks_before,
    reaching,
)
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
    for band in bands(known.values.shape[1:]):
        yield from coefficients(known, band)
    predicted = known.values.copy()
    invert(predicted)
    known.reset(values_quantizer)
    context = reaching(RASTER_CONTEXT, known.values.shape)
    nt, *lengths = known.values.shape
    for t, z, y, x in known.order(nt, *map(range, lengths)):
        total, weight = context_around(known, context, (t, z, y), x)
        before = value_before(known, (0, 0, 0), (t, z, y), x)
        looks = looks_before(known, (t, z, y, x), (1, 1, 1, 1), known.values.shape, before, (t, z, y, x))
        yield Step((t, z, y, x), (t, z, y, x), 0, total, weight, predicted[t, z, y, x], looks)


def value_before(known: Known, corner: Axes3, row: Axes3, x: int) -> np.floating:
    """The value before in the row; or the first of the row, plane, volume before; or low.

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
    return known.values[t - 1, z, y, x] if t else known.quantizer.low


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
    context = reaching(RASTER_CONTEXT, known.values.shape)
    weight = 4 + 2 + 2 * sum(context.values()) + (4 if band.parent else 0)
    zero = known.values.dtype.type(0)
    for t, *point in known.order(known.values.shape[0], *band.box):
        total = 0
        for offset, tap_weight in context.items():
            place = [c + d for c, d in zip((t, *point), offset, strict=True)]
            if all(0 <= c < n for c, n in zip(place, known.values.shape, strict=True)):
                total += 2 * tap_weight * known.magnitudes[tuple(place)]
        z, y, x = point
        for k, left in ((1, 4), (2, 2)):
            if x - k in band.box[2]:
                total += left * known.magnitudes[t, z, y, x - k]
        if band.parent:
            place = []
            for c, own, parent in zip(point, band.box, band.parent, strict=True):
                i = (c - own[0]) // (2 if len(own) > len(parent) else 1)
                place.append(parent[min(i, len(parent) - 1)])
            total += 4 * known.magnitudes[(t, *place)]
        corner = tuple(own[0] for own in band.box)
        before = value_before(known, corner, (t, z, y), x)
        looks = looks_before(known, (t, z, y, x), (1, 1, 1, 1), known.values.shape, before, (t, z, y, x))
        place = (t, *(c - first for c, first in zip(point, corner, strict=True)))
        yield Step((t, z, y, x), place, band.group, total, weight, zero, looks)


def invert(values: np.ndarray) -> None:
    """Undo all halvings of the coefficients (t, z, y, x), in place."""
    _, nz, ny, nx = values.shape
    z_lengths, rows, columns = halvings(nz, 9), halvings(ny, 5), halvings(nx, 5)
    boxes = [(1, (n, ny, nx)) for n in z_lengths[:-1]]
    for level in range(max(len(rows), len(columns)) - 1):
        box = (nz, rows[min(level, len(rows) - 1)], columns[min(level, len(columns) - 1)])
        boxes += [(2, box)] * (level < len(rows) - 1) + [(3, box)] * (level < len(columns) - 1)
    for axis, (z, y, x) in reversed(boxes):
        lines = np.moveaxis(values[:, :z, :y, :x], axis, 0)
        lines[...] = unhalved(lines)


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
