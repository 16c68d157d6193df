"""Staggered grids: a field on the faces of cells has one value more or fewer along an axis than one in them.

docs/FORMAT.md, "Guides". The arrangement: Arakawa and Lamb (1977).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_LEAST = 4  # values along an axis: fewer are no cells and faces


def near(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether fields of these shapes lie on one grid, as it is or staggered."""
    return len(shape) == len(other) and all(
        n == m or (abs(n - m) == 1 and min(n, m) >= _LEAST) for n, m in zip(shape, other, strict=True)
    )


def common(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest length along each axis."""
    return tuple(map(min, zip(*shapes, strict=True)))


def onto(field: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``field`` (float32 or float64, of a shape `near` to ``shape``) at the points of a field of ``shape``.

    Along an axis with one value more, means of neighbours; with one fewer, the same, and at both ends the
    value that is there. Axis by axis from the first: half of a sum, each rounded to the dtype.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, n in enumerate(shape):
            if field.shape[axis] == n:
                continue
            if field.shape[axis] < n:
                widths = [(int(a == axis),) * 2 for a in range(field.ndim)]
                field = np.pad(field, widths, mode="edge")
            before, after = (
                field[(slice(None),) * axis + (part,)] for part in (slice(None, -1), slice(1, None))
            )
            field = (before + after) * field.dtype.type(0.5)
    return field
