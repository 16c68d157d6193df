"""Passes whose points look at those around them: the rows of one step of a band at a time, see band.py.

A row in which each value is predicted from those before it is a chain of dependent operations, in which the
processor would wait most of the time: so it is a chain of vectors across the planes of the band.
docs/FORMAT.md, "Order".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, inlined, lean, merged
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
from lossyzip.decompose.rows import SWEEP, Lattice, Stencils, clamp, predict_row, row_class, within
from lossyzip.entropy.stream import CodeStream, begin_batch, decode_tokens
from lossyzip.entropy.tokens import (
    OUTLIER,
    OUTLIER_TOKEN,
    RADIUS,
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
        bad, some = _quantize_rows(step, place, field, natural, lattice, layout, quantizer)
        if some:
            _transpose(step.code_rows, nx, active, code)
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
            _transpose_back(code, nx, active, step.code_rows)
        _reconstruct_rows(step, place, natural, lattice, layout, quantizer, some)
        if there > 0:
            _take_outliers(step, place, natural, lattice, outliers, cursor)
    return some


@helper
def _row_of(place, k, lattice):
    """Where the k-th row of a step lies in the field's buffer."""
    plane = lattice.base + place.t * lattice.st + (place.first + place.j0 + k) * lattice.sz
    return plane + (place.y0 - SKEW * k) * lattice.sy


@helper
def _quantize_rows(step, place, field, natural, lattice, layout, quantizer):
    """`batch.quantize` of a step's rows as they lie, which nothing but ``natural`` itself predicts.

    Fills `code_rows`, and ``natural`` with what the decoder will see.
    """
    nx, bad, some = lattice.nx, 0, False
    for k in range(place.j1 - place.j0):
        start = _row_of(place, k, lattice)
        row = natural[start : start + nx]
        if not layout.predicted:
            fill(row, row.dtype.type(0))
        origin = lattice.origin + place.t * lattice.ft + (place.first + place.j0 + k) * lattice.fz
        origin += (place.y0 - SKEW * k) * lattice.fy
        total = step.sums[:nx]
        copy(row, total)
        worse, more = quantize(
            total, field[origin : origin + nx], step.code_rows[k * nx : (k + 1) * nx], row, quantizer
        )
        bad += worse
        some = some or more
    return bad, some


@helper
def _reconstruct_rows(step, place, natural, lattice, layout, quantizer, some):
    """The reverse of `_quantize_rows`, but for outliers; where not ``some``, all codes are 0."""
    nx = lattice.nx
    for k in range(place.j1 - place.j0):
        start = _row_of(place, k, lattice)
        row, total = natural[start : start + nx], step.sums[:nx]
        if layout.predicted:
            copy(row, total)
        else:
            fill(total, total.dtype.type(0))
        if some:
            reconstruct(total, step.code_rows[k * nx : (k + 1) * nx], row, quantizer)
        else:
            reconstruct_zeros(total, row, quantizer)


