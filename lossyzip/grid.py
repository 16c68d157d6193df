"""Staggered grids: a field on the faces of cells has one value more or fewer along an axis than one in them.

docs/FORMAT.md, "Guides". The arrangement: Arakawa and Lamb (1977).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lossyzip.field import Source

_LEAST = 4  # values along an axis: fewer are no cells and faces


def near(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether fields of these shapes lie on one grid, as it is or staggered."""
    return len(shape) == len(other) and all(
        n == m or (abs(n - m) == 1 and min(n, m) >= _LEAST) for n, m in zip(shape, other, strict=True)
    )


def common(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest length along each axis."""
    return tuple(map(min, zip(*shapes, strict=True)))


class OnGrid:
    """``reference`` (of a shape `near` to ``shape``) at the points of a field of ``shape``, read in parts."""

    def __init__(self, reference: Source, shape: tuple[int, ...]) -> None:
        self._reference = reference
        self.shape, self.dtype = shape, reference.dtype

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        return onto(self._reference, self.shape, where)


def on_grid(reference: Source, shape: tuple[int, ...]) -> Source:
    """The same, or ``reference`` itself where it has the shape."""
    return reference if tuple(reference.shape) == shape else OnGrid(reference, shape)


def onto(field: Source, shape: tuple[int, ...], where: tuple[slice, ...] | None = None) -> np.ndarray:
    """``field`` (float32 or float64, of a shape `near` to ``shape``) at the points of a field of ``shape``;
    or a part of that, ``where`` slices with a step of 1 say. No more is read than it takes.

    Along an axis with one value more, means of neighbours; with one fewer, the same, and at both ends the
    value that is there. Axis by axis from the first: half of a sum, each rounded to the dtype.
    """
    slices = tuple(slice(0, n) for n in shape) if where is None else where
    if any(s.stop <= s.start for s in slices):
        return np.empty([max(s.stop - s.start, 0) for s in slices], field.dtype)
    box, widths = [], []
    for s, n, m in zip(slices, shape, field.shape, strict=True):
        first, last = s.start - (m < n), s.stop + (m > n)
        box.append(slice(max(first, 0), min(last, m)))
        widths.append((max(-first, 0), max(last - m, 0)))
    part = np.asarray(field[tuple(box)])
    if any(map(any, widths)):
        part = np.pad(part, widths, mode="edge")
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, (n, m) in enumerate(zip(shape, field.shape, strict=True)):
            if m != n:
                before, after = (
                    part[(slice(None),) * axis + (ends,)] for ends in (slice(None, -1), slice(1, None))
                )
                part = (before + after) * part.dtype.type(0.5)
    return part
