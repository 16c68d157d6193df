"""Lattice: each value goes to the nearest multiple of one step (multiples.py), then everything is integers.

Differences of the integers along some axes (lorenzo.py) are the codes. Nothing waits for anything before it
in its row: contexts come from finished rows, decoding is a running sum. docs/FORMAT.md, "Lattice".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, lean
from lossyzip.decompose.fold import Fold, unwalked, walked
from lossyzip.decompose.lattice_contexts import Levels, cells_of_row, levels_of, neighbours, note_magnitudes
from lossyzip.decompose.lorenzo import Rows, T, X, Y, Z, differences, row_class, sum_rows
from lossyzip.decompose.multiples import Spacing, quantize, spacing
from lossyzip.decompose.rows import Quantizer, clamp
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.entropy.rans import decode_row
from lossyzip.entropy.stream import CodeStream
from lossyzip.entropy.tokens import OUTLIER, OUTLIER_TOKEN, Symbols, append_tokens, codes_of_row, largest_of
from lossyzip.errors import CorruptError
from lossyzip.kept import apart, kept_room

GROUPS = 1  # of context cells
_CENTRED, _LEVELS = 16, 17  # in the place of axes
_COMPONENTS = 32  # beside them
_CENTRE_BIAS = 1 << 31  # as a centre is written
_NONE_LEFT_OUT, _SOME_LEFT_OUT = 0, 1  # of rows: the first token
_FLAG_CELL = 1  # of the codes that say which rows are left out; no activity leads to it
_MANY_ZEROS = 0.1  # of all rows; to tell for each of them takes a percent of the time


@dataclass(frozen=True)
class Lattice:
    """``axes``: along which the integers are differenced, a sum of X, Y, Z and T. Where there are none,
    integers are multiples less ``centre``, and contexts may be ``levels`` around them, not magnitudes.
    ``fold``: volumes, or components."""

    axes: int
    centre: int = 0
    levels: bool = False
    fold: Fold = Fold.VOLUMES
    name = "lattice"

    def write(self, writer: BitWriter) -> None:
        centred = self.centre != 0 or self.levels
        first = (_LEVELS if self.levels else _CENTRED) if centred else self.axes
        writer.bits(first + (_COMPONENTS if self.fold == Fold.COMPONENTS else 0), 8)
        if centred:
            for part in divmod(self.centre + _CENTRE_BIAS, 1 << 16):
                writer.bits(part, 16)

    @classmethod
    def read(cls, reader: BitReader, _guides: int = 0) -> Lattice:
        components, axes = divmod(reader.bits(8), _COMPONENTS)
        how = Fold.COMPONENTS if components else Fold.VOLUMES
        if axes in (_CENTRED, _LEVELS):
            centre = (reader.bits(16) << 16) + reader.bits(16) - _CENTRE_BIAS
            return cls(0, centre, axes == _LEVELS, how)
        if axes > X | Y | Z | T or components > 1:
            raise CorruptError(f"lattice with axes {axes}")
        return cls(axes, fold=how)


@helper
def _copy(out, at, row):
    part = out[at : at + row.size]
    for i in range(row.size):
        part[i] = row[i]


@helper
def _zeros(row):
    for i in range(row.size):
        row[i] = np.int32(0)
    return row


@helper
def _clear(sums, at, n):
    part = sums[at : at + n]
    for i in range(n):
        part[i] = np.uint16(0)


@helper
def _mend(values, q, base, rows, which, marks):
    """Choose multiples for the values of a row that have none, so that what is around costs little.

    A NaN, which nobody will look at, repeats the value before. All others become outliers, whose
    difference is 0: the sum of the neighbours stands there.
    """
    nx = marks.size
    for i in range(nx):
        if marks[i] != OUTLIER:
            continue
        if values[base + i] != values[base + i]:
            q[base + i] = q[base + i - 1] if i > 0 else (q[base - nx] if base > 0 else np.int32(0))
            marks[i] = np.int32(0)
            continue
        total = np.int64(0)
        for k in range(rows.taps[which]):
            total -= rows.signs[which, k] * q[base + i + rows.offsets[which, k]]
        if rows.along_x[which]:
            if i > 0:
                total += q[base + i - 1]
                for k in range(rows.taps[which]):
                    total += rows.signs[which, k] * q[base + i - 1 + rows.offsets[which, k]]
            elif rows.first[which] != 0:
                total += q[base + rows.first[which]]
        q[base + i] = np.int32(total)


class Room(NamedTuple):
    """For the multiples of a tile, and for what is computed of one row."""

    q: np.ndarray  # int32: all multiples
    sums: np.ndarray  # uint16: of magnitudes in two planes
    total: np.ndarray  # int32
    code: np.ndarray  # int32
    marks: np.ndarray  # int32
    padded: np.ndarray  # int32: magnitudes, and a place before and behind
    activity: np.ndarray  # float32
    bits: np.ndarray  # the same as int32
    cell: np.ndarray  # uint8
    token: np.ndarray  # uint8
    flag_cell: np.ndarray  # (1,) uint8
    flag: np.ndarray  # (1,) uint8
    flag_code: np.ndarray  # (1,) int32


def _room(rows: Rows) -> Room:
    planes, nx = rows.nt * rows.nz, rows.nx
    activity = apart(nx, np.float32)
    return Room(
        kept_room("multiples", planes * rows.ny * nx, np.dtype(np.int32)),
        np.zeros(min(planes, 2) * rows.ny * nx, np.uint16),
        apart(nx, np.int32),
        apart(nx, np.int32),
        apart(nx, np.int32),
        apart(nx + 2, np.int32),
        activity,
        activity.view(np.int32),
        apart(nx, np.uint8),
        apart(nx, np.uint8),
        np.full(1, _FLAG_CELL, np.uint8),
        apart(1, np.uint8),
        np.ones(1, np.int32),
    )


class Task(NamedTuple):
    """What `encode` is given, once or with other rows of the same shape."""

    values: np.ndarray
    rows: Rows
    spacing: Spacing
    levels: Levels
    room: Room
    many: float
    symbols: Symbols
    start: int
    outliers: np.ndarray
    cursor: np.ndarray

    def done(self) -> tuple[Symbols, np.ndarray | None]:
        """Symbols and outliers, in memory that the next ones will be in; None: too many outliers."""
        self.cursor[:] = 0
        start, end = encode(*self)
        found, astray, large = self.cursor.tolist()
        tokens, cells, _, batches = self.symbols
        symbols = Symbols(tokens[start:end], cells[start:end], self.symbols.large[:large], batches[:0])
        return symbols, self.outliers[:found] if found <= self.outliers.size and not astray else None


@lean
def encode(values, rows, spacing, levels, room, many, symbols, start, outliers, cursor):
    """Fill ``symbols`` with those of ``values``, one tile or several; returns where they are, (from, to).

    Where there are more than ``many`` rows of zeros, these are left out, and the symbols begin at 0; or else
    at ``start``, before which there is room for a flag a row. ``cursor`` counts outliers, multiples astray
    around them, and, at LARGE, large codes.
    """
    size, zeros = room.q.size, np.int64(0)
    symbols.tokens[start], symbols.cells[start] = np.uint8(_NONE_LEFT_OUT), np.uint8(_FLAG_CELL)
    at = start + 1
    for base in range(0, values.size, size):
        tokens, cells = symbols.tokens[at : at + size], symbols.cells[at : at + size]
        tile = values[base : base + size]
        zeros += _difference(
            tile, rows, spacing, levels, room, tokens, cells, symbols.large, outliers, cursor
        )
        at += size
    if zeros > many:
        return np.int64(0), leave_out_zeros(symbols.tokens[:at], symbols.cells, start, rows.nx)
    return start, at


@helper
def _difference(values, rows, spacing, levels, room, tokens, cells, large, outliers, cursor):
    """Fill ``tokens`` and ``cells`` of one tile; returns how many rows are nothing but zeros."""
    zeros, nx, ny = np.int64(0), rows.nx, rows.ny
    q, sums, total, code, marks, padded = room.q, room.sums, room.total, room.code, room.marks, room.padded
    cell = room.cell
    cell[:] = np.uint8(0)
    taps, offsets, signs = rows.taps, rows.offsets, rows.signs
    along_x, first = rows.along_x, rows.first
    base = 0
    for plane in range(rows.nt * rows.nz):
        for y in range(ny):
            which = row_class(plane, rows.nz, y)
            here = q[base : base + nx]
            bad = quantize(values[base : base + nx], spacing, here)
            if bad > 0:
                _copy(marks, 0, here)
                _mend(values, q, base, rows, which, marks)
                for i in range(nx):
                    cursor[1] += np.int64(abs(np.float64(q[base + i])) >= spacing.limit)
            sum_rows(total, q, base, taps[which], offsets[which], signs[which])
            for i in range(nx):
                total[i] += here[i]
            if along_x[which]:
                code[0] = total[0] - (q[base + first[which]] if first[which] != 0 else np.int32(0))
                for i in range(1, nx):
                    code[i] = total[i] - total[i - 1]
            else:
                for i in range(nx):
                    code[i] = total[i]
            at, up, back = neighbours(plane, y, ny, nx)
            if plane > 0 or y > 0:
                cells_of_row(sums, up, back, room.activity, room.bits, cell, levels)
            note_magnitudes(code, sums, at, padded, levels)
            if bad > 0:
                _mark_outliers(values, base, marks, code, outliers, cursor)
            _copy(cells, base, cell)
            row = tokens[base : base + nx]
            append_tokens(code, row, large, cursor)
            zeros += np.int64(largest_of(row) == 0)
            base += nx
    return zeros


@helper
def leave_out_zeros(tokens, cells, start, nx):
    """Move what there is from place ``start`` on to the front, each row behind a flag, but no rows of zeros;
    return the length."""
    tokens[0], cells[0] = np.uint8(_SOME_LEFT_OUT), np.uint8(_FLAG_CELL)
    to = np.int64(1)  # never beyond what is left to be moved
    for base in range(start + 1, tokens.size, nx):
        zero = largest_of(tokens[base : base + nx]) == 0
        tokens[to], cells[to] = np.uint8(0 if zero else 1), np.uint8(_FLAG_CELL)
        to += 1
        if not zero:
            for i in range(nx):
                tokens[to + i], cells[to + i] = tokens[base + i], cells[base + i]
            to += nx
    return to


@helper
def _mark_outliers(values, base, marks, code, outliers, cursor):
    for i in range(marks.size):
        if marks[i] == OUTLIER:
            code[i] = OUTLIER
            if cursor[0] < outliers.size:
                outliers[cursor[0]] = values[base + i]
            cursor[0] += 1


@lean
def integrate(values, rows, spacing, levels, room, coder, extra, outliers, cursor):
    """Put into ``values`` those whose codes `encode` made; ``cursor`` is that of `CodeStream`."""
    nx, ny = rows.nx, rows.ny
    step, low, high, centre = spacing.step, spacing.low, spacing.high, spacing.centre
    context_of_cell, token_of_slot = coder.context_of_cell, coder.token_of_slot
    interval = coder.interval
    states, words = coder.states, coder.words
    q, sums, total, code, padded = room.q, room.sums, room.total, room.code, room.padded
    cell, token = room.cell, room.token
    flag_cell, flag, flag_code = room.flag_cell, room.flag, room.flag_code
    taps, offsets, signs = rows.taps, rows.offsets, rows.signs
    along_x, first = rows.along_x, rows.first
    decode_row(
        *(flag, flag_cell, 0, context_of_cell, token_of_slot, interval, states, words, cursor),
    )
    cursor[4] -= codes_of_row(flag, flag[0], flag_code, extra, cursor)  # an outlier is no flag
    some_left_out = flag_code[0] != 0
    flag_code[0] = np.int32(1)
    base, position = 0, 1
    for plane in range(rows.nt * rows.nz):
        for y in range(ny):
            which = row_class(plane, rows.nz, y)
            at, up, back = neighbours(plane, y, ny, nx)
            if some_left_out:
                decode_row(
                    *(flag, flag_cell, position, context_of_cell, token_of_slot, interval),
                    *(states, words, cursor),
                )
                cursor[4] -= codes_of_row(flag, flag[0], flag_code, extra, cursor)
                position += 1
            largest = np.uint8(0)
            if flag_code[0] != 0:
                if plane > 0 or y > 0:
                    cells_of_row(sums, up, back, room.activity, room.bits, cell, levels)
                decode_row(
                    *(token, cell, position, context_of_cell, token_of_slot, interval),
                    *(states, words, cursor),
                )
                position += nx
                largest = largest_of(token)
            sum_rows(total, q, base, taps[which], offsets[which], signs[which])
            running = q[base + first[which]] if first[which] != 0 else np.int32(0)
            here, point = q[base : base + nx], values[base : base + nx]
            if largest == 0:
                running = running if along_x[which] else np.int32(0)
                for i in range(nx):
                    here[i] = running - total[i]
                if levels.factor > 0:
                    note_magnitudes(_zeros(code), sums, at, padded, levels)
                else:
                    _clear(sums, at, nx)
                marked = np.int64(0)
            else:
                marked = codes_of_row(token, largest, code, extra, cursor)
                note_magnitudes(code, sums, at, padded, levels)
                if along_x[which]:
                    for i in range(nx):
                        running = np.int32(running + code[i])
                        code[i] = running
                for i in range(nx):
                    here[i] = code[i] - total[i]
            for i in range(nx):
                point[i] = clamp(values.dtype.type((np.float64(here[i]) + centre) * step), low, high)
            if marked > 0:
                _put_outliers(point, token, outliers, cursor)
            base += nx
    cursor[0] = base


@helper
def _put_outliers(point, token, outliers, cursor):
    for i in range(point.size):
        if token[i] == OUTLIER_TOKEN:
            if cursor[1] < outliers.size:
                point[i] = outliers[cursor[1]]
                cursor[1] += 1
            else:
                cursor[4] = -1


def decompose(
    coded: np.ndarray, shape: tuple[int, ...], plan: Lattice, rule: Quantizer, kept: bool = False
) -> tuple[Symbols, np.ndarray | None]:
    """Symbols and outliers of the flat array ``coded``, and ``kept``, as in `families.decompose`."""
    symbols, outliers = task_of(coded, shape, plan, rule, kept).done()
    return symbols, None if outliers is None else outliers.copy()


def task_of(coded: np.ndarray, shape: tuple[int, ...], plan: Lattice, rule: Quantizer, kept: bool) -> Task:
    rows, coded = differences(shape, plan.axes, plan.fold), walked(coded, shape, plan.fold)
    flags = -(-coded.size // rows.nx // 8) * 8  # tokens are read eight at a time
    return Task(
        *(coded, rows, spacing(rule, plan.centre), levels_of(plan.levels, plan.centre, rule), _room(rows)),
        *(_MANY_ZEROS * (coded.size // rows.nx), Symbols.room(flags + 1 + coded.size, kept), flags),
        *(kept_room("outliers", coded.size // 4 + 1, coded.dtype), apart(3, np.int64)),
    )


def recompose(
    stream: CodeStream,
    outliers: np.ndarray,
    shape: tuple[int, ...],
    plan: Lattice,
    rule: Quantizer,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """The tile of ``shape`` whose codes are in ``stream``; in the flat array ``into``, if there is one."""
    values = np.empty(math.prod(shape), rule.step.dtype) if into is None else into
    rows = differences(shape, plan.axes, plan.fold)
    integrate(
        values,
        rows,
        spacing(rule, plan.centre),
        levels_of(plan.levels, plan.centre, rule),
        _room(rows),
        stream.coder,
        stream.extra,
        outliers,
        stream.cursor,
    )
    return unwalked(values, shape, plan.fold).reshape(shape)
