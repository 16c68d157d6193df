"""Where a field is not quiet, and tiles that begin there: threads get equal shares of what there is to code.

For the encoder alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lossyzip.container.header import Header
from lossyzip.field import tile_shape, tile_slices
from lossyzip.margins import SHARE

_LOOKS = 64  # at values of a slab, about
_FEW = 8  # tiles: an odd one of so few would keep one of two threads waiting
_UNSEEN = 32  # of what is not quiet, what may not be seen to be so at each of its ends
_SHORTEST = 4  # times the length of usual tiles: in shorter ones more is next to edges


class Extent:
    """Looks at some values of each slab of a field of ``shape``: a `field.Watcher` of tiles as `tile_slices`
    has them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        cut = [axis for axis, (n, t) in enumerate(zip(shape, tile_shape(shape), strict=True)) if 0 < t < n]
        self._low = {axis: np.full(shape[axis], np.inf) for axis in cut}
        self._high = {axis: np.full(shape[axis], -np.inf) for axis in cut}
        self._slices = tile_slices(shape)

    def look(self, tile: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(least, largest) of each slab of it, along each axis that is cut."""
        looks = max(round(_LOOKS ** (1 / max(tile.ndim - 1, 1))), 1)
        found = []
        for axis in self._low:
            apart = [slice(None, None, max(n // looks, 1)) for n in tile.shape]
            apart[axis] = slice(None)
            some = np.moveaxis(np.ma.getdata(tile)[tuple(apart)], axis, 0)
            with np.errstate(invalid="ignore"):  # of a signalling NaN; any NaN is as good as quiet
                some = some.reshape(len(some), -1).astype(np.float64)
                found.append((np.fmin.reduce(some, axis=1), np.fmax.reduce(some, axis=1)))
        return found

    def note(self, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
        where = next(self._slices)
        for (axis, low), (least, largest) in zip(self._low.items(), seen, strict=True):
            here, high = where[axis], self._high[axis]
            low[here], high[here] = np.fmin(low[here], least), np.fmax(high[here], largest)

    def divided(self, header: Header) -> Header:
        """``header`` with tiles that divide what is not quiet evenly, along one axis; they are no longer."""
        for axis in self._low:
            n, usual = self._shape[axis], header.tile_shape[axis]
            begin, end = self._loud(axis, header.eps)
            if usual == n or end <= begin or (n - (end - begin)) * SHARE < n:
                continue
            if begin // usual == (end - 1) // usual:  # in one tile
                continue
            count = max(-(-(end - begin) // usual), 2)
            count += count % 2 if count < _FEW else 0
            length = -(-(end - begin) // count)
            if length * _SHORTEST > usual:
                lengths, origin = list(header.tile_shape), [0] * len(self._shape)
                lengths[axis], origin[axis] = length, begin % length
                return replace(header, tile_shape=tuple(lengths), origin=tuple(origin) if any(origin) else ())
        return header

    def _loud(self, axis: int, eps: float) -> tuple[int, int]:
        """From which slab on to which one there is more than one value, within ``eps``."""
        low, high = self._low[axis], self._high[axis]
        first, last = _quiet(low, high, eps), _quiet(low[::-1], high[::-1], eps)
        unseen = -(-(len(low) - first - last) // _UNSEEN)
        return max(first - unseen, 0), len(low) - max(last - unseen, 0)


def _quiet(low: np.ndarray, high: np.ndarray, eps: float) -> int:
    """How many of the first slabs are about one value."""
    with np.errstate(invalid="ignore", over="ignore"):
        spread = np.maximum.accumulate(high) - np.minimum.accumulate(low)
        return int(np.argmin(np.append(spread <= eps, False)))
