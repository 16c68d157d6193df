"""Passes in which no point looks at another of its plane: every plane is a vector. The phases of multigrid.

`encode_planes` and `decode_planes` differ only in where the code comes from. docs/FORMAT.md, "Passes".
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.batch import (
    append_outliers,
    cells_of,
    condense,
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
from lossyzip.decompose.rows import predict_row
from lossyzip.entropy.stream import CodeStream, begin_batch, decode_tokens
from lossyzip.entropy.tokens import Symbols, append_tokens, codes_of_row, end_batch, largest_of


@kernel
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
        array[first - h * sy : first - h * sy + width] = array[first : first + width]
        array[last + h * sy : last + h * sy + width] = array[last : last + width]
    first -= lattice.halo_y * sy
    size = (ny - 1 + 2 * lattice.halo_y) * sy + width
    for h in range(1, lattice.halo_z + 1):
        if z == 0:
            at = first - h * lattice.sz
            array[at : at + size] = array[first : first + size]
        if z == lattice.nz - 1:
            at = first + h * lattice.sz
            array[at : at + size] = array[first : first + size]


def encode_planes(
    here: Pass, buffer: Buffer, symbols: Symbols, outliers: np.ndarray, cursor: np.ndarray
) -> None:
    """As `passes.encode_pass`."""
    _encode(
        here.source,
        buffer.values,
        buffer.magnitudes,
        here.lattice,
        here.stencils,
        here.contexts,
        here.rule,
        symbols,
        outliers,
        cursor,
    )


@kernel
def _encode(field, values, magnitudes, lattice, stencils, contexts, quantizer, symbols, outliers, cursor):
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    run, size = (ny - 1) * sy + nx, ny * nx
    total, activity = np.empty(run, values.dtype), np.empty(run, np.uint16)
    scratch, cell_run, code_run = np.empty(run, np.float32), np.empty(run, np.uint8), np.empty(run, np.int32)
    wanted, code = np.full(run, np.nan, values.dtype), np.empty(size, np.int32)  # NaN where nobody looks
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            base = lattice.base + t * lattice.st + z * lattice.sz
            start = lattice.origin + t * lattice.ft + z * lattice.fz
            predict_row(total, values, base, stencils, np.int64(0))
            for y in range(ny):
                row = wanted[y * sy : y * sy + nx]
                source = field[start + y * lattice.fy : start + y * lattice.fy + (nx - 1) * lattice.fx + 1]
                if lattice.fx == 2:  # written out: the finest level is most of the work
                    for i in range(nx):
                        row[i] = source[2 * i]
                else:
                    for i in range(nx):
                        row[i] = source[i * lattice.fx]
            bad = quantize(total, wanted, code_run, values[base : base + run], quantizer)
            condense(code_run, ny, nx, sy, code)
            if bad > 0:
                append_outliers(code_run, wanted, outliers, cursor)
            at = cursor[0] + 1
            append_tokens(code, symbols.tokens[at : at + size], symbols.large, cursor)
            if end_batch(size, symbols, contexts.cell, cursor):
                sum_magnitudes(activity, magnitudes, base, contexts.offsets, contexts.weights)
                cells_of(activity, contexts.reciprocal, contexts.cell, scratch, cell_run)
                condense(cell_run, ny, nx, sy, symbols.cells[at : at + size])
                magnitudes_of(code_run, magnitudes[base : base + run])
                _extend_plane(magnitudes, lattice, base, z)
            _extend_plane(values, lattice, base, z)


def decode_planes(here: Pass, buffer: Buffer, codes: CodeStream, outliers: np.ndarray) -> None:
    """As `passes.decode_pass`."""
    _decode(
        buffer.values,
        buffer.magnitudes,
        here.lattice,
        here.stencils,
        here.contexts,
        here.rule,
        codes.coder,
        codes.extra,
        outliers,
        codes.cursor,
    )


@kernel
def _decode(values, magnitudes, lattice, stencils, contexts, quantizer, coder, extra, outliers, cursor):
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    run, size = (ny - 1) * sy + nx, ny * nx
    total, activity = np.empty(run, values.dtype), np.empty(run, np.uint16)
    scratch, cell_run, cell = np.empty(run, np.float32), np.empty(run, np.uint8), np.empty(size, np.uint8)
    token, code, code_run = np.empty(size, np.uint8), np.empty(size, np.int32), np.zeros(run, np.int32)
    token_run = np.zeros(run, np.uint8)
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            base = lattice.base + t * lattice.st + z * lattice.sz
            predict_row(total, values, base, stencils, np.int64(0))
            here = values[base : base + run]
            if begin_batch(contexts.cell, coder, extra, cursor):
                sum_magnitudes(activity, magnitudes, base, contexts.offsets, contexts.weights)
                cells_of(activity, contexts.reciprocal, contexts.cell, scratch, cell_run)
                condense(cell_run, ny, nx, sy, cell)
                decode_tokens(token, cell, coder, cursor)
                there = codes_of_row(token, largest_of(token), code, extra, cursor)
                spread(code, ny, nx, sy, code_run)
                reconstruct(total, code_run, here, quantizer)
                magnitudes_of(code_run, magnitudes[base : base + run])
                if there > 0:
                    spread(token, ny, nx, sy, token_run)
                    take_outliers(token_run, here, outliers, cursor)
                    mark_outliers(token_run, magnitudes[base : base + run])
                _extend_plane(magnitudes, lattice, base, z)
            else:
                reconstruct_zeros(total, here, quantizer)
            _extend_plane(values, lattice, base, z)
