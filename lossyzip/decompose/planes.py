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
from lossyzip.entropy.rans import decode_row
from lossyzip.entropy.stream import CodeStream
from lossyzip.entropy.tokens import Symbols, append_tokens, codes_of_row, largest_of


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
def _encode(
    field, values, magnitudes, lattice, stencils, contexts, quantizer, symbols, outliers, cursor
):
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    run, size = (ny - 1) * sy + nx, ny * nx
    total, activity = np.empty(run, values.dtype), np.empty(run, np.uint16)
    scratch, cell_run = np.empty(run, np.float32), np.empty(run, np.uint8)
    sums = np.empty(size, values.dtype)
    code = np.empty(size, np.int32)
    tokens, cells, large = symbols
    wanted, recon, magnitude = (
        np.empty(size, values.dtype),
        np.empty(size, values.dtype),
        np.empty(size, np.uint8),
    )
    position = cursor[0]
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            base = lattice.base + t * lattice.st + z * lattice.sz
            start = lattice.origin + t * lattice.ft + z * lattice.fz
            sum_magnitudes(activity, magnitudes, base, contexts.offsets, contexts.weights)
            cells_of(activity, contexts.reciprocal, contexts.cell, scratch, cell_run)
            condense(cell_run, ny, nx, sy, cells[position : position + size])
            predict_row(total, values, base, stencils, np.int64(0))
            condense(total, ny, nx, sy, sums)
            for y in range(ny):
                row = wanted[y * nx : y * nx + nx]
                source = field[start + y * lattice.fy : start + y * lattice.fy + (nx - 1) * lattice.fx + 1]
                if lattice.fx == 1:
                    for i in range(nx):
                        row[i] = source[i]
                else:
                    for i in range(nx):
                        row[i] = source[i * lattice.fx]
            if quantize(sums, wanted, code, recon, quantizer) > 0:
                append_outliers(code, wanted, outliers, cursor)
            append_tokens(code, tokens[position : position + size], large, cursor)
            position += size
            magnitudes_of(code, magnitude)
            spread(recon, ny, nx, sy, values[base:])
            spread(magnitude, ny, nx, sy, magnitudes[base:])
            _extend_plane(values, lattice, base, z)
            _extend_plane(magnitudes, lattice, base, z)
    cursor[0] = position


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
def _decode(
    values, magnitudes, lattice, stencils, contexts, quantizer, coder, extra, outliers, cursor
):
    nx, ny, sy = lattice.nx, lattice.ny, lattice.sy
    run, size = (ny - 1) * sy + nx, ny * nx
    total, activity = np.empty(run, values.dtype), np.empty(run, np.uint16)
    scratch, cell_run, cell = np.empty(run, np.float32), np.empty(run, np.uint8), np.empty(size, np.uint8)
    sums, token, code = np.empty(size, values.dtype), np.empty(size, np.uint8), np.empty(size, np.int32)
    recon, magnitude = np.empty(size, values.dtype), np.empty(size, np.uint8)
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            base = lattice.base + t * lattice.st + z * lattice.sz
            sum_magnitudes(activity, magnitudes, base, contexts.offsets, contexts.weights)
            cells_of(activity, contexts.reciprocal, contexts.cell, scratch, cell_run)
            condense(cell_run, ny, nx, sy, cell)
            decode_row(
                token,
                cell,
                cursor[0],
                coder.context_of_cell,
                coder.token_of_slot,
                coder.interval,
                coder.states,
                coder.words,
                cursor,
            )
            cursor[0] += size
            predict_row(total, values, base, stencils, np.int64(0))
            condense(total, ny, nx, sy, sums)
            largest = largest_of(token)
            if largest == 0:
                reconstruct_zeros(sums, recon, quantizer)
            else:
                there = codes_of_row(token, largest, code, extra, cursor)
                reconstruct(sums, code, recon, quantizer)
                magnitudes_of(code, magnitude)
                if there > 0:
                    take_outliers(token, recon, outliers, cursor)
                    mark_outliers(token, magnitude)
                spread(magnitude, ny, nx, sy, magnitudes[base:])
            spread(recon, ny, nx, sy, values[base:])
            if largest != 0:
                _extend_plane(magnitudes, lattice, base, z)
            _extend_plane(values, lattice, base, z)
