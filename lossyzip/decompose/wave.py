"""Passes whose points look at those around them: rows of up to WAVE neighbouring planes at a time.

Each plane is SKEW rows behind the one before it, so that all that a point looks at in other rows is finished
when its *step* comes. The values of a step lie together: a band of planes has a buffer of its own,
in the order (step, x, plane), so that every tap is a stretch of it, and so that a row in which each value
is predicted from those before is a chain of vectors across planes.
docs/FORMAT.md, "Passes".
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossyzip._jit import inlined, kernel, merged
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
from lossyzip.decompose.buffer import Around, Buffer, Pass, padded
from lossyzip.decompose.rows import (
    SWEEP,
    Contexts,
    Lattice,
    Stencils,
    clamp,
    predict_row,
    row_class,
    within,
)
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

WAVE = 8  # planes that are coded side by side
SKEW = 3  # taps and contexts reach two rows further in the plane before
_HALO = 3
_REACH = 2  # planes that taps reach back


class Layout(NamedTuple):
    """Where things are in the buffer of a band.

    Point (y, x) of plane j is at ``((y + _HALO + SKEW * (j + history)) * width + x + _HALO) * lanes + j + history``.
    """

    planes: int  # of a full band
    history: int  # planes before the band's
    lanes: int  # planes, history, and one more where there is a volume before
    width: int
    size: int  # of a band; one of the volume before follows it, if there is one
    tapped: int  # 1: some stencil has taps, and the band needs values
    predicted: int  # 1: the prediction of each value lies in its place
    expected: int  # weight of the expected magnitudes, among those around
    aside: int  # where they are, from the magnitudes


class Places(NamedTuple):
    """Stencils and contexts, in the layout."""

    stencils: Stencils
    offsets: np.ndarray  # (C,) int64 of context taps, padded
    weights: np.ndarray  # (C,) uint16
    reciprocal: int
    cell: int


class Step(NamedTuple):
    """Room for what is computed of the rows at one step; *dense* is (x, plane), as in batch.py."""

    total: np.ndarray  # a run: sums of taps
    activity: np.ndarray  # a run, uint16
    scratch: np.ndarray  # a run, float32
    cell_run: np.ndarray  # a run, uint8
    cell: np.ndarray  # dense, uint8
    sums: np.ndarray  # dense: predictions but for the values before in the row
    recon: np.ndarray  # dense
    steps: np.ndarray  # dense: codes in the field's dtype
    code: np.ndarray  # dense, int32
    magnitude: np.ndarray  # dense, uint8
    token: np.ndarray  # dense, uint8
    running: np.ndarray  # (3, planes): weights of the two values before in the row, and what is before the first


def _layout(here: Pass, buffer: Buffer) -> tuple[Layout, Places]:
    assert here.around is not None
    layout, strides, offsets, weights, reciprocal = _geometry(here.lattice, here.around, buffer.grid.part_size)
    stencils = here.stencils
    if not here.around.predicted and (stencils.taps.any() or stencils.running_weights):
        layout = layout._replace(tapped=1)
        stencils = stencils._replace(offsets=here.around.taps @ strides)
    return layout, Places(stencils, offsets, weights, reciprocal, here.contexts.cell)


@lru_cache(maxsize=256)
def _geometry(
    lattice: Lattice, around: Around, part_size: int
) -> tuple[Layout, np.ndarray, np.ndarray, np.ndarray, int]:
    """The layout; strides of (t, z, y, x) in it; offsets, weights and the reciprocal of all weights of contexts."""
    planes = min(WAVE, lattice.nz)
    history = _REACH if lattice.nz > 1 else 0
    lanes = planes + history + (1 if lattice.coupled == 1 and lattice.nz > 1 else 0)
    width = lattice.nx + 2 * _HALO
    size = (lattice.ny + 2 * _HALO + SKEW * (lanes - 1) + 1) * width * lanes
    layout = Layout(
        *(planes, history, lanes, width, size),
        tapped=0,
        predicted=int(around.predicted),
        expected=around.expected,
        aside=part_size,
    )
    strides = np.array([-size, SKEW * width * lanes + 1, width * lanes, lanes], np.int64)
    offsets = np.zeros(padded(len(around.contexts)), np.int64)
    weights = np.zeros(offsets.size, np.uint16)
    offsets[: len(around.contexts)] = around.contexts @ strides
    weights[: len(around.weights)] = around.weights
    return layout, strides, offsets, weights, (1 << 16) // max(sum(around.weights) + around.expected, 1)


@kernel
def _room(layout, nx, like):
    run, dense = nx * layout.lanes, nx * layout.planes
    return Step(
        np.empty(run, like.dtype),
        np.empty(run, np.uint16),
        np.empty(run, np.float32),
        np.empty(run, np.uint8),
        np.empty(dense, np.uint8),
        np.empty(dense, like.dtype),
        np.empty(dense, like.dtype),
        np.empty(dense, like.dtype),
        np.empty(dense, np.int32),
        np.empty(dense, np.uint8),
        np.empty(dense, np.uint8),
        np.empty((3, layout.planes), like.dtype),
    )


@kernel
def _begin_band(array, layout, lattice, t, first, natural):
    """Get the band's buffer ready: what the last two planes of the band before were, and the volume before."""
    lanes, width, history = layout.lanes, layout.width, layout.history
    ny, nx = lattice.ny, lattice.nx
    row = width * lanes
    if first > 0:
        from_plane = SKEW * layout.planes * row + layout.planes
        for y in range(ny + 2 * _HALO):
            for j in range(history):
                at = np.uint64((y + SKEW * j) * row + j)
                source = at + np.uint64(from_plane)
                for _ in range(width):
                    array[at] = array[source]
                    at += np.uint64(lanes)
                    source += np.uint64(lanes)
    if lattice.coupled == 0 or t == 0:
        return
    ahead = lanes - history - layout.planes
    back = 1 if history > 0 else 0
    for j in range(-back, layout.planes + ahead):
        z = min(max(first + j, 0), lattice.nz - 1)
        for y in range(-1, ny + 1):
            inside = min(max(y, 0), ny - 1)
            source = lattice.base + (t - 1) * lattice.st + z * lattice.sz + inside * lattice.sy
            at = layout.size + ((y + _HALO + SKEW * (j + history)) * width + _HALO) * lanes + j + history
            array[at - lanes] = natural[source]
            target, origin = np.uint64(at), np.uint64(source)
            for _ in range(nx):
                array[target] = natural[origin]
                target += np.uint64(lanes)
                origin += np.uint64(1)
            array[target] = natural[source + nx - 1]


