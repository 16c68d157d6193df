"""Reconstructed values and code magnitudes of one tile, with a halo, as the passes see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lossyzip.decompose.fold import Shape4
from lossyzip.decompose.parents import Parent
from lossyzip.decompose.rows import HALF_SWEEP, SWEEP, Contexts, Lattice, Quantizer, Stencils
from lossyzip.entropy.mixing import LOOKS
from lossyzip.errors import CorruptError
from lossyzip.kept import kept_room

BESIDE = -9  # in a tap's place along t: what lies behind the values
_MOST_POINTS = 3 << 26  # the thinnest field that tuning tries as a whole takes 2 << 26 with its halo

# codes or decodes passes, one after the other, by a quantizer; the array is what to encode, or None
Visit = Callable[["Buffer", tuple["Pass", ...], Quantizer, np.ndarray | None], None]


@dataclass(frozen=True, eq=False)
class Around:
    """What a point of a pass looks at, as places (t, z, y, x) relative to it, where wave.py codes the pass.

    ``taps`` (stencils, K, 4) belong to the weights of `Stencils`, ``contexts`` (C, 4) to ``weights``. What
    is ``predicted`` for a point is in its place already. What its parent makes expected counts ``expected``
    times among the magnitudes around it. ``beside``: what guides add to the prediction of each value lies
    behind the values, and is read by a tap BESIDE.
    """

    taps: np.ndarray
    contexts: np.ndarray
    weights: tuple[int, ...]
    expected: int = 0
    predicted: bool = False
    beside: bool = False


@dataclass(frozen=True, eq=False)
class Pass:
    """What a pass needs that follows from the tile's shape and the plan alone.

    ``looks``: offsets into the values, of those that mixed coding compares a point to; 0: the one before it.
    ``around`` is None for passes in which no point looks at its own plane. ``parent``: where the magnitudes
    are that are expected. ``seen``: whether later passes look at this one's.
    """

    lattice: Lattice
    stencils: Stencils
    contexts: Contexts
    looks: tuple[int, ...]
    around: Around | None = None
    parent: Parent | None = None
    seen: bool = True


class GridLayout(NamedTuple):
    """A `Grid`, as kernels take it."""

    parts: int
    part_size: int
    first: int  # the first point of the first part
    st: int
    sz: int
    sy: int


@dataclass(frozen=True)
class Grid:
    """Where points lie in ``parts`` arrays of one ``shape``, each (t, z, y, x) with a halo of ``margin``.

    Axes that are one point long in ``whole``, of which the parts are pieces, have none, but for rows.
    """

    parts: int
    shape: Shape4
    margin: int
    whole: Shape4

    def __post_init__(self) -> None:
        if self.parts * self.part_size > _MOST_POINTS:
            raise CorruptError(
                f"a tile folded to {tuple(self.shape)} takes {self.parts * self.part_size} points"
            )

    @cached_property
    def halo(self) -> tuple[int, ...]:
        return (*(self.margin if n > 1 else 0 for n in self.whole[1:3]), self.margin)

    @cached_property
    def padded(self) -> tuple[int, ...]:
        """The shape of all parts together: (parts, t, z, y, x)."""
        return (
            self.parts,
            self.shape.t,
            *(n + 2 * h for n, h in zip(self.shape[1:], self.halo, strict=True)),
        )

    @cached_property
    def strides(self) -> tuple[int, int, int, int]:
        _, _, z, y, x = self.padded
        return z * y * x, y * x, x, 1

    @cached_property
    def part_size(self) -> int:
        return self.shape.t * self.strides[0]

    @cached_property
    def layout(self) -> GridLayout:
        return GridLayout(self.parts, self.part_size, self.at(0), *self.strides[:3])

    def at(self, part: int, t: int = 0, z: int = 0, y: int = 0, x: int = 0) -> int:
        """The flat index of a point; negative coordinates and those behind the end are in the halo."""
        inner = (
            ((z + self.halo[0]) * self.strides[1]) + (y + self.halo[1]) * self.strides[2] + x + self.halo[2]
        )
        return part * self.part_size + t * self.strides[0] + inner

    def looks(self, *offsets: int, coupled: bool = True) -> tuple[int, ...]:
        """The first LOOKS of: ``offsets``, the points before in the row, in the row, plane and volume before.

        An axis of one point has the look of the next one in its place, and so has t unless ``coupled``.
        """
        found, previous = [], 0
        lengths = (self.shape.t if coupled else 1, self.shape.z, self.shape.y)
        for n, stride in zip(reversed(lengths), self.strides[2::-1], strict=True):
            previous = -stride if n > 1 else previous
            found.append(previous)
        return (*offsets, 0, *found)[:LOOKS]

    def lattice(
        self, part: int, points: Shape4, field: Shape4, origin: Shape4, stride: int, coupled: bool
    ) -> Lattice:
        """The points of a part that lie at ``origin + stride * index`` of a tile of shape ``field``."""
        fz, fy = field.y * field.x, field.x
        return Lattice(
            *points,
            base=self.at(part),
            st=self.strides[0],
            sz=self.strides[1],
            sy=self.strides[2],
            halo_z=self.halo[0],
            halo_y=self.halo[1],
            halo_x=self.halo[2],
            origin=origin.z * fz + origin.y * fy + origin.x,
            ft=field.z * fz,
            fz=stride * fz,
            fy=stride * fy,
            fx=stride,
            coupled=int(coupled),
        )


class Buffer:
    """`values` (field's dtype) and `magnitudes` (uint8) on a `grid`, flat; they start as zeros.

    ``values``: an array that takes the place of the values, whatever is in it. Behind the values there is
    room for ``beside`` arrays of their layout: taps reach into those by a larger offset. ``kept``: other
    memory is what this thread had for its last buffer of that name, and values start as what was there.
    """

    def __init__(
        self,
        grid: Grid,
        dtype: np.dtype,
        values: np.ndarray | None = None,
        beside: int = 0,
        kept: str | None = None,
    ) -> None:
        self.grid = grid
        size = grid.parts * grid.part_size
        if beside and (1 + beside) * size > 2 * _MOST_POINTS:
            raise CorruptError(f"a tile with {beside} guides takes {(1 + beside) * size} points")
        if values is not None:
            self.values = values
        elif kept is not None:
            self.values = kept_room(kept + " values", (1 + beside) * size, dtype)
        else:
            self.values = np.zeros((1 + beside) * size, dtype)
        if kept is not None:
            self.magnitudes = kept_room(kept + " magnitudes", size, np.dtype(np.uint8))
            self.magnitudes[:] = 0
        else:
            self.magnitudes = np.zeros(size, np.uint8)
        self.beside = [self.values[(1 + k) * size : (2 + k) * size] for k in range(beside)]

    def view(self, array: np.ndarray, part: int, shape: Shape4) -> np.ndarray:
        """The first ``shape`` points of a part of ``array``, without the halo."""
        z, y, x = self.grid.halo
        padded = self._parts(array)[part]
        return padded[: shape.t, z : z + shape.z, y : y + shape.y, x : x + shape.x]

    def extend(self, array: np.ndarray, part: int, shape: Shape4) -> None:
        """Repeat the edges of the first ``shape`` points of a part of ``array`` into the halo."""
        padded = self._parts(array)[part]
        for axis, (n, halo) in enumerate(zip(shape[1:], self.grid.halo, strict=True), start=1):
            along = np.moveaxis(padded, axis, 0)
            along[:halo] = along[halo]
            along[halo + n : n + 2 * halo] = along[halo + n - 1]

    def _parts(self, array: np.ndarray) -> np.ndarray:
        return array[: self.grid.parts * self.grid.part_size].reshape(self.grid.padded)


def pack_stencils(
    rows: list[tuple[np.ndarray, np.ndarray]],
    dtype: np.dtype,
    of_class: list[int] | None = None,
    running: np.ndarray | None = None,
) -> Stencils:
    """(offsets, weights) of each stencil as the padded arrays that kernels take.

    ``running`` (stencils, 2) are the weights of the two values before in the row, if there are any.
    """
    running = np.zeros((len(rows), 2)) if running is None else running
    width = padded(max((offsets.size for offsets, _ in rows), default=0))
    offsets = np.zeros((len(rows), width), np.int64)
    weights = np.zeros((len(rows), width), dtype)
    count = np.zeros(len(rows), np.int64)
    for k, (tap_offsets, tap_weights) in enumerate(rows):
        offsets[k, : tap_offsets.size] = tap_offsets
        weights[k, : tap_weights.size] = tap_weights
        count[k] = -(-tap_offsets.size // HALF_SWEEP) * HALF_SWEEP
    return Stencils(
        np.array(of_class or [0] * 8, np.int64),
        count,
        offsets,
        weights,
        running.astype(dtype),
        int(running.any()),
    )


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    """One array of all ``rows``, zeros behind the shorter ones; it may be a view of a single one."""
    if len(rows) == 1:
        return rows[0][None]
    found = np.zeros((len(rows), max(row.size for row in rows)), rows[0].dtype)
    for target, row in zip(found, rows, strict=True):
        target[: row.size] = row
    return found


def padded(taps: int) -> int:
    """So many places there are for ``taps``."""
    return max(SWEEP, -(-taps // SWEEP) * SWEEP)


def pack_contexts(
    taps: list[tuple[int, int]], cell: int, left: int = 0, left2: int = 0, previous: int = 0
) -> Contexts:
    """(offset, weight) of each context tap as the arrays that kernels take; see `Contexts`."""
    offsets, weights = np.zeros(padded(len(taps)), np.int64), np.zeros(padded(len(taps)), np.uint16)
    for k, (offset, weight) in enumerate(taps):
        offsets[k], weights[k] = offset, weight
    total = sum(weight for _, weight in taps)
    return Contexts(
        offsets,
        weights,
        len(taps),
        previous,
        (1 << 16) // max(total, 1),
        cell,
        left,
        left2,
        (1 << 16) // max(total + left + left2, 1),
    )
