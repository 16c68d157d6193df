"""Passes in which no point looks at another of its plane: every plane is a vector. The phases of multigrid.

docs/FORMAT.md, "Order".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, lean
from lossyzip.decompose.batch import (
    append_outliers,
    cells_of,
    condense,
    copy,
    magnitudes_of,
    mark_outliers,
    quantize,
    reconstruct,
    reconstruct_zeros,
    spread,
    sum_magnitudes,
    take_outliers,
)
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.rows import Lattice, predict_row, repeat
from lossyzip.entropy.stream import NO_CODER, CodeStream, begin_batch, decode_tokens
from lossyzip.entropy.tokens import Symbols, append_tokens, codes_of_row, end_batch, largest_of


@helper
def _extend_plane(array, lattice, base, z):
    """Repeat the edges of a finished plane into its halo; the first and last planes into theirs."""
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    for y in range(ny):
        row = base + y * sy
        left, right = array[row], array[row + nx - 1]
        for h in range(1, lattice.halo_x + 1):
            array[row - h] = left
            array[row + nx - 1 + h] = right
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


class Room(NamedTuple):
    """For what is computed of one plane; as a run, or dense, as batch.py says."""

    total: np.ndarray  # a run: sums of taps
    wanted: np.ndarray  # a run: the values to code; NaN, where nobody looks, between rows
    activity: np.ndarray  # a run, uint16
    scratch: np.ndarray  # a run, float32
    bits: np.ndarray  # the same as int32
    cell_run: np.ndarray  # a run, uint8
    code_run: np.ndarray  # a run, int32
    token_run: np.ndarray  # a run, uint8
    code: np.ndarray  # dense, int32
    token: np.ndarray  # dense, uint8
    cell: np.ndarray  # dense, uint8


def _room(lattice: Lattice, dtype: np.dtype) -> Room:
    run, size = (lattice.ny - 1) * lattice.sy + lattice.nx, lattice.ny * lattice.nx
    scratch = np.empty(run, np.float32)
    return Room(
        np.empty(run, dtype),
        np.full(run, np.nan, dtype),
        np.empty(run, np.uint16),
        scratch,
        scratch.view(np.int32),
        np.empty(run, np.uint8),
        np.zeros(run, np.int32),
        np.zeros(run, np.uint8),
        np.empty(size, np.int32),
        np.empty(size, np.uint8),
        np.empty(size, np.uint8),
    )


def encode_planes(
    here: Pass, buffer: Buffer, symbols: Symbols, outliers: np.ndarray, cursor: np.ndarray
) -> None:
    """As `passes.encode_pass`."""
    _code(
        *(_room(here.lattice, buffer.values.dtype), here.source, buffer.values, buffer.magnitudes),
        *(here.lattice, here.stencils, here.contexts, here.rule),
        *(symbols, NO_CODER, _NO_WORDS, outliers, cursor, True),
    )


def decode_planes(here: Pass, buffer: Buffer, codes: CodeStream, outliers: np.ndarray) -> None:
    """As `passes.decode_pass`."""
    _code(
        *(_room(here.lattice, buffer.values.dtype), buffer.values, buffer.values, buffer.magnitudes),
        *(here.lattice, here.stencils, here.contexts, here.rule),
        *(_NO_SYMBOLS, codes.coder, codes.extra, outliers, codes.cursor, False),
    )


_NO_SYMBOLS, _NO_WORDS = Symbols.room(0), np.zeros(0, np.uint64)


@lean
def _code(
    room,
    field,
    values,
    magnitudes,
    lattice,
    stencils,
    contexts,
    quantizer,
    symbols,
    coder,
    extra,
    outliers,
    cursor,
    encoding,
):
    """Both directions: when ``encoding``, codes are those of ``field`` and go to ``symbols``."""
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    run, size = (ny - 1) * sy + nx, ny * nx
    total, wanted, activity, scratch, bits, cell_run, code_run, token_run, code, token, cell = room
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            base = lattice.base + t * lattice.st + z * lattice.sz
            here = values[base : base + run]
            predict_row(total, values, base, stencils, np.int64(0))
            at = cursor[0] + 1
            if encoding:
                _take_wanted(wanted, field, t, z, lattice)
                if quantize(total, wanted, code_run, here, quantizer) > 0:
                    append_outliers(code_run, wanted, outliers, cursor)
                condense(code_run, ny, nx, sy, code)
                append_tokens(code, symbols.tokens[at : at + size], symbols.large, cursor)
                some = end_batch(size, symbols, contexts.cell, cursor)
            else:
                some = begin_batch(contexts.cell, coder, extra, cursor)
            if some:
                sum_magnitudes(activity, magnitudes, base, contexts.offsets, contexts.weights)
                cells_of(activity, contexts.reciprocal, contexts.cell, scratch, bits, cell_run)
                condense(cell_run, ny, nx, sy, cell)
                there = 0
                if encoding:
                    copy(cell, symbols.cells[at : at + size])
                else:
                    decode_tokens(token, cell, coder, cursor)
                    there = codes_of_row(token, largest_of(token), code, extra, cursor)
                    spread(code, ny, nx, sy, code_run)
                    reconstruct(total, code_run, here, quantizer)
                sizes = magnitudes[base : base + run]
                magnitudes_of(code_run, sizes)
                if there > 0:
                    spread(token, ny, nx, sy, token_run)
                    take_outliers(token_run, here, outliers, cursor)
                    mark_outliers(token_run, sizes)
                _extend_plane(magnitudes, lattice, base, z)
            elif not encoding:
                reconstruct_zeros(total, here, quantizer)
            _extend_plane(values, lattice, base, z)


@helper
def _take_wanted(wanted, field, t, z, lattice):
    """Fill the points of a run with what is to be coded of ``field``."""
    for y in range(lattice.ny):
        row = wanted[y * lattice.sy : y * lattice.sy + lattice.nx]
        start = lattice.origin + t * lattice.ft + z * lattice.fz + y * lattice.fy
        source = field[start : start + (lattice.nx - 1) * lattice.fx + 1]
        if lattice.fx == 2:  # written out: the finest level is most of the work
            for i in range(row.size):
                row[i] = source[2 * i]
        else:
            for i in range(row.size):
                row[i] = source[i * lattice.fx]