@kernel
def _forget_rows_above(magnitudes, layout):
    """The rows above the first count 0 until that one is decoded, and so do those before the first plane."""
    row = layout.width * layout.lanes
    for j in range(layout.history, layout.lanes):
        for y in range(_HALO):
            at = (y + SKEW * j) * row + j
            magnitudes[at : at + row : layout.lanes] = np.uint8(0)


@merged
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


@inlined
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


@merged
def _find_cells(step, t, first, j0, j1, y0, base, magnitudes, sizes, layout, places, lattice):
    """Fill the step's cells for the rows of planes j0 to j1, the first of which is row ``y0``."""
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
    cells_of(step.activity, places.reciprocal, places.cell, step.scratch, step.cell_run)
    condense(step.cell_run[j0 + layout.history :], nx, active, lanes, step.cell)


@merged
def _predict(step, t, first, j0, j1, y0, base, values, natural, layout, places, lattice, low):
    """Fill the step's sums for the same rows."""
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
    common = stencils.of_class[row_class(t, 1 if lattice.nz > 1 else 0, 1, lattice.coupled)]
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


@merged
def _put_rows(array, dense, j0, j1, y0, base, layout, first, lattice):
    """Put the rows of a step into the buffer of the band, and their edges into its halo."""
    lanes, nx, width = layout.lanes, lattice.nx, layout.width
    active, row = j1 - j0, layout.width * layout.lanes
    spread(dense, nx, active, lanes, array[base + j0 + layout.history :])
    for h in range(1, _HALO + 1):
        for lane in range(j0 + layout.history, j1 + layout.history):
            array[base - h * lanes + lane] = array[base + lane]
            array[base + (nx - 1 + h) * lanes + lane] = array[base + (nx - 1) * lanes + lane]
    for j in range(j0, j1):
        z, y = first + j, y0 - SKEW * (j - j0)
        at = base - _HALO * lanes + j + layout.history
        if y == 0:
            for h in range(1, _HALO + 1):
                _copy_lane(array, at, at - h * row, lanes, width)
        if y == lattice.ny - 1:
            for h in range(1, _HALO + 1):
                _copy_lane(array, at, at + h * row, lanes, width)
        if z == 0 and layout.history > 0:
            above = _HALO if y == 0 else 0
            below = _HALO if y == lattice.ny - 1 else 0
            for h in range(-above, below + 1):
                for k in range(1, layout.history + 1):
                    _copy_lane(array, at + h * row, at + (h - k * SKEW) * row - k, lanes, width)


