"""What rows of a lattice's codes say of those to come: magnitudes, or levels, of the codes around a value
become its context cell. docs/FORMAT.md, "Lattice"."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, inlined
from lossyzip.decompose.multiples import spacing
from lossyzip.decompose.rows import Quantizer

_MOST_MAGNITUDE = 8191  # of a code, or level, as contexts see it: eight of them stay below 2**16
_LEVEL_CELLS = 31  # all but that of flags
_FARTHEST = 1 << 30  # level


class Levels(NamedTuple):
    """How a code becomes a level, and levels a context: the field's span is cut evenly."""

    offset: np.int32  # the level of code 0
    shift: np.int32
    most: np.int32
    factor: np.int32  # 65536 times cells for one level, eight times counted; 0: magnitudes are contexts


def levels_of(levels: bool, centre: int, rule: Quantizer) -> Levels:
    """Those from the multiple nearest to ``rule.low`` to that of ``rule.high``; if not ``levels``, what says
    that magnitudes are contexts. Code 0 is the multiple ``centre``."""
    if not levels:
        return Levels(np.int32(0), np.int32(0), np.int32(0), np.int32(0))
    low, high = (_multiple(end, rule) for end in (rule.low, rule.high))
    shift = max((high - low).bit_length() - _MOST_MAGNITUDE.bit_length(), 0)
    most = (high - low) >> shift
    offset = min(max(centre - low, -_FARTHEST), _FARTHEST)
    factor = (_LEVEL_CELLS << 16) // (8 * most + 1)
    return Levels(np.int32(offset), np.int32(shift), np.int32(most), np.int32(factor))


def _multiple(end: np.floating, rule: Quantizer) -> int:
    steps = float(end) * float(spacing(rule).inverse)
    if steps != steps:  # of a span of NaN nothing is kept
        return 0
    return round(min(max(steps, -_FARTHEST), _FARTHEST))


@helper
def note_magnitudes(code, sums, at, padded, levels):
    """Put the magnitudes around each code of a row, weighted 1 2 1, into ``sums``, for rows to come; or the
    levels, of which those at the ends are repeated."""
    n = code.size
    middle, left, right, out = padded[1 : n + 1], padded[:n], padded[2 : n + 2], sums[at : at + n]
    if levels.factor > 0:
        for i in range(n):
            level = np.int32(np.int32(code[i] + levels.offset) >> levels.shift)
            level = level if level < levels.most else levels.most
            middle[i] = level if level > 0 else np.int32(0)
        padded[0], padded[n + 1] = padded[1], padded[n]
    else:
        for i in range(n):
            c = np.int32(code[i])
            m = c if c > 0 else np.int32(-c)
            middle[i] = m if m < _MOST_MAGNITUDE else np.int32(_MOST_MAGNITUDE)
    for i in range(n):
        out[i] = np.uint16(left[i] + right[i] + 2 * middle[i])


@helper
def cells_of_row(sums, up, back, activity, bits, cells, levels):
    """The context cells of a row whose neighbours' magnitudes or levels begin at ``up`` and ``back`` of
    ``sums``.

    Half octaves of the activity, whose logarithm is in the ``bits`` of ``activity``, float32; or even shares
    of the sum of levels.
    """
    n = cells.size
    above, before = sums[up : up + n], sums[back : back + n]
    if levels.factor > 0:
        for i in range(n):
            share = np.int32(np.int32(np.int32(above[i]) + np.int32(before[i])) * levels.factor) >> 16
            cells[i] = np.uint8(share + 1 if share > 0 else 0)
        return
    for i in range(n):
        activity[i] = np.float32(np.int32(np.int32(above[i]) + np.int32(before[i]) + 1))
    for i in range(n):
        cells[i] = np.uint8((bits[i] >> 22) - 254)


@inlined
def neighbours(plane, y, ny, nx):
    """Where in the ring of two planes the sums of this row are, of the row above, and of the plane before.

    Where there is no row above, the other one counts twice, and the other way round.
    """
    at = ((plane & 1) * ny + y) * nx
    back = (((plane - 1) & 1) * ny + y) * nx
    up = at - nx if y > 0 else back
    return at, up, (back if plane > 0 else up)
