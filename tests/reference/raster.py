"""The raster family: section 4.2 of FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from reference.passes import (
    RASTER_CONTEXT,
    Axes3,
    Known,
    Point,
    Step,
    Table,
    context_around,
    distance,
    finished_around,
    looks_before,
    nearest,
    prediction_sum,
    reaching,
    read_parameters,
    read_taps,
    taps_into,
    weights_of,
)
from reference.readers import Bits


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
        taps, exact = raster_stencil(entries[row_class], row_class, nz, ny)
        weights = exact.astype(known.values.dtype)
        used = [k for k in range(2, len(taps)) if weights[k] != 0]
        before = (t, z, y - 1, 0) if y else (t, z - 1, 0, 0) if z else (t - 1, 0, 0, 0)
        before_row = known.values[before] if t or z or y else known.quantizer.low
        total, all_weights = context_around(known, context, (t, z, y), x)
        values = [known.values[nearest([range(n) for n in shape[1:]], (t, z, y), x, taps[k])] for k in used]
        own = weights[used]
        if helped:
            stencil = [] if beside[row_class] is None else list(zip(taps, map(float, exact), strict=True))
            into = taps_into(beside[row_class], raster_table(raster_taps(row_class, nz, ny), nz, ny), stencil)
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
        ahead = partial(around, known, context, (t, z, y), x)
        prediction = zero if still else prediction
        yield Step(batch, point, point, 0, total, all_weights, prediction, looks, nx, ahead)


def around(known: Known, context: dict[Point, int], row: Axes3, x: int, ahead: int) -> int:
    return finished_around(known, context, row, x + ahead)


def raster_taps(row_class: int, nz: int, ny: int, before: int = 1) -> list[Point]:
    """``before``: how far they reach in the volume before."""
    r, most = (2, 3) if nz > 1 else (3, 4)
    taps = [(0, 0, 0, -1), (0, 0, 0, -2)]
    for dz, dy, dx in product(range(-r, 1), range(-r, 2), range(-r, r + 1)):
        near = (dz, dy, dx) < (0, 0, 0) and distance((dz, dy, dx)) <= most and (dz, dy) != (0, 0)
        beyond = (dz < 0 and row_class & 2) or (dz == 0 and dy < 0 and row_class & 1) or (dy and ny == 1)
        if near and not beyond:
            taps.append((0, dz, dy, dx))
    for distances in [(0, 1), (2,), (3,)][:before]:
        for dz, dy, dx in product((-1, 0, 1), repeat=3):
            near = distance((dz, dy, dx)) in distances and not (dz and nz == 1) and not (dy and ny == 1)
            if near and not row_class & 4 and (distances[0] == 0 or nz > 1):
                taps.append((-1, dz, dy, dx))
    return taps


def raster_table(taps: list[Point], nz: int, ny: int) -> Table:
    places = [(0, 0, 0, 0), *taps]
    for dz, dy, dx in product((-1, 0, 1), repeat=3):
        if (0, dz, dy, dx) not in places and not (dz and nz == 1) and not (dy and ny == 1):
            places.append((0, dz, dy, dx))
    return [[(place, 1)] for place in places]


def raster_stencil(
    parameters: list[float] | None, row_class: int, nz: int, ny: int
) -> tuple[list[Point], np.ndarray]:
    for before in (1, 2, 3):
        taps = raster_taps(row_class, nz, ny, before)
        if parameters is not None and len(parameters) == len(taps) - 1:
            return taps, weights_of(parameters, list(range(len(taps))))
    taps = raster_taps(row_class, nz, ny)
    first_z, first_y = (0 if row_class & 2 else -1), (0 if row_class & 1 else -1)
    lorenzo = []
    for dt, dz, dy, dx in taps:
        corner = dt == 0 and first_z <= dz <= 0 and first_y <= dy <= 0 and -1 <= dx <= 0
        lorenzo.append((1 if (dz + dy + dx) % 2 else -1) if corner else 0)
    return taps, np.array(lorenzo, float)
