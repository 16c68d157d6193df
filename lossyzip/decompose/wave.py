"""Passes whose points look at those around them: the rows of one step of a band at a time, see band.py.

A row in which each value is predicted from those before it is a chain of dependent operations, in which the
processor would wait most of the time: so it is a chain of vectors across the planes of the band.
docs/FORMAT.md, "Order".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, inlined, lean
from lossyzip.decompose.band import (
    HALO,
    SKEW,
    WAVE,
    Layout,
    begin_band,
    forget_rows_above,
    geometry,
    places_of,
    put_beside,
    put_natural,
    put_rows,
)
from lossyzip.decompose.batch import (
    append_outliers,
    cells_of,
    condense,
    copy,
    fill,
    magnitudes_of,
    mark_outliers,
    quantize,
    reconstruct,
    reconstruct_zeros,
    sum_magnitudes,
    take_outliers,
)
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.chains import (
    codes_of_steps,
    quantize_chains,
    quantize_eight,
    quantize_wave,
    reconstruct_chains,
    reconstruct_eight,
    reconstruct_wave,
)
from lossyzip.decompose.lying_rows import (
    quantize_rows,
    reconstruct_rows,
    take_outliers_of_rows,
    transpose,
    transpose_back,
)
from lossyzip.decompose.rows import SWEEP, Lattice, Stencils, predict_row, row_class
from lossyzip.entropy.stream import CodeStream, begin_batch, decode_tokens
from lossyzip.entropy.tokens import (
    Symbols,
    append_tokens,
    codes_of_row,
    end_batch,
    largest_of,
)


class Places(NamedTuple):
    """Stencils and contexts, in the layout."""

    stencils: Stencils
    offsets: np.ndarray  # (C,) int64 of context taps, padded
    weights: np.ndarray  # (C,) uint16
    reciprocal: int
    cell: int


class Place(NamedTuple):
    """The rows of a step: those of planes j0 to j1 of the band whose first plane is ``first``."""

    t: int
    first: int
    j0: int
    j1: int
    y0: int  # the row of plane j0; that of each next plane is SKEW less
    base: int  # of x = 0 in the buffer


class Step(NamedTuple):
    """Room for what is computed of the rows at one step; *dense* is (x, plane), as in batch.py."""

    total: np.ndarray  # a run: sums of taps
    activity: np.ndarray  # a run, uint16
    scratch: np.ndarray  # a run, float32
    bits: np.ndarray  # the same as int32
    cell_run: np.ndarray  # a run, uint8
    cell: np.ndarray  # dense, uint8
    sums: np.ndarray  # dense: predictions but for the values before in the row
    wanted: np.ndarray  # dense: the values to code
    recon: np.ndarray  # dense
    steps: np.ndarray  # dense: codes in the field's dtype
    code: np.ndarray  # dense, int32
    code_rows: np.ndarray  # the same, row by row
    magnitude: np.ndarray  # dense, uint8
    token: np.ndarray  # dense, uint8
    running: np.ndarray  # (5, planes): see `_predict`, and the two values before while a row is coded


def _layout(here: Pass, buffer: Buffer) -> tuple[Layout, Places]:
    assert here.around is not None
    found = geometry(here.lattice, here.around, buffer.grid.part_size)
    layout, _, offsets, weights, reciprocal = found
    stencils = here.stencils
    in_rows = here.lattice.fx == 1 and not stencils.taps.any() and not stencils.running_weights
    if not here.around.predicted and not in_rows:
        layout = layout._replace(tapped=1)
        stencils = stencils._replace(offsets=places_of(here.around.taps, here.lattice, found))
    return layout, Places(stencils, offsets, weights, reciprocal, here.contexts.cell)


def _room(layout: Layout, nx: int, dtype: np.dtype) -> Step:
    run, dense = nx * layout.lanes, nx * layout.planes
    scratch = np.empty(run, np.float32)
    return Step(
        np.empty(run, dtype),
        np.empty(run, np.uint16),
        scratch,
        scratch.view(np.int32),
        np.empty(run, np.uint8),
        np.empty(dense, np.uint8),
        np.empty(dense, dtype),
        np.empty(dense, dtype),
        np.empty(dense, dtype),
        np.empty(dense, dtype),
        np.empty(dense, np.int32),
        np.empty(dense, np.int32),
        np.empty(dense, np.uint8),
        np.empty(dense, np.uint8),
        np.empty((5, layout.planes), dtype),
    )


def _band(layout: Layout, lattice: Lattice, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Values, if there are stencils, and magnitudes of a band, and of the one before it in time."""
    size = layout.size * (1 + lattice.coupled)
    values = size + layout.beside * layout.size if layout.tapped else 1
    return np.zeros(values, dtype), np.zeros(size, np.uint8)


