"""What is taken of an array that is read in parts: some rows of it, some values, its ends.

For the encoder alone. In memory is no more than a tile beside the result.
"""

from __future__ import annotations

import math

import numpy as np

from lossyzip.field import Source, tile_shape, tile_slices

_SEEN = 1 << 20  # values of rows


def rows_of(source: Source) -> np.ndarray:
    """Rows from all over ``source``, one behind the other in a flat array of about 2**20 values, or all."""
    shape = tuple(source.shape)
    if not shape or 0 in shape:
        return np.asarray(source[tuple(slice(0, n) for n in shape)]).reshape(-1)
    step = max(1, -(-math.prod(shape) // _SEEN))
    if isinstance(source, np.ndarray):
        return np.ma.getdata(source).reshape(-1, shape[-1])[::step].reshape(-1)
    found = np.empty((-(-math.prod(shape[:-1]) // step), shape[-1]), source.dtype)
    for where in tile_slices(shape):
        number = np.zeros((), np.int64)
        for s, n in zip(where[:-1], shape[:-1], strict=True):
            number = number[..., None] * n + np.arange(s.start, s.stop)
        chosen = number % step == 0
        if chosen.any():
            found[number[chosen] // step, where[-1]] = source[where][chosen]
    return found.reshape(-1)


def values_at(source: Source, flat: np.ndarray) -> np.ndarray:
    """The values of ``source`` at places (int64, in C order) that are anywhere, and may repeat."""
    if isinstance(source, np.ndarray):
        picked: np.ndarray = source.reshape(-1)[flat]
        return picked
    shape = tuple(source.shape)
    if not shape:
        return np.full(flat.size, source[()])
    found, places = np.empty(flat.size, source.dtype), np.unravel_index(flat, shape)
    tile = tile_shape(shape)
    grid = [-(-n // t) for n, t in zip(shape, tile, strict=True)]
    numbers = np.zeros(flat.size, np.int64)
    for at, t, count in zip(places, tile, grid, strict=True):
        numbers = numbers * count + at // t
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(math.prod(grid) + 1))
    for number, where in enumerate(tile_slices(shape)):
        here = order[ends[number] : ends[number + 1]]
        if here.size:
            inside = tuple(at[here] - s.start for at, s in zip(places, where, strict=True))
            found[here] = source[where][inside]
    return found


def span_of(source: Source) -> tuple[float, float]:
    """(least, largest) value of ``source``, which has some, and no NaN."""
    ends = []
    for where in tile_slices(tuple(source.shape)):
        part = source[where]
        ends.append((float(part.min()), float(part.max())))
    return min(low for low, _ in ends), max(high for _, high in ends)
