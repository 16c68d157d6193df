"""Wavelet by lifting: coefficients coded band by band, then corrections where the bound needs them.

The leading axis (time, levels) is transformed in full before the other two are, together: what repeats
along it ends up in few coefficients. Volumes along t have nothing to do with one another.
The inverse transform predicts each value, whose code corrects it where it would be
outside the bound and is zero nearly everywhere, as in SPERR (Li, Lindstrom, Clyne, IPDPS 2023).
docs/FORMAT.md, "Wavelet".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.buffer import Buffer, Grid, Pass, Visit, pack_contexts, pack_stencils
from lossyzip.decompose.fold import Fold, Shape4
from lossyzip.decompose.guide_taps import GuideWeights, added, pairs, read_entry, write_entry
from lossyzip.decompose.lifting import Split, transform
from lossyzip.decompose.parents import Parent
from lossyzip.decompose.regression import around, context_taps
from lossyzip.decompose.rows import CELLS, Quantizer
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.errors import CorruptError
from lossyzip.kept import kept_room

GROUPS = 8  # of context cells: corrections; bands, by level and place along the leading axis; the coarsest
CODES = 2  # for each value: a coefficient and a correction
_SHORTEST_LEADING, _SHORTEST = 9, 5  # an axis is halved while it is at least so long
_DEAD_ZONE = 0.6  # the encoder drops coefficients below this part of the step
_HALO = 3
_COARSEST = 7  # group of the coarsest bands


@dataclass(frozen=True)
class Wavelet:
    """``step`` is that of the coefficients, in sixteenths of eps.

    ``beside``: weights of taps into so many ``guides``, whose transform predicts the coefficients of bands of
    one group (from 1 on), if there are any.
    """

    fold: Fold
    step: int
    guides: int = 0
    beside: tuple[GuideWeights | None, ...] = (None,) * (GROUPS - 1)
    name = "wavelet"

    def write(self, writer: BitWriter) -> None:
        writer.bits(self.fold, 2)
        writer.bits(self.step, 8)
        for taps in self.beside:
            write_entry(writer, taps, self.guides)

    @classmethod
    def read(cls, reader: BitReader, guides: int = 0) -> Wavelet:
        how, step = reader.bits(2), reader.bits(8)
        if how > max(Fold) or not step:
            raise CorruptError(f"wavelet with fold {how} and step {step}")
        return cls(Fold(how), step, guides, tuple(read_entry(reader, guides) for _ in range(GROUPS - 1)))


class Band(NamedTuple):
    """A box of coefficients of one kind; ``parent`` is that of the next coarser band, or None."""

    box: tuple[slice, slice, slice]
    group: int
    parent: tuple[slice, slice, slice] | None


def _halvings(length: int, shortest: int) -> list[int]:
    """The length, its half, the half's half, ..., rounded up, until it is too short to be halved."""
    lengths = [length]
    while lengths[-1] >= shortest:
        lengths.append(-(-lengths[-1] // 2))
    return lengths


def splits(field: Shape4) -> list[Split]:
    """The steps of the forward transform, in order."""
    steps = [Split(0, (n, field.y, field.x)) for n in _halvings(field.z, _SHORTEST_LEADING)[:-1]]
    rows, columns = _halvings(field.y, _SHORTEST), _halvings(field.x, _SHORTEST)
    for level in range(max(len(rows), len(columns)) - 1):
        size = (field.z, rows[min(level, len(rows) - 1)], columns[min(level, len(columns) - 1)])
        if level < len(rows) - 1:
            steps.append(Split(1, size))
        if level < len(columns) - 1:
            steps.append(Split(2, size))
    return steps


def bands(field: Shape4) -> list[Band]:
    """All bands, from coarse to fine along the leading axis, and within that along the others."""
    ends = [0, *reversed(_halvings(field.z, _SHORTEST_LEADING))]
    rows, columns = _halvings(field.y, _SHORTEST), _halvings(field.x, _SHORTEST)
    depth = max(len(rows), len(columns))
    found = []
    for start, stop in itertools.pairwise(ends):
        z = slice(start, stop)
        for level in reversed(range(depth)):  # level: how often the band was halved before it was split off
            if level == depth - 1:
                box = (z, slice(0, rows[-1]), slice(0, columns[-1]))
                found.append(Band(box, _COARSEST, None))
                continue
            group = 1 + min(level, 2) + (3 if start else 0)
            for high_y, high_x in ((0, 1), (1, 0), (1, 1)):
                y, x = _half(rows, level, high_y), _half(columns, level, high_x)
                if y.start == y.stop or x.start == x.stop:
                    continue
                above = (z, _half(rows, level + 1, high_y), _half(columns, level + 1, high_x))
                whole = all(s.start < s.stop for s in above)
                found.append(Band((z, y, x), group, above if level + 1 < depth - 1 and whole else None))
    return found


def _half(lengths: list[int], level: int, high: int) -> slice:
    """The low or high half of an axis at a level; one that is not halved there is all low."""
    length = lengths[min(level, len(lengths) - 1)]
    half = lengths[min(level + 1, len(lengths) - 1)]
    return slice(half, length) if high else slice(0, half)


def sweep(
    plan: Wavelet,
    field: Shape4,
    rule: Quantizer,
    visit: Visit,
    source: np.ndarray | None = None,
    _fitter: None = None,
    mixed: bool = False,
    into: np.ndarray | None = None,
    guides: np.ndarray | None = None,
    unseen: bool = False,
) -> np.ndarray:
    """Visit every pass in order; return the reconstructed tile, folded. Both directions are this function.

    Mixed coding (``mixed``) needs a halo around the values; without one everything happens in one flat array,
    ``into`` if there is one. What taps into ``guides`` (guides, t, z, y, x) say of coefficients is subtracted
    from them before they are coded.
    """
    dtype = rule.step.dtype
    steps = splits(field)
    coarse = _coefficient_rule(rule, plan.step)
    known = None if guides is None or not any(plan.beside) else expected_coefficients(plan, guides)
    coefficients = None
    if source is not None:
        room = kept_room("coefficients", source.size, dtype) if unseen else np.empty_like(source)
        coefficients = _coefficients(source, field, coarse.step, known, room)
    halo = _HALO if mixed else 0
    grid = Grid(2, field, halo, field)
    if mixed:
        buffer = Buffer(grid, dtype)
    else:
        place = coefficients if into is None else into  # encoding: each is replaced by what the decoder sees
        place = np.empty(grid.part_size, dtype) if place is None else place
        buffer = Buffer(grid, dtype, place, kept="bands")
    visit(buffer, _band_passes(grid, dtype), coarse, coefficients)
    if mixed:
        predicted = np.ascontiguousarray(buffer.view(buffer.values, 0, field))
    else:
        predicted = buffer.values.reshape(field)
    if known is not None:
        predicted += known
    transform(predicted, steps, inverse=True)
    return _correct(predicted, field, rule, visit, source, halo)


def _correct(
    predicted: np.ndarray,
    field: Shape4,
    rule: Quantizer,
    visit: Visit,
    source: np.ndarray | None,
    halo: int,
) -> np.ndarray:
    """The last pass: each value is predicted by the transform's.

    That is in the second part of the buffer, or where the value itself will be, if there is no ``halo``.
    """
    grid = Grid(2 if halo else 1, field, halo, field)
    buffer = (
        Buffer(grid, predicted.dtype)
        if halo
        else Buffer(grid, predicted.dtype, predicted.reshape(-1), kept="corrections")
    )
    if halo:
        buffer.view(buffer.values, 1, field)[...] = predicted
    visit(buffer, _correction(grid, predicted.dtype), rule, source)
    return buffer.view(buffer.values, 0, field)


_NO_PLACES = np.zeros((0, 4), np.int64)


_NO_TAPS = (np.zeros(0, np.int64), np.zeros(0))


@lru_cache(maxsize=32)
def _band_passes(grid: Grid, dtype: np.dtype) -> tuple[Pass, ...]:
    """One for each band, in order."""
    field = grid.shape
    nearby = [(offset, 2 * weight) for offset, weight in context_taps(grid, coupled=False)]
    kinds = [around(field._replace(t=1), [_NO_PLACES], 2, expected) for expected in (0, 4)]
    still, looks = pack_stencils([_NO_TAPS], dtype), grid.looks(coupled=False)
    all_bands = bands(field)
    parents = [band.parent for band in all_bands]
    found = []
    for band in all_bands:
        taps = nearby if band.parent is None else [(grid.part_size, 4), *nearby]
        origin = Shape4(0, *(s.start for s in band.box))
        size = Shape4(field.t, *(s.stop - s.start for s in band.box))
        lattice = grid.lattice(0, size, field, origin, 1, coupled=False)
        # Without a halo: what lies around a band are other bands.
        lattice = lattice._replace(base=grid.at(0, *origin), halo_z=0, halo_y=0, halo_x=0)
        parent = None
        if band.parent is not None:
            corner = grid.at(0, 0, *(s.start for s in band.parent))
            parent = Parent(corner, *(s.stop - s.start for s in band.parent[1:]))
        found.append(
            Pass(
                lattice,
                still,
                pack_contexts(taps, band.group * CELLS, 4, 2),
                looks,
                kinds[parent is not None],
                parent,
                seen=band.box in parents,
            )
        )
    return tuple(found)


@lru_cache(maxsize=32)
def _correction(grid: Grid, dtype: np.dtype) -> tuple[Pass, ...]:
    """The one over all values, what predicts each of which is a part further on."""
    field = grid.shape
    tap = (np.array([grid.part_size], np.int64), np.ones(1))
    lattice = grid.lattice(0, field, field, Shape4(0, 0, 0, 0), 1, coupled=False)
    contexts = pack_contexts(context_taps(grid, coupled=False), 0, 2, 1)
    looked_at = around(field._replace(t=1), [_NO_PLACES], predicted=True)
    looks = grid.looks(coupled=False)
    return (Pass(lattice, pack_stencils([tap], dtype), contexts, looks, looked_at, seen=False),)


def _coefficient_rule(rule: Quantizer, sixteenths: int) -> Quantizer:
    """Steps of so many sixteenths of eps, no bound and no range."""
    number = rule.step.dtype.type
    largest = number(np.finfo(number).max / 64)
    step = number(float(rule.eps) * sixteenths / 16.0)
    with np.errstate(over="ignore"):  # of a subnormal step
        inverse = number(1) / step
    return Quantizer(step, inverse, largest, -largest, largest)


def expected_coefficients(plan: Wavelet, guides: np.ndarray) -> np.ndarray:
    """What taps into ``guides`` say of all coefficients."""
    field = Shape4(*guides.shape[1:])
    found = np.zeros(field, guides.dtype)
    steps, all_bands = splits(field), bands(field)
    table = pairs((field.z == 1, field.y == 1, field.x == 1))
    for group, weights in enumerate(plan.beside, start=1):
        if weights is not None:
            grid = added(guides, [weights.taps(table)])
            with np.errstate(all="ignore"):
                transform(grid, steps, inverse=False)
            for band in all_bands:
                if band.group == group:
                    found[:, *band.box] = grid[:, *band.box]
    found[~np.isfinite(found)] = 0.0  # in a frame that was forged
    return found


def true_coefficients(source: np.ndarray, field: Shape4) -> np.ndarray:
    """The transform of ``source``, flat; what nobody will look at is the mean of the rest."""
    return _transformed(source, field, np.empty_like(source))


def _transformed(source: np.ndarray, field: Shape4, grid: np.ndarray) -> np.ndarray:
    _fill_gaps(source, grid)
    transform(grid.reshape(field), splits(field), inverse=False)
    return grid


def _coefficients(
    source: np.ndarray,
    field: Shape4,
    step: np.floating,
    known: np.ndarray | None,
    grid: np.ndarray,
) -> np.ndarray:
    """The transform of ``source`` in ``grid``, less what is ``known`` of it; small ones are dropped."""
    _transformed(source, field, grid)
    if known is not None:
        grid -= known.reshape(-1)
    _drop_small(grid, source.dtype.type(_DEAD_ZONE) * step, source.dtype.type(np.finfo(grid.dtype).max / 64))
    return grid


@kernel
def _fill_gaps(source, grid):
    """Copy ``source``; the mean of the others takes the place of what is NaN."""
    gaps = 0
    for i in range(source.size):
        grid[i] = source[i]
        gaps += 1 if source[i] != source[i] else 0
    if gaps == 0:
        return
    total = 0.0
    for i in range(source.size):
        total += np.float64(source[i]) if source[i] == source[i] else 0.0
    mean = total / (source.size - gaps) if gaps < source.size and np.isfinite(total) else 0.0
    for i in range(source.size):
        if source[i] != source[i]:
            grid[i] = mean


@kernel
def _drop_small(grid, least, largest):
    """Make what is below ``least`` 0, the rest at most ``largest``: near the type's end it may overflow."""
    number = grid.dtype.type
    for i in range(grid.size):
        value = grid[i] if grid[i] == grid[i] else number(0)
        value = min(max(value, -largest), largest)
        grid[i] = value if abs(value) >= least else number(0)