def encode_wave(
    here: Pass, buffer: Buffer, symbols: Symbols, outliers: np.ndarray, cursor: np.ndarray
) -> None:
    """As `passes.encode_pass`."""
    layout, places = _layout(here, buffer)
    dtype = buffer.values.dtype
    _encode(
        *(*_band(layout, here.lattice, dtype), _room(layout, here.lattice.nx, dtype)),
        *(here.source, buffer.values, buffer.magnitudes, here.lattice, layout, places, here.rule),
        *(symbols, outliers, cursor),
    )


def decode_wave(here: Pass, buffer: Buffer, codes: CodeStream, outliers: np.ndarray) -> None:
    """As `passes.decode_pass`."""
    layout, places = _layout(here, buffer)
    dtype = buffer.values.dtype
    _decode(
        *(*_band(layout, here.lattice, dtype), _room(layout, here.lattice.nx, dtype)),
        *(buffer.values, buffer.magnitudes, here.lattice, layout, places, here.rule),
        *(codes.coder, codes.extra, outliers, codes.cursor),
    )


@lean
def _encode(
    values,
    magnitudes,
    step,
    field,
    natural,
    sizes,
    lattice,
    layout,
    places,
    quantizer,
    symbols,
    outliers,
    cursor,
):
    """Codes are those of ``field`` and go to ``symbols``."""
    ny = lattice.ny
    row = layout.width * layout.lanes
    blank, found = False, True  # all magnitudes in the band's buffer are 0; some of the band before are not
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, layout.planes):
            planes = min(layout.planes, lattice.nz - first)
            found = found and first > 0
            _next_band(values, magnitudes, natural, sizes, lattice, layout, t, first, blank)
            blank, found = not found and lattice.coupled == 0, False
            for s in range(ny + SKEW * (planes - 1)):
                j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                if j0 >= j1:
                    continue
                base = (s + HALO + SKEW * layout.history) * row + HALO * layout.lanes
                place = Place(t, first, j0, j1, s - SKEW * j0, base)
                some = _encode_rows(
                    step,
                    place,
                    values,
                    magnitudes,
                    field,
                    natural,
                    sizes,
                    lattice,
                    layout,
                    places,
                    quantizer,
                    symbols,
                    outliers,
                    cursor,
                )
                found = found or some
                blank = blank and not some
                if not blank:
                    _put_magnitudes(step, place, magnitudes, sizes, lattice, layout, some)


@lean
def _decode(
    values,
    magnitudes,
    step,
    natural,
    sizes,
    lattice,
    layout,
    places,
    quantizer,
    coder,
    extra,
    outliers,
    cursor,
):
    """The reverse of `_encode`."""
    ny = lattice.ny
    row = layout.width * layout.lanes
    blank, found = False, True  # all magnitudes in the band's buffer are 0; some of the band before are not
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, layout.planes):
            planes = min(layout.planes, lattice.nz - first)
            found = found and first > 0
            _next_band(values, magnitudes, natural, sizes, lattice, layout, t, first, blank)
            blank, found = not found and lattice.coupled == 0, False
            for s in range(ny + SKEW * (planes - 1)):
                j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                if j0 >= j1:
                    continue
                base = (s + HALO + SKEW * layout.history) * row + HALO * layout.lanes
                place = Place(t, first, j0, j1, s - SKEW * j0, base)
                some = _decode_rows(
                    step,
                    place,
                    values,
                    magnitudes,
                    natural,
                    sizes,
                    lattice,
                    layout,
                    places,
                    quantizer,
                    coder,
                    extra,
                    outliers,
                    cursor,
                )
                found = found or some
                blank = blank and not some
                if not blank:
                    _put_magnitudes(step, place, magnitudes, sizes, lattice, layout, some)


@helper
def _next_band(values, magnitudes, natural, sizes, lattice, layout, t, first, blank):
    """Get the buffers of a band ready; ``blank``: that of magnitudes holds nothing but zeros."""
    if layout.tapped:
        begin_band(values, layout, lattice, t, first, natural)
        if layout.beside:
            put_beside(values, layout, lattice, t, first, natural, layout.aside)
    if first == 0:
        magnitudes[: layout.size] = np.uint8(0)
    if not blank:
        begin_band(magnitudes, layout, lattice, t, first, sizes)
        forget_rows_above(magnitudes[: layout.size], layout)


