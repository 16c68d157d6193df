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
from lossyzip.entropy.stream import NO_CODER, CodeStream, begin_batch, decode_tokens
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
    magnitude: np.ndarray  # dense, uint8
    token: np.ndarray  # dense, uint8
    running: np.ndarray  # (5, planes): see `_predict`, and the two values before while a row is coded


def _layout(here: Pass, buffer: Buffer) -> tuple[Layout, Places]:
    assert here.around is not None
    found = geometry(here.lattice, here.around, buffer.grid.part_size)
    layout, _, offsets, weights, reciprocal = found
    stencils = here.stencils
    if not here.around.predicted and (stencils.taps.any() or stencils.running_weights):
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
    _code(
        *(*_band(layout, here.lattice, dtype), _room(layout, here.lattice.nx, dtype)),
        *(here.source, buffer.values, buffer.magnitudes, here.lattice, layout, places, here.rule),
        *(symbols, NO_CODER, _NO_WORDS, outliers, cursor, True),
    )


def decode_wave(here: Pass, buffer: Buffer, codes: CodeStream, outliers: np.ndarray) -> None:
    """As `passes.decode_pass`."""
    layout, places = _layout(here, buffer)
    dtype = buffer.values.dtype
    _code(
        *(*_band(layout, here.lattice, dtype), _room(layout, here.lattice.nx, dtype)),
        *(buffer.values, buffer.values, buffer.magnitudes, here.lattice, layout, places, here.rule),
        *(_NO_SYMBOLS, codes.coder, codes.extra, outliers, codes.cursor, False),
    )


_NO_SYMBOLS, _NO_WORDS = Symbols.room(0), np.zeros(0, np.uint64)


@lean
def _code(
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
    coder,
    extra,
    outliers,
    cursor,
    encoding,
):
    """Both directions: when ``encoding``, codes are those of ``field`` and go to ``symbols``."""
    ny, nx = lattice.ny, lattice.nx
    row = layout.width * layout.lanes
    keep_sizes = lattice.coupled == 1 or layout.aside != 0
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, layout.planes):
            planes = min(layout.planes, lattice.nz - first)
            if layout.tapped:
                begin_band(values, layout, lattice, t, first, natural)
                if layout.beside:
                    put_beside(values, layout, lattice, t, first, natural, layout.aside)
            if first == 0:
                magnitudes[: layout.size] = np.uint8(0)
            begin_band(magnitudes, layout, lattice, t, first, sizes)
            forget_rows_above(magnitudes[: layout.size], layout)
            for s in range(ny + SKEW * (planes - 1)):
                j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                if j0 >= j1:
                    continue
                y0 = s - SKEW * j0
                base = (s + HALO + SKEW * layout.history) * row + HALO * layout.lanes
                place = Place(t, first, j0, j1, y0, base)
                count = (j1 - j0) * nx
                _predict(step, place, values, natural, layout, places, lattice, quantizer.low)
                if encoding:
                    _take_wanted(step, place, field, lattice)
                    at = cursor[0] + 1
                    _encode_step(step, count, j1 - j0, places, quantizer, symbols, outliers, cursor)
                    if end_batch(count, symbols, places.cell, cursor):
                        _find_cells(step, place, magnitudes, sizes, layout, places, lattice)
                        copy(step.cell, symbols.cells[at : at + count])
                else:
                    some = begin_batch(places.cell, coder, extra, cursor)
                    if some:
                        _find_cells(step, place, magnitudes, sizes, layout, places, lattice)
                    _decode_step(
                        step, count, j1 - j0, some, places, quantizer, coder, extra, outliers, cursor
                    )
                recon, magnitude = step.recon[:count], step.magnitude[:count]
                if layout.tapped:
                    put_rows(values, recon, j0, j1, y0, base, layout, first, lattice)
                put_rows(magnitudes, magnitude, j0, j1, y0, base, layout, first, lattice)
                put_natural(natural, recon, t, first, j0, j1, y0, lattice)
                if keep_sizes:
                    put_natural(sizes, magnitude, t, first, j0, j1, y0, lattice)