@helper
def _take_outliers(step, place, natural, lattice, outliers, cursor):
    """`batch.take_outliers` for rows as they lie."""
    active = place.j1 - place.j0
    for i in range(active * lattice.nx):
        if step.token[i] == np.uint8(OUTLIER_TOKEN):
            if cursor[1] < outliers.size:
                natural[_row_of(place, i % active, lattice) + i // active] = outliers[cursor[1]]
                cursor[1] += 1
            else:
                cursor[4] = -1


@helper
def _transpose(rows, length, count, dense):
    """Put ``count`` rows of ``length`` side by side.

    Eight at a time are written out: scattered by one instruction, as the compiler would, they take longer.
    """
    pitch = np.uint64(length)
    if count == WAVE:
        for i in range(pitch):
            at = np.uint64(WAVE) * i
            v0 = rows[i]
            v1 = rows[i + np.uint64(1) * pitch]
            v2 = rows[i + np.uint64(2) * pitch]
            v3 = rows[i + np.uint64(3) * pitch]
            v4 = rows[i + np.uint64(4) * pitch]
            v5 = rows[i + np.uint64(5) * pitch]
            v6 = rows[i + np.uint64(6) * pitch]
            v7 = rows[i + np.uint64(7) * pitch]
            dense[at] = v0
            dense[at + np.uint64(1)] = v1
            dense[at + np.uint64(2)] = v2
            dense[at + np.uint64(3)] = v3
            dense[at + np.uint64(4)] = v4
            dense[at + np.uint64(5)] = v5
            dense[at + np.uint64(6)] = v6
            dense[at + np.uint64(7)] = v7
        return
    for k in range(count):
        target, source = np.uint64(k), np.uint64(k) * pitch
        for i in range(pitch):
            dense[target] = rows[source + i]
            target += np.uint64(count)


@helper
def _transpose_back(dense, length, count, rows):
    """The reverse of `_transpose`."""
    pitch = np.uint64(length)
    if count == WAVE:
        for i in range(pitch):
            at = np.uint64(WAVE) * i
            v0 = dense[at]
            v1 = dense[at + np.uint64(1)]
            v2 = dense[at + np.uint64(2)]
            v3 = dense[at + np.uint64(3)]
            v4 = dense[at + np.uint64(4)]
            v5 = dense[at + np.uint64(5)]
            v6 = dense[at + np.uint64(6)]
            v7 = dense[at + np.uint64(7)]
            rows[i] = v0
            rows[i + np.uint64(1) * pitch] = v1
            rows[i + np.uint64(2) * pitch] = v2
            rows[i + np.uint64(3) * pitch] = v3
            rows[i + np.uint64(4) * pitch] = v4
            rows[i + np.uint64(5) * pitch] = v5
            rows[i + np.uint64(6) * pitch] = v6
            rows[i + np.uint64(7) * pitch] = v7
        return
    for k in range(count):
        target, source = np.uint64(k) * pitch, np.uint64(k)
        for i in range(pitch):
            rows[target + i] = dense[source]
            source += np.uint64(count)


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
            _quantize_eight(step.sums[:count], wanted, step.steps[:count], recon, step.running, quantizer)
        else:
            _quantize_wave(step, wanted, active, count, quantizer)
        if _codes_of_steps(wanted, recon, step.steps[:count], code, quantizer):
            bad = 0
        else:
            bad = _quantize_chains(step, wanted, active, code, quantizer)
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
            _reconstruct_eight(sums, code, recon, step.running, quantizer)
        else:
            _reconstruct_wave(step, active, code, quantizer)
    else:
        take_outliers(token, recon, outliers, cursor)
        _reconstruct_chains(step, active, token, code, quantizer)


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


@merged
def _quantized(total, value, run1, run2, before, before2, step, inverse, low, high, zero):
    """(code in the field's dtype, what the decoder will see) of one value of `_quantize_wave`."""
    prediction = clamp((total + run2 * before2) + run1 * before, low, high)
    q = np.rint((value - prediction) * inverse)
    q = q if value == value else zero
    return q, clamp(prediction + q * step, low, high)


@merged
def _reconstructed(total, q, run1, run2, before, before2, step, low, high):
    """One value of `_reconstruct_wave`."""
    prediction = clamp((total + run2 * before2) + run1 * before, low, high)
    return clamp(prediction + q * step, low, high)


@helper
def _quantize_eight(sums, values, steps, recon, running, quantizer):
    """`_quantize_wave` of WAVE rows: eight chains, written out, so that their ends stay in registers."""
    zero = sums.dtype.type(0)
    step, inverse, low, high = quantizer.step, quantizer.inverse, quantizer.low, quantizer.high
    f0, g0, b0, a0 = running[0, 0], running[1, 0], running[2, 0], running[2, 0]
    f1, g1, b1, a1 = running[0, 1], running[1, 1], running[2, 1], running[2, 1]
    f2, g2, b2, a2 = running[0, 2], running[1, 2], running[2, 2], running[2, 2]
    f3, g3, b3, a3 = running[0, 3], running[1, 3], running[2, 3], running[2, 3]
    f4, g4, b4, a4 = running[0, 4], running[1, 4], running[2, 4], running[2, 4]
    f5, g5, b5, a5 = running[0, 5], running[1, 5], running[2, 5], running[2, 5]
    f6, g6, b6, a6 = running[0, 6], running[1, 6], running[2, 6], running[2, 6]
    f7, g7, b7, a7 = running[0, 7], running[1, 7], running[2, 7], running[2, 7]
    for i in range(np.uint64(sums.size // WAVE)):
        at = i * np.uint64(WAVE)
        q0, c0 = _quantized(sums[at], values[at], f0, g0, b0, a0, step, inverse, low, high, zero)
        q1, c1 = _quantized(
            sums[at + np.uint64(1)], values[at + np.uint64(1)], f1, g1, b1, a1, step, inverse, low, high, zero
        )
        q2, c2 = _quantized(
            sums[at + np.uint64(2)], values[at + np.uint64(2)], f2, g2, b2, a2, step, inverse, low, high, zero
        )
        q3, c3 = _quantized(
            sums[at + np.uint64(3)], values[at + np.uint64(3)], f3, g3, b3, a3, step, inverse, low, high, zero
        )
        q4, c4 = _quantized(
            sums[at + np.uint64(4)], values[at + np.uint64(4)], f4, g4, b4, a4, step, inverse, low, high, zero
        )
        q5, c5 = _quantized(
            sums[at + np.uint64(5)], values[at + np.uint64(5)], f5, g5, b5, a5, step, inverse, low, high, zero
        )
        q6, c6 = _quantized(
            sums[at + np.uint64(6)], values[at + np.uint64(6)], f6, g6, b6, a6, step, inverse, low, high, zero
        )
        q7, c7 = _quantized(
            sums[at + np.uint64(7)], values[at + np.uint64(7)], f7, g7, b7, a7, step, inverse, low, high, zero
        )
        steps[at] = q0
        steps[at + np.uint64(1)] = q1
        steps[at + np.uint64(2)] = q2
        steps[at + np.uint64(3)] = q3
        steps[at + np.uint64(4)] = q4
        steps[at + np.uint64(5)] = q5
        steps[at + np.uint64(6)] = q6
        steps[at + np.uint64(7)] = q7
        recon[at] = c0
        recon[at + np.uint64(1)] = c1
        recon[at + np.uint64(2)] = c2
        recon[at + np.uint64(3)] = c3
        recon[at + np.uint64(4)] = c4
        recon[at + np.uint64(5)] = c5
        recon[at + np.uint64(6)] = c6
        recon[at + np.uint64(7)] = c7
        a0, a1, a2, a3, a4, a5, a6, a7 = b0, b1, b2, b3, b4, b5, b6, b7
        b0, b1, b2, b3, b4, b5, b6, b7 = c0, c1, c2, c3, c4, c5, c6, c7


@helper
def _reconstruct_eight(sums, code, recon, running, quantizer):
    """The reverse of `_quantize_eight`."""
    number = sums.dtype.type
    step, low, high = quantizer.step, quantizer.low, quantizer.high
    f0, g0, b0, a0 = running[0, 0], running[1, 0], running[2, 0], running[2, 0]
    f1, g1, b1, a1 = running[0, 1], running[1, 1], running[2, 1], running[2, 1]
    f2, g2, b2, a2 = running[0, 2], running[1, 2], running[2, 2], running[2, 2]
    f3, g3, b3, a3 = running[0, 3], running[1, 3], running[2, 3], running[2, 3]
    f4, g4, b4, a4 = running[0, 4], running[1, 4], running[2, 4], running[2, 4]
    f5, g5, b5, a5 = running[0, 5], running[1, 5], running[2, 5], running[2, 5]
    f6, g6, b6, a6 = running[0, 6], running[1, 6], running[2, 6], running[2, 6]
    f7, g7, b7, a7 = running[0, 7], running[1, 7], running[2, 7], running[2, 7]
    for i in range(np.uint64(sums.size // WAVE)):
        at = i * np.uint64(WAVE)
        q0 = number(code[at])
        q1 = number(code[at + np.uint64(1)])
        q2 = number(code[at + np.uint64(2)])
        q3 = number(code[at + np.uint64(3)])
        q4 = number(code[at + np.uint64(4)])
        q5 = number(code[at + np.uint64(5)])
        q6 = number(code[at + np.uint64(6)])
        q7 = number(code[at + np.uint64(7)])
        c0 = _reconstructed(sums[at], q0, f0, g0, b0, a0, step, low, high)
        c1 = _reconstructed(sums[at + np.uint64(1)], q1, f1, g1, b1, a1, step, low, high)
        c2 = _reconstructed(sums[at + np.uint64(2)], q2, f2, g2, b2, a2, step, low, high)
        c3 = _reconstructed(sums[at + np.uint64(3)], q3, f3, g3, b3, a3, step, low, high)
        c4 = _reconstructed(sums[at + np.uint64(4)], q4, f4, g4, b4, a4, step, low, high)
        c5 = _reconstructed(sums[at + np.uint64(5)], q5, f5, g5, b5, a5, step, low, high)
        c6 = _reconstructed(sums[at + np.uint64(6)], q6, f6, g6, b6, a6, step, low, high)
        c7 = _reconstructed(sums[at + np.uint64(7)], q7, f7, g7, b7, a7, step, low, high)
        recon[at] = c0
        recon[at + np.uint64(1)] = c1
        recon[at + np.uint64(2)] = c2
        recon[at + np.uint64(3)] = c3
        recon[at + np.uint64(4)] = c4
        recon[at + np.uint64(5)] = c5
        recon[at + np.uint64(6)] = c6
        recon[at + np.uint64(7)] = c7
        a0, a1, a2, a3, a4, a5, a6, a7 = b0, b1, b2, b3, b4, b5, b6, b7
        b0, b1, b2, b3, b4, b5, b6, b7 = c0, c1, c2, c3, c4, c5, c6, c7


@helper
def _quantize_wave(step, wanted, active, count, quantizer):
    """Fill `steps` and `recon` as if no value were an outlier, each predicted from those before it."""
    sums, values = step.sums[:count], wanted[:count]
    number = sums.dtype.type
    step_size, inverse = quantizer.step, quantizer.inverse
    low, high = quantizer.low, quantizer.high
    steps, recon = step.steps[:count], step.recon[:count]
    run1, run2 = step.running[0], step.running[1]
    before, before2 = step.running[3], step.running[4]
    for k in range(active):
        before[k], before2[k] = step.running[2, k], step.running[2, k]
    for start in range(0, count, active):
        total, value = sums[start : start + active], values[start : start + active]
        out, made = steps[start : start + active], recon[start : start + active]
        for k in range(active):
            prediction = clamp((total[k] + run2[k] * before2[k]) + run1[k] * before[k], low, high)
            q = np.rint((value[k] - prediction) * inverse)
            q = q if value[k] == value[k] else number(0)
            candidate = clamp(prediction + q * step_size, low, high)
            out[k], made[k] = q, candidate
            before2[k] = before[k]
            before[k] = candidate


@helper
def _codes_of_steps(wanted, recon, steps, code, quantizer):
    """Fill ``code`` with ``steps``; False where one of ``recon`` is not within the bound: an outlier."""
    number = steps.dtype.type
    outside = 0
    for i in range(steps.size):
        value = wanted[i]
        ok = (within(value, recon[i], quantizer.eps) | (value != value)) & (abs(steps[i]) < number(RADIUS))
        outside += 0 if ok else 1
    if outside > 0:
        return False
    for i in range(steps.size):
        code[i] = np.int32(steps[i])
    return True


@helper
def _quantize_chains(step, wanted, active, code, quantizer):
    """The same value by value, with outliers; returns how many those are."""
    sums, recon = step.sums, step.recon
    number = sums.dtype.type
    low, high, eps = quantizer.low, quantizer.high, quantizer.eps
    bad = 0
    for k in range(active):
        run1, run2 = step.running[0, k], step.running[1, k]
        before = before2 = step.running[2, k]
        for i in range(k, code.size, active):
            prediction = clamp((sums[i] + run2 * before2) + run1 * before, low, high)
            value = wanted[i]
            q = np.rint((value - prediction) * quantizer.inverse)
            q = q if value == value else number(0)
            candidate = clamp(prediction + q * quantizer.step, low, high)
            ok = (within(value, candidate, eps) | (value != value)) & (abs(q) < number(RADIUS))
            recon[i] = candidate if ok else value
            code[i] = np.int32(q if ok else number(0)) if ok else OUTLIER
            bad += 0 if ok else 1
            before2, before = before, recon[i]
    return bad


@helper
def _reconstruct_wave(step, active, code, quantizer):
    """The reverse of `_quantize_wave`."""
    count = code.size
    sums, recon = step.sums[:count], step.recon[:count]
    number = sums.dtype.type
    step_size, low, high = quantizer.step, quantizer.low, quantizer.high
    run1, run2 = step.running[0], step.running[1]
    before, before2 = step.running[3], step.running[4]
    for k in range(active):
        before[k], before2[k] = step.running[2, k], step.running[2, k]
    for start in range(0, count, active):
        total, q, made = (
            sums[start : start + active],
            code[start : start + active],
            recon[start : start + active],
        )
        for k in range(active):
            prediction = clamp((total[k] + run2[k] * before2[k]) + run1[k] * before[k], low, high)
            value = clamp(prediction + number(q[k]) * step_size, low, high)
            made[k] = value
            before2[k] = before[k]
            before[k] = value


@helper
def _reconstruct_chains(step, active, token, code, quantizer):
    """The reverse of `_quantize_chains`; outliers are there already."""
    sums, recon = step.sums, step.recon
    low, high = quantizer.low, quantizer.high
    for k in range(active):
        run1, run2 = step.running[0, k], step.running[1, k]
        before = before2 = step.running[2, k]
        for i in range(k, code.size, active):
            if token[i] != np.uint8(OUTLIER_TOKEN):
                prediction = clamp((sums[i] + run2 * before2) + run1 * before, low, high)
                recon[i] = clamp(prediction + sums.dtype.type(code[i]) * quantizer.step, low, high)
            before2, before = before, recon[i]