@inlined
def _encode_rows(
    step,
    place,
    values,
    magnitudes,
    field,
    natural,
    sizes,
    lattice,
    layout,
    places,
    quantizer,
    symbols,
    outliers,
    cursor,
):
    """Code the rows of a step; returns whether there are codes other than 0.

    What nothing predicts, or ``natural`` itself, lies in the field without gaps.
    """
    active, nx, at = place.j1 - place.j0, lattice.nx, cursor[0] + 1
    count = active * nx
    code, tokens = step.code[:count], symbols.tokens[at : at + count]
    if layout.tapped:
        _predict(step, place, values, layout, places, lattice, quantizer.low)
        _take_wanted(step, place, field, lattice)
        bad = _quantize_step(step, count, active, places, quantizer)
        some = True
    else:
        bad, some = quantize_rows(step, place, field, natural, lattice, layout, quantizer)
        if some:
            transpose(step.code_rows, nx, active, code)
            if bad > 0:
                _take_wanted(step, place, field, lattice)
    if some:
        if bad > 0:
            append_outliers(code, step.wanted[:count], outliers, cursor)
        append_tokens(code, tokens, symbols.large, cursor)
    else:
        fill(tokens, np.uint8(0))
    some = end_batch(count, symbols, places.cell, cursor)
    if some:
        magnitudes_of(code, step.magnitude[:count])
        _find_cells(step, place, magnitudes, sizes, layout, places, lattice)
        copy(step.cell, symbols.cells[at : at + count])
    if layout.tapped:
        _put_values(step, place, values, natural, lattice, layout)
    return some


@inlined
def _decode_rows(
    step,
    place,
    values,
    magnitudes,
    natural,
    sizes,
    lattice,
    layout,
    places,
    quantizer,
    coder,
    extra,
    outliers,
    cursor,
):
    """The reverse of `_encode_rows`."""
    active, nx = place.j1 - place.j0, lattice.nx
    count = active * nx
    token, code = step.token[:count], step.code[:count]
    some = begin_batch(places.cell, coder, extra, cursor)
    there = np.int64(0)
    if some:
        _find_cells(step, place, magnitudes, sizes, layout, places, lattice)
        decode_tokens(token, step.cell[:count], coder, cursor)
        there = codes_of_row(token, largest_of(token), code, extra, cursor)
        magnitudes_of(code, step.magnitude[:count])
        if there > 0:
            mark_outliers(token, step.magnitude[:count])
    elif layout.tapped:
        fill(code, np.int32(0))
    if layout.tapped:
        _predict(step, place, values, layout, places, lattice, quantizer.low)
        _reconstruct_step(step, count, active, some, there, places, quantizer, outliers, cursor)
        _put_values(step, place, values, natural, lattice, layout)
    else:
        if some:
            transpose_back(code, nx, active, step.code_rows)
        reconstruct_rows(step, place, natural, lattice, layout, quantizer, some)
        if there > 0:
            take_outliers_of_rows(step, place, natural, lattice, outliers, cursor)
    return some


@inlined
def _put_values(step, place, values, natural, lattice, layout):
    recon = step.recon[: (place.j1 - place.j0) * lattice.nx]
    put_rows(values, recon, place.j0, place.j1, place.y0, place.base, layout, place.first, lattice)
    put_natural(natural, recon, place.t, place.first, place.j0, place.j1, place.y0, lattice)


@inlined
def _put_magnitudes(step, place, magnitudes, sizes, lattice, layout, some):
    magnitude = step.magnitude[: (place.j1 - place.j0) * lattice.nx]
    if not some:
        fill(magnitude, np.uint8(0))
    put_rows(magnitudes, magnitude, place.j0, place.j1, place.y0, place.base, layout, place.first, lattice)
    if some:  # where nothing is put they are 0
        put_natural(sizes, magnitude, place.t, place.first, place.j0, place.j1, place.y0, lattice)


@helper
def _take_wanted(step, place, field, lattice):
    """Fill the step's values to code from ``field``."""
    active = place.j1 - place.j0
    for k in range(active):
        start = lattice.origin + place.t * lattice.ft + (place.first + place.j0 + k) * lattice.fz
        source, target = np.uint64(start + (place.y0 - SKEW * k) * lattice.fy), np.uint64(k)
        for _ in range(lattice.nx):
            step.wanted[target] = field[source]
            target += np.uint64(active)
            source += np.uint64(lattice.fx)