@merged
def _copy_lane(array, source, target, lanes, width):
    source, target = np.uint64(source), np.uint64(target)
    for _ in range(width):
        array[target] = array[source]
        source += np.uint64(lanes)
        target += np.uint64(lanes)


@merged
def _put_natural(natural, dense, t, first, j0, j1, y0, lattice):
    """Put the rows of a step where they lie in the field's buffer."""
    active = j1 - j0
    for k in range(active):
        start = lattice.base + t * lattice.st + (first + j0 + k) * lattice.sz + (y0 - SKEW * k) * lattice.sy
        row = natural[start : start + lattice.nx]
        source = np.uint64(k)
        for i in range(row.size):
            row[i] = dense[source]
            source += np.uint64(active)


def encode_wave(
    here: Pass, buffer: Buffer, symbols: Symbols, outliers: np.ndarray, cursor: np.ndarray
) -> None:
    """As `passes.encode_pass`."""
    layout, places = _layout(here, buffer)
    _encode(
        here.source,
        buffer.values,
        buffer.magnitudes,
        here.lattice,
        layout,
        places,
        here.rule,
        symbols,
        outliers,
        cursor,
    )


@kernel
def _encode(field, natural, sizes, lattice, layout, places, quantizer, symbols, outliers, cursor):
    volumes = 2 if lattice.coupled == 1 else 1
    values = np.zeros(volumes * layout.size if layout.tapped else 1, natural.dtype)
    magnitudes = np.zeros(volumes * layout.size, np.uint8)
    step = _room(layout, lattice.nx, natural)
    wanted = np.empty(lattice.nx * layout.planes, natural.dtype)
    ny, nx = lattice.ny, lattice.nx
    row = layout.width * layout.lanes
    keep_sizes = lattice.coupled == 1 or layout.aside != 0
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, layout.planes):
            planes = min(layout.planes, lattice.nz - first)
            if layout.tapped:
                _begin_band(values, layout, lattice, t, first, natural)
            if first == 0:
                magnitudes[: layout.size] = np.uint8(0)
            _begin_band(magnitudes, layout, lattice, t, first, sizes)
            _forget_rows_above(magnitudes[: layout.size], layout)
            for s in range(ny + SKEW * (planes - 1)):
                j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                active, y0 = j1 - j0, s - SKEW * j0
                if active <= 0:
                    continue
                base = (s + _HALO + SKEW * layout.history) * row + _HALO * layout.lanes
                _predict(
                    *(step, t, first, j0, j1, y0, base, values, natural, layout, places, lattice),
                    quantizer.low,
                )
                count = active * nx
                for k in range(active):
                    start = lattice.origin + t * lattice.ft + (first + j0 + k) * lattice.fz
                    start += (y0 - SKEW * k) * lattice.fy
                    source = field[start : start + (nx - 1) * lattice.fx + 1]
                    target = np.uint64(k)
                    for i in range(nx):
                        wanted[target] = source[i * lattice.fx]
                        target += np.uint64(active)
                code, recon = step.code[:count], step.recon[:count]
                if places.stencils.running_weights == 0:
                    bad = quantize(step.sums[:count], wanted[:count], code, recon, quantizer)
                elif _quantize_wave(step, wanted, active, code, quantizer):
                    bad = 0
                else:
                    bad = _quantize_chains(step, wanted, active, code, quantizer)
                if bad > 0:
                    append_outliers(code, wanted, outliers, cursor)
                at = cursor[0] + 1
                append_tokens(code, symbols.tokens[at : at + count], symbols.large, cursor)
                if end_batch(count, symbols, places.cell, cursor):
                    _find_cells(
                        *(step, t, first, j0, j1, y0, base, magnitudes, sizes, layout, places, lattice),
                    )
                    symbols.cells[at : at + count] = step.cell[:count]
                magnitude = step.magnitude[:count]
                magnitudes_of(code, magnitude)
                if layout.tapped:
                    _put_rows(values, recon, j0, j1, y0, base, layout, first, lattice)
                _put_rows(magnitudes, magnitude, j0, j1, y0, base, layout, first, lattice)
                _put_natural(natural, recon, t, first, j0, j1, y0, lattice)
                if keep_sizes:
                    _put_natural(sizes, magnitude, t, first, j0, j1, y0, lattice)