@helper
def _take_wanted(step, place, field, lattice):
    """Fill the step's values to code from ``field``."""
    active = place.j1 - place.j0
    for k in range(active):
        start = lattice.origin + place.t * lattice.ft + (place.first + place.j0 + k) * lattice.fz
        start += (place.y0 - SKEW * k) * lattice.fy
        source = field[start : start + (lattice.nx - 1) * lattice.fx + 1]
        target = np.uint64(k)
        for i in range(lattice.nx):
            step.wanted[target] = source[i * lattice.fx]
            target += np.uint64(active)


@inlined
def _encode_step(step, count, active, places, quantizer, symbols, outliers, cursor):
    """Code what is wanted; the tokens go behind a place for the flag of the batch."""
    code, recon, wanted = step.code[:count], step.recon[:count], step.wanted[:count]
    if places.stencils.running_weights == 0:
        bad, _ = quantize(step.sums[:count], wanted, code, recon, quantizer)
    elif _quantize_wave(step, wanted, active, code, quantizer):
        bad = 0
    else:
        bad = _quantize_chains(step, wanted, active, code, quantizer)
    if bad > 0:
        append_outliers(code, wanted, outliers, cursor)
    at = cursor[0] + 1
    append_tokens(code, symbols.tokens[at : at + count], symbols.large, cursor)
    magnitudes_of(code, step.magnitude[:count])


@inlined
def _decode_step(step, count, active, some, places, quantizer, coder, extra, outliers, cursor):
    """The reverse of `_encode_step`; ``some``: there are codes other than 0."""
    token, code, recon = step.token[:count], step.code[:count], step.recon[:count]
    sums, magnitude = step.sums[:count], step.magnitude[:count]
    there = 0
    if some:
        decode_tokens(token, step.cell[:count], coder, cursor)
        there = codes_of_row(token, largest_of(token), code, extra, cursor)
        magnitudes_of(code, magnitude)
    else:
        code[:] = np.int32(0)
        magnitude[:] = np.uint8(0)
    if there > 0:
        mark_outliers(token, magnitude)
    if places.stencils.running_weights == 0:
        if some:
            reconstruct(sums, code, recon, quantizer)
        else:
            reconstruct_zeros(sums, recon, quantizer)
        if there > 0:
            take_outliers(token, recon, outliers, cursor)
    elif there == 0:
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
    lanes, nx, active = layout.lanes, lattice.nx, j1 - j0
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
    condense(step.cell_run[j0 + layout.history :], nx, active, lanes, step.cell)


@helper
def _predict(step, place, values, natural, layout, places, lattice, low):
    """Fill the step's sums and, as `running`, the weights of the two values before in each row, and what
    stands for these before its first."""
    t, first, j0, j1, y0, base = place
    lanes, nx, active = layout.lanes, lattice.nx, j1 - j0
    if layout.predicted:
        for j in range(j0, j1):
            source = lattice.base + t * lattice.st + (first + j) * lattice.sz
            source += (y0 - SKEW * (j - j0)) * lattice.sy
            row, target = natural[source : source + nx], np.uint64(j - j0)
            for i in range(nx):
                step.sums[target] = row[i]
                target += np.uint64(active)
        return
    if not layout.tapped:
        step.sums[:] = step.sums.dtype.type(0)
        return
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
    condense(step.total[j0 + layout.history :], nx, active, lanes, step.sums)


@helper
def _quantize_wave(step, wanted, active, code, quantizer):
    """Fill `recon` and ``code``, each value predicted from those before it; False where one is an outlier."""
    count = code.size
    sums, values = step.sums[:count], wanted[:count]
    number = sums.dtype.type
    step_size, inverse, eps = quantizer.step, quantizer.inverse, quantizer.eps
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
    outside = 0
    for i in range(count):
        value_here = values[i]
        ok = (within(value_here, recon[i], eps) | (value_here != value_here)) & (
            abs(steps[i]) < number(RADIUS)
        )
        outside += 0 if ok else 1
    if outside > 0:
        return False
    for i in range(count):
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