@inlined
def _quantize_step(step, count, active, places, quantizer):
    """Fill the step's codes and what the decoder will see; returns how many outliers there are."""
    code, recon, wanted = step.code[:count], step.recon[:count], step.wanted[:count]
    if places.stencils.running_weights == 0:
        bad, _ = quantize(step.sums[:count], wanted, code, recon, quantizer)
    else:
        if active == WAVE:
            quantize_eight(step.sums[:count], wanted, step.steps[:count], recon, step.running, quantizer)
        else:
            quantize_wave(step, wanted, active, count, quantizer)
        if codes_of_steps(wanted, recon, step.steps[:count], code, quantizer):
            bad = 0
        else:
            bad = quantize_chains(step, wanted, active, code, quantizer)
    return bad


@inlined
def _reconstruct_step(step, count, active, some, there, places, quantizer, outliers, cursor):
    """The reverse of `_quantize_step`; ``some``: there are codes other than 0; ``there``: outliers."""
    token, code, recon, sums = step.token[:count], step.code[:count], step.recon[:count], step.sums[:count]
    if places.stencils.running_weights == 0:
        if some:
            reconstruct(sums, code, recon, quantizer)
        else:
            reconstruct_zeros(sums, recon, quantizer)
        if there > 0:
            take_outliers(token, recon, outliers, cursor)
    elif there == 0:
        if active == WAVE:
            reconstruct_eight(sums, code, recon, step.running, quantizer)
        else:
            reconstruct_wave(step, active, code, quantizer)
    else:
        take_outliers(token, recon, outliers, cursor)
        reconstruct_chains(step, active, token, code, quantizer)


@helper
def _predict_plane(total, j, lanes, values, base, stencils, which):
    """`predict_row` for the row of one plane of a step."""
    number = total.dtype.type
    for at in range(j, total.size, lanes):
        total[at] = number(0)
    offsets, weights = stencils.offsets[which], stencils.weights[which]
    for first in range(0, stencils.taps[which], SWEEP):
        o = offsets[first : first + SWEEP]
        w = weights[first : first + SWEEP]
        for at in range(j, total.size, lanes):
            p = base + at
            total[at] = (
                total[at]
                + (
                    (w[0] * values[p + o[0]] + w[4] * values[p + o[4]])
                    + (w[1] * values[p + o[1]] + w[5] * values[p + o[5]])
                )
                + (
                    (w[2] * values[p + o[2]] + w[6] * values[p + o[6]])
                    + (w[3] * values[p + o[3]] + w[7] * values[p + o[7]])
                )
            )


@helper
def _value_before(values, base, j, layout, t, z, y, coupled, low):
    """What stands for the values before the first of a row: see `rows.value_before_row`."""
    here = base + j + layout.history
    if y > 0:
        return values[here - layout.width * layout.lanes]
    if z > 0:
        return values[here - SKEW * layout.width * layout.lanes - 1]
    if t > 0 and coupled == 1:
        return values[here + layout.size]
    return low


@helper
def _find_cells(step, place, magnitudes, sizes, layout, places, lattice):
    """Fill the step's cells."""
    t, first, j0, j1, y0, base = place
    lanes, nx = layout.lanes, lattice.nx
    sum_magnitudes(step.activity, magnitudes, base, places.offsets, places.weights)
    if layout.expected > 0:
        for j in range(j0, j1):
            source = lattice.base + t * lattice.st + (first + j) * lattice.sz
            source += (y0 - SKEW * (j - j0)) * lattice.sy + layout.aside
            row, target = sizes[source : source + nx], np.uint64(j + layout.history)
            for i in range(nx):
                step.activity[target] += np.uint16(np.uint16(layout.expected) * row[i])
                target += np.uint64(lanes)
    cells_of(step.activity, places.reciprocal, places.cell, step.scratch, step.bits, step.cell_run)
    condense(step.cell_run[j0 + layout.history :], nx, j1 - j0, lanes, step.cell)


@helper
def _predict(step, place, values, layout, places, lattice, low):
    """Fill the step's sums and, as `running`, the weights of the two values before in each row, and what
    stands for these before its first."""
    t, first, j0, j1, y0, base = place
    lanes, nx = layout.lanes, lattice.nx
    stencils = places.stencils
    common = stencils.of_class[row_class(t, np.int64(lattice.nz > 1), np.int64(1), lattice.coupled)]
    predict_row(step.total, values, base, stencils, common)
    for j in range(j0, j1):
        z, y = first + j, y0 - SKEW * (j - j0)
        which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
        if which != common:
            _predict_plane(step.total, j + layout.history, lanes, values, base, stencils, which)
        step.running[0, j - j0] = stencils.running[which, 0]
        step.running[1, j - j0] = stencils.running[which, 1]
        step.running[2, j - j0] = _value_before(values, base, j, layout, t, z, y, lattice.coupled, low)
    condense(step.total[j0 + layout.history :], nx, j1 - j0, lanes, step.sums)