@kernel
def _quantize_wave(step, wanted, active, code, quantizer):
    """Fill `recon` and ``code``, each value predicted from those before it; False where one is an outlier."""
    count = code.size
    sums, values = step.sums[:count], wanted[:count]
    number = sums.dtype.type
    step_size, inverse, eps = quantizer.step, quantizer.inverse, quantizer.eps
    low, high = quantizer.low, quantizer.high
    steps, recon = step.steps[:count], step.recon[:count]
    run1, run2 = step.running[0, :active].copy(), step.running[1, :active].copy()
    before, before2 = step.running[2, :active].copy(), step.running[2, :active].copy()
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


@kernel
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


def decode_wave(here: Pass, buffer: Buffer, codes: CodeStream, outliers: np.ndarray) -> None:
    """As `passes.decode_pass`."""
    layout, places = _layout(here, buffer)
    _decode(
        buffer.values,
        buffer.magnitudes,
        here.lattice,
        layout,
        places,
        here.rule,
        codes.coder,
        codes.extra,
        outliers,
        codes.cursor,
    )


@kernel
def _decode(natural, sizes, lattice, layout, places, quantizer, coder, extra, outliers, cursor):
    volumes = 2 if lattice.coupled == 1 else 1
    values = np.zeros(volumes * layout.size if layout.tapped else 1, natural.dtype)
    magnitudes = np.zeros(volumes * layout.size, np.uint8)
    step = _room(layout, lattice.nx, natural)
    ny, nx = lattice.ny, lattice.nx
    row = layout.width * layout.lanes
    keep_sizes = lattice.coupled == 1 or layout.aside != 0
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, layout.planes):
            planes = min(layout.planes, lattice.nz - first)
            if layout.tapped:
                _begin_band(values, layout, lattice, t, first, natural)
            if first == 0:
                magnitudes[: layout.size] = np.uint8(0)
            _begin_band(magnitudes, layout, lattice, t, first, sizes)
            _forget_rows_above(magnitudes[: layout.size], layout)
            for s in range(ny + SKEW * (planes - 1)):
                j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                active, y0 = j1 - j0, s - SKEW * j0
                if active <= 0:
                    continue
                base = (s + _HALO + SKEW * layout.history) * row + _HALO * layout.lanes
                _predict(
                    *(step, t, first, j0, j1, y0, base, values, natural, layout, places, lattice),
                    quantizer.low,
                )
                count = active * nx
                token, code, recon = step.token[:count], step.code[:count], step.recon[:count]
                magnitude = step.magnitude[:count]
                there, some = 0, begin_batch(places.cell, coder, extra, cursor)
                if some:
                    _find_cells(
                        *(step, t, first, j0, j1, y0, base, magnitudes, sizes, layout, places, lattice),
                    )
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
                        reconstruct(step.sums[:count], code, recon, quantizer)
                    else:
                        reconstruct_zeros(step.sums[:count], recon, quantizer)
                    if there > 0:
                        take_outliers(token, recon, outliers, cursor)
                elif there == 0:
                    _reconstruct_wave(step, active, code, quantizer)
                else:
                    take_outliers(token, recon, outliers, cursor)
                    _reconstruct_chains(step, active, token, code, quantizer)
                if layout.tapped:
                    _put_rows(values, recon, j0, j1, y0, base, layout, first, lattice)
                _put_rows(magnitudes, magnitude, j0, j1, y0, base, layout, first, lattice)
                _put_natural(natural, recon, t, first, j0, j1, y0, lattice)
                if keep_sizes:
                    _put_natural(sizes, magnitude, t, first, j0, j1, y0, lattice)


@kernel
def _reconstruct_wave(step, active, code, quantizer):
    """The reverse of `_quantize_wave`."""
    count = code.size
    sums, recon = step.sums[:count], step.recon[:count]
    number = sums.dtype.type
    step_size, low, high = quantizer.step, quantizer.low, quantizer.high
    run1, run2 = step.running[0, :active].copy(), step.running[1, :active].copy()
    before, before2 = step.running[2, :active].copy(), step.running[2, :active].copy()
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


@kernel
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
