"""Taps into guides: what arrays that a decoder has in full add to a prediction, at a point and around it.

A guide has several *kinds* of taps. Kind 0 is its innovation: its value at the point less what the stencil of
the target predicts of it from its own values around; often that is all it tells, at the cost of one weight.
The others are sums and differences of its values around the point, as the family says. Which of them a
stencil uses is written beside its weights. docs/FORMAT.md, "Taps into guides".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossyzip._jit import lean
from lossyzip.decompose.buffer import Buffer, Grid, pack_stencils
from lossyzip.decompose.fold import Shape4
from lossyzip.decompose.rows import predict_row, row_class
from lossyzip.decompose.stencil import SHIFTS, best_rice
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.errors import CorruptError

MOST_KINDS = 128
INNOVATION = 0
_HALO = 3
_RICE = 2  # parameter of counts and of gaps between kinds
Place = tuple[int, int, int, int]  # (t, z, y, x)
Kind = tuple[tuple[Place, int], ...]  # places whose values it adds up, and their signs
Table = tuple[Kind, ...]  # the kinds from 1 on
HERE: Place = (0, 0, 0, 0)
_UNITS: tuple[tuple[Place, Place], ...] = (
    ((0, -1, 0, 0), (0, 1, 0, 0)),
    ((0, 0, -1, 0), (0, 0, 1, 0)),
    ((0, 0, 0, -1), (0, 0, 0, 1)),
)  # behind and ahead along each axis


@dataclass(frozen=True)
class GuideWeights:
    """``parameters[g]``: kinds of guide g's taps, increasing, and their weights, in units of
    2**-SHIFTS[precision]."""

    precision: int
    parameters: tuple[tuple[tuple[int, int], ...], ...]

    def taps(
        self, table: Table, places: Sequence[Place] = (), weights: Sequence[float] = ()
    ) -> tuple[list[tuple[int, Place]], np.ndarray]:
        """(guide, place) of each tap, in this order, and its weight (float64), without those of weight 0.

        ``places`` and ``weights``: the stencil of the target. Kinds that are not in the table tell nothing.
        """
        total: dict[tuple[int, Place], float] = {}

        def add(guide: int, place: Place, weight: float) -> None:
            total[guide, place] = total.get((guide, place), 0.0) + weight

        for guide, row in enumerate(self.parameters):
            for kind, parameter in row:
                weight = parameter / float(1 << SHIFTS[self.precision])
                if kind == INNOVATION and len(places):
                    add(guide, HERE, weight)
                    for place, own in zip(places, weights, strict=True):
                        add(guide, place, -(weight * own))
                elif 0 < kind <= len(table):
                    for place, sign in table[kind - 1]:
                        add(guide, place, sign * weight)
        found = sorted(where for where, weight in total.items() if weight)
        return found, np.array([total[where] for where in found], np.float64)

    def keep(self, guides: list[int]) -> GuideWeights:
        """Those of ``guides`` alone."""
        return GuideWeights(self.precision, tuple(self.parameters[guide] for guide in guides))

    def write(self, writer: BitWriter) -> None:
        used = [weight for row in self.parameters for _, weight in row]
        rice = int(best_rice(np.array(used, np.int64))[0])
        writer.bits(self.precision, 2)
        writer.bits(rice, 4)
        for row in self.parameters:
            writer.rice(len(row), _RICE)
            last = -1
            for kind, weight in row:
                writer.rice(kind - last - 1, _RICE)
                writer.signed(weight, rice)
                last = kind

    @classmethod
    def read(cls, reader: BitReader, guides: int) -> GuideWeights:
        precision, rice = reader.bits(2), reader.bits(4)
        rows = []
        for _ in range(guides):
            row, last = [], -1
            for _ in range(reader.rice(_RICE)):
                last += reader.rice(_RICE) + 1
                row.append((last, reader.signed(rice)))
            if last >= MOST_KINDS:
                raise CorruptError(f"a tap of kind {last} into a guide")
            rows.append(tuple(row))
        return cls(precision, tuple(rows))


def read_entry(reader: BitReader, guides: int) -> GuideWeights | None:
    """What a plan says of one stencil's taps into ``guides``."""
    return GuideWeights.read(reader, guides) if guides and reader.bits(1) else None


def write_entry(writer: BitWriter, weights: GuideWeights | None, guides: int) -> None:
    if guides:
        writer.bits(weights is not None, 1)
        if weights is not None:
            weights.write(writer)


def pairs(flat: tuple[bool, bool, bool]) -> Table:
    """The value at the point; along each axis, unless it is ``flat``, the sum and the difference of those
    next to it: a second derivative takes two weights, and a slope one."""
    found: list[Kind] = [((HERE, 1),)]
    for axis, one in enumerate(flat):
        if not one:
            behind, ahead = _UNITS[axis]
            found += [((behind, 1), (ahead, 1)), ((behind, -1), (ahead, 1))]
    return tuple(found)


def added(
    guides: np.ndarray,
    taps: Sequence[tuple[list[tuple[int, Place]], np.ndarray]],
    of_class: list[int] | None = None,
    coupled: bool = False,
) -> np.ndarray:
    """What ``taps`` into ``guides`` (guides, t, z, y, x) add up to everywhere, in their dtype, (t, z, y, x).

    ``of_class``: which taps serve the rows of a class, if there are several. A tap outside reads the nearest
    value inside; t - 1 is only read where it is.
    """
    count, *lengths = guides.shape
    field = Shape4(*lengths)
    grid = Grid(count, field, _HALO, field)
    buffer = Buffer(grid, guides.dtype)
    for k, guide in enumerate(guides):
        buffer.view(buffer.values, k, field)[...] = guide
        buffer.extend(buffer.values, k, field)
    several = [1, *(int(n > 1) for n in field[1:])]  # along other axes every place is the point
    rows = []
    for where, weights in taps:
        offsets = [grid.at(g, *(p * n for p, n in zip(place, several, strict=True))) for g, place in where]
        rows.append((np.array(offsets, np.int64) - grid.at(0), weights))
    stencils = pack_stencils(rows, guides.dtype, of_class)
    lattice = grid.lattice(0, field, field, Shape4(0, 0, 0, 0), 1, coupled)
    total, row = np.empty(field, guides.dtype), np.empty(field.x, guides.dtype)
    _add_up(buffer.values, lattice, stencils, row, total.reshape(-1))
    return total


@lean
def _add_up(values, lattice, stencils, row, total):
    """Fill ``total`` (flat) with the sums of taps at each point."""
    at = 0
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            for y in range(lattice.ny):
                base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
                which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
                predict_row(row, values, base, stencils, which)
                for i in range(row.size):
                    total[at + i] = row[i]
                at += row.size
