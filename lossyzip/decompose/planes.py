"""Passes in which no point looks at another of its plane: every plane is a vector. The phases of multigrid.

docs/FORMAT.md, "Order".
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, inlined, lean
from lossyzip.decompose.batch import (
    append_outliers,
    cells_of,
    condense,
    fill,
    magnitudes_of,
    mark_outliers,
    quantize,
    reconstruct,
    reconstruct_zeros,
    spread,
    sum_magnitudes,
    take_outliers,
)
from lossyzip.decompose.buffer import Buffer, Pass, stacked
from lossyzip.decompose.rows import Lattice, Quantizer, Stencils, lattice_of, predict_row, repeat
from lossyzip.entropy.rans import LANES
from lossyzip.entropy.stream import CodeStream, begin_batch, decode_tokens
from lossyzip.entropy.tokens import Symbols, append_tokens, codes_of_row, end_batch, largest_of

_AT_ONCE = 1024  # values, all that is computed of which stays in the fastest cache


@helper
def extend_plane(array, lattice, base, z):
    """Repeat the edges of a finished plane into its halo; the first and last planes into theirs."""
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    for y in range(ny):
        first = np.uint64(base + y * sy)
        last = first + np.uint64(nx - 1)
        left, right = array[first], array[last]
        for h in range(np.uint64(1), np.uint64(lattice.halo_x + 1)):
            array[first - h] = left
            array[last + h] = right
    width = nx + 2 * lattice.halo_x
    first = base - lattice.halo_x
    last = first + (ny - 1) * sy
    for h in range(1, lattice.halo_y + 1):
        repeat(array, first, first + width, -h * sy)
        repeat(array, last, last + width, h * sy)
    first -= lattice.halo_y * sy
    end = first + (ny - 1 + 2 * lattice.halo_y) * sy + width
    for h in range(1, lattice.halo_z + 1):
        if z == 0:
            repeat(array, first, end, -h * lattice.sz)
        if z == lattice.nz - 1:
            repeat(array, first, end, h * lattice.sz)


@lean
def join(parts, layout, target, lattice):
    """Put an array whose parts are the phases of a level into ``target``, at the points of ``lattice``, and
    its edges into the halo. ``layout``: `Grid.layout`; an array of one part is put there as it is."""
    stride = 2 if layout.parts == 8 else 1
    two, one = np.uint64(2), np.uint64(1)
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            plane = lattice.base + t * lattice.st + z * lattice.sz
            for y in range(lattice.ny):
                part = (4 * (z % 2) + 2 * (y % 2)) * (stride - 1)
                start = part * layout.part_size + layout.first + t * layout.st
                start += z // stride * layout.sz + y // stride * layout.sy
                row = np.uint64(plane + y * lattice.sy)
                if stride == 1:
                    source = parts[start : start + lattice.nx]
                    for i in range(np.uint64(lattice.nx)):
                        target[row + i] = source[i]
                    continue
                even = parts[start : start + (lattice.nx + 1) // 2]
                odd = parts[start + layout.part_size : start + layout.part_size + lattice.nx // 2]
                for i in range(np.uint64(odd.size)):
                    target[row + two * i] = even[i]
                    target[row + two * i + one] = odd[i]
                if lattice.nx % 2 == 1:
                    target[row + np.uint64(lattice.nx - 1)] = even[lattice.nx // 2]
            extend_plane(target, lattice, plane, z)


class Room(NamedTuple):
    """For what is computed of some rows of a plane; as a run, or dense, as batch.py says."""

    total: np.ndarray  # a run: sums of taps
    wanted: np.ndarray  # a run: the values to code; NaN, where nobody looks, between rows
    spare: np.ndarray  # a run: what was read in vain
    activity: np.ndarray  # a run, uint16
    scratch: np.ndarray  # a run, float32
    bits: np.ndarray  # the same as int32
    cell_run: np.ndarray  # a run, uint8
    code_run: np.ndarray  # a run, int32
    token_run: np.ndarray  # a run, uint8
    code: np.ndarray  # dense, int32
    token: np.ndarray  # dense, uint8
    cell: np.ndarray  # dense, uint8


def _rows_at_once(lattice: Lattice) -> int:
    """So many rows of a plane as are about _AT_ONCE values, and whole rounds of rANS states."""
    rows = LANES // math.gcd(lattice.nx, LANES)
    return min(lattice.ny, rows * max(1, _AT_ONCE // (rows * lattice.sy)))


class Table(NamedTuple):
    """Passes over one buffer, a row each: so kernels go through all of them at once."""

    lattices: np.ndarray  # (P, 17) int64, each a `Lattice`
    stencils: Stencils  # one of a pass, of the same number
    offsets: np.ndarray  # (P, C) int64, and weights: those of `Contexts`
    weights: np.ndarray  # (P, C) uint16
    context_taps: np.ndarray  # (P,) int64: so many of C there are, a multiple of SWEEP
    reciprocals: np.ndarray  # (P,) int64
    cells: np.ndarray  # (P,) int64
    most_rows: np.ndarray  # (P,) int64: that are coded at once
    run: int  # the longest run of these, and how many points are in it at most
    points: int


@lru_cache(maxsize=256)
def _table(passes: tuple[Pass, ...]) -> Table:
    lattices = [here.lattice for here in passes]
    rows = [_rows_at_once(lattice) for lattice in lattices]
    stencils = [here.stencils for here in passes]
    contexts = [here.contexts for here in passes]
    return Table(
        np.array(lattices, np.int64),
        Stencils(
            stencils[0].of_class,
            np.concatenate([one.taps for one in stencils]),
            stacked([one.offsets[0] for one in stencils]),
            stacked([one.weights[0] for one in stencils]),
            np.concatenate([one.running for one in stencils]),
            0,
        ),
        stacked([one.offsets for one in contexts]),
        stacked([one.weights for one in contexts]),
        np.array([one.offsets.size for one in contexts], np.int64),
        np.array([one.reciprocal for one in contexts], np.int64),
        np.array([one.cell for one in contexts], np.int64),
        np.array(rows, np.int64),
        max((n - 1) * lattice.sy + lattice.nx for n, lattice in zip(rows, lattices, strict=True)),
        max(n * lattice.nx for n, lattice in zip(rows, lattices, strict=True)),
    )


def _room(run: int, points: int, dtype: np.dtype) -> Room:
    scratch = np.empty(run, np.float32)
    return Room(
        np.empty(run, dtype),
        np.empty(run, dtype),
        np.empty(run, dtype),
        np.empty(run, np.uint16),
        scratch,
        scratch.view(np.int32),
        np.empty(run, np.uint8),
        np.empty(run, np.int32),
        np.empty(run, np.uint8),
        np.empty(points, np.int32),
        np.empty(points, np.uint8),
        np.empty(points, np.uint8),
    )


def encode_planes(
    passes: tuple[Pass, ...],
    buffer: Buffer,
    rule: Quantizer,
    source: np.ndarray,
    symbols: Symbols,
    outliers: np.ndarray,
    cursor: np.ndarray,
) -> None:
    """As `passes.encode_passes`."""
    table = _table(passes)
    room = _room(table.run, table.points, buffer.values.dtype)
    _encode(room, table, source, buffer.values, buffer.magnitudes, rule, symbols, outliers, cursor)


def decode_planes(
    passes: tuple[Pass, ...], buffer: Buffer, rule: Quantizer, codes: CodeStream, outliers: np.ndarray
) -> None:
    """As `passes.decode_passes`."""
    table = _table(passes)
    room = _room(table.run, table.points, buffer.values.dtype)
    _decode(
        *(room, table, buffer.values, buffer.magnitudes, rule),
        *(codes.coder, codes.extra, outliers, codes.cursor),
    )


@lean
def _encode(room, table, field, values, magnitudes, quantizer, symbols, outliers, cursor):
    """Codes are those of ``field`` and go to ``symbols``."""
    stencils = table.stencils
    for number in range(table.cells.size):
        lattice = lattice_of(table.lattices[number])
        seen = table.context_taps[number]
        offsets, weights = table.offsets[number, :seen], table.weights[number, :seen]
        reciprocal, first_cell = table.reciprocals[number], table.cells[number]
        most_rows = table.most_rows[number]
        _blank_gaps(room)
        nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
        size = ny * nx
        for t in range(lattice.nt):
            for z in range(lattice.nz):
                base = lattice.base + t * lattice.st + z * lattice.sz
                at = cursor[0] + 1
                for y in range(0, ny, most_rows):
                    rows = min(most_rows, ny - y)
                    start, run = base + y * sy, (rows - 1) * sy + nx
                    total, wanted, code_run = room.total[:run], room.wanted[:run], room.code_run[:run]
                    predict_row(total, values, start, stencils, number)
                    _take_wanted(wanted, field, t, z, y, rows, lattice, room.spare)
                    tokens = symbols.tokens[at + y * nx : at + (y + rows) * nx]
                    bad, some = quantize(total, wanted, code_run, values[start : start + run], quantizer)
                    sizes = magnitudes[start : start + run]
                    if not some:
                        fill(tokens, np.uint8(0))
                        fill(sizes, np.uint8(0))
                        continue
                    if bad > 0:
                        append_outliers(code_run, wanted, outliers, cursor)
                    code = room.code[: rows * nx]
                    condense(code_run, rows, nx, sy, code)
                    append_tokens(code, tokens, symbols.large, cursor)
                    magnitudes_of(code_run, sizes)
                if end_batch(size, symbols, first_cell, cursor):
                    for y in range(0, ny, most_rows):
                        rows = min(most_rows, ny - y)
                        cells = symbols.cells[at + y * nx : at + (y + rows) * nx]
                        _find_cells(
                            room,
                            cells,
                            magnitudes,
                            base + y * sy,
                            rows,
                            nx,
                            sy,
                            offsets,
                            weights,
                            reciprocal,
                            first_cell,
                        )
                    extend_plane(magnitudes, lattice, base, z)
                extend_plane(values, lattice, base, z)


@lean
def _decode(room, table, values, magnitudes, quantizer, coder, extra, outliers, cursor):
    """The reverse of `_encode`."""
    stencils = table.stencils
    for number in range(table.cells.size):
        lattice = lattice_of(table.lattices[number])
        seen = table.context_taps[number]
        offsets, weights = table.offsets[number, :seen], table.weights[number, :seen]
        reciprocal, first_cell = table.reciprocals[number], table.cells[number]
        most_rows = table.most_rows[number]
        _blank_gaps(room)
        nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
        for t in range(lattice.nt):
            for z in range(lattice.nz):
                base = lattice.base + t * lattice.st + z * lattice.sz
                some = begin_batch(first_cell, coder, extra, cursor)
                for y in range(0, ny, most_rows):
                    rows = min(most_rows, ny - y)
                    start, run = base + y * sy, (rows - 1) * sy + nx
                    total, here = room.total[:run], values[start : start + run]
                    predict_row(total, values, start, stencils, number)
                    if not some:
                        reconstruct_zeros(total, here, quantizer)
                        continue
                    token = room.token[: rows * nx]
                    _find_cells(
                        room,
                        room.cell[: rows * nx],
                        magnitudes,
                        start,
                        rows,
                        nx,
                        sy,
                        offsets,
                        weights,
                        reciprocal,
                        first_cell,
                    )
                    decode_tokens(token, room.cell[: rows * nx], coder, cursor)
                    largest = largest_of(token)
                    sizes = magnitudes[start : start + run]
                    if largest == 0:
                        fill(sizes, np.uint8(0))
                        reconstruct_zeros(total, here, quantizer)
                        continue
                    code, code_run = room.code[: rows * nx], room.code_run[:run]
                    there = codes_of_row(token, largest, code, extra, cursor)
                    spread(code, rows, nx, sy, code_run)
                    reconstruct(total, code_run, here, quantizer)
                    magnitudes_of(code_run, sizes)
                    if there > 0:
                        token_run = room.token_run[:run]
                        spread(token, rows, nx, sy, token_run)
                        take_outliers(token_run, here, outliers, cursor)
                        mark_outliers(token_run, sizes)
                if some:
                    extend_plane(magnitudes, lattice, base, z)
                extend_plane(values, lattice, base, z)


@helper
def _blank_gaps(room):
    """Between the rows of a run are values that nobody looks at, whose codes are 0."""
    fill(room.wanted, room.wanted.dtype.type(np.nan))
    fill(room.code_run, np.int32(0))
    fill(room.token_run, np.uint8(0))


@inlined
def _find_cells(room, cells, magnitudes, start, rows, nx, sy, offsets, weights, reciprocal, first_cell):
    """Fill the dense ``cells`` of some rows, which look at finished planes alone."""
    run = (rows - 1) * sy + nx
    activity, cell_run = room.activity[:run], room.cell_run[:run]
    sum_magnitudes(activity, magnitudes, start, offsets, weights)
    cells_of(activity, reciprocal, first_cell, room.scratch, room.bits, cell_run)
    condense(cell_run, rows, nx, sy, cells)


@helper
def _take_wanted(wanted, field, t, z, first, rows, lattice, spare):
    """Fill the points of a run with what is to be coded of ``field``."""
    for y in range(rows):
        into = np.uint64(y * lattice.sy)
        start = np.uint64(lattice.origin + t * lattice.ft + z * lattice.fz + (first + y) * lattice.fy)
        if lattice.fx == 2:  # the finest level is most of the work: both of a pair are read, not one in two
            last = np.uint64(lattice.nx - 1)
            pairs, out = field[start : start + np.uint64(2) * last], wanted[into : into + last]
            for i in range(last):
                out[i] = pairs[np.uint64(2) * i]
                spare[i] = pairs[np.uint64(2) * i + np.uint64(1)]
            wanted[into + last] = field[start + np.uint64(2) * last]
        else:
            for i in range(np.uint64(lattice.nx)):
                wanted[into + i] = field[start + i * np.uint64(lattice.fx)]
