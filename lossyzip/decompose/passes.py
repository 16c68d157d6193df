"""One pass over the points of a lattice: in which order rows are coded, and how.

Every family is a sequence of passes. A pass predicts each of its points by a stencil, a linear
combination of reconstructed values, codes the difference in steps, and says for each code which
context cell it belongs to. `encode_pass` and `decode_pass` differ only in where the code comes from.

Where points look at those before them in their row, a row is one chain of dependent operations, and
the processor would wait most of the time. So rows of up to WAVE neighbouring planes are coded side by
side, each SKEW rows behind the one in the plane before it: all that its stencil reads is finished.
docs/FORMAT.md, "Passes".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.rows import (
    CELL_OF_ACTIVITY,
    Lattice,
    activity_of,
    activity_row,
    clamp,
    extend_row,
    magnitude_of,
    next_outlier,
    predict_row,
    quantize,
    row_class,
    value_before_row,
    within,
)
from lossyzip.entropy.rans import decode_symbol
from lossyzip.entropy.stream import CodeStream
from lossyzip.entropy.tokens import FIRST_BUCKET, OUTLIER, RADIUS, code_of_token, decode_rare_token

WAVE = 8  # rows that are coded side by side
SKEW = 3  # taps and contexts reach two rows further in the plane before
_FEW = 2  # so many rows are not worth a vector


class Rows(NamedTuple):
    """Rows at work, up to WAVE of them; n is their length."""

    total: np.ndarray  # (WAVE, n): sums of the taps in finished rows
    activity: np.ndarray  # (WAVE, n) int32: sums of the magnitudes in finished rows
    wanted: np.ndarray  # (WAVE, n): the values to code
    recon: np.ndarray  # (WAVE, n)
    code: np.ndarray  # (WAVE, n) int32
    running: np.ndarray  # (WAVE, 2): weights of the two values before in the row
    before: np.ndarray  # (WAVE,): what stands for the value before the first
    place: np.ndarray  # (WAVE, 3) int64: z, y, where the row begins in the buffer


@kernel
def _rows(lattice, like):
    return Rows(
        np.empty((WAVE, lattice.nx), like.dtype),
        np.empty((WAVE, lattice.nx), np.int32),
        np.empty((WAVE, lattice.nx), like.dtype),
        np.empty((WAVE, lattice.nx), like.dtype),
        np.empty((WAVE, lattice.nx), np.int32),
        np.empty((WAVE, 2), like.dtype),
        np.empty(WAVE, like.dtype),
        np.empty((WAVE, 3), np.int64),
    )


@kernel
def _prepare(rows, first, planes, step, t, values, magnitudes, lattice, stencils, contexts, low):
    """Sum up what finished rows say about the rows of ``step``; how many rows that are."""
    active = 0
    for j in range(planes):
        z, y = first + j, step - SKEW * j
        if 0 <= y < lattice.ny:
            base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
            which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
            predict_row(rows.total[active], values, base, stencils, which)
            activity_row(rows.activity[active], magnitudes, base, contexts, t)
            rows.running[active, 0] = stencils.running[which, 0]
            rows.running[active, 1] = stencils.running[which, 1]
            rows.before[active] = value_before_row(values, lattice, base, t, z, y, low)
            rows.place[active, 0], rows.place[active, 1], rows.place[active, 2] = z, y, base
            active += 1
    return active


@kernel
def _finish(rows, active, t, values, magnitudes, lattice):
    """Put what became of the rows into the buffer, where later ones find it."""
    for k in range(active):
        recon, code = rows.recon[k], rows.code[k]
        z, y, base = rows.place[k, 0], rows.place[k, 1], rows.place[k, 2]
        for i in range(recon.size):
            values[base + i] = recon[i]
        for i in range(code.size):
            magnitudes[base + i] = np.uint16(magnitude_of(code[i]))
        extend_row(values, lattice, t, z, y)
        extend_row(magnitudes, lattice, t, z, y)


def encode_pass(
    here: Pass,
    buffer: Buffer,
    codes: np.ndarray,
    cells: np.ndarray,
    outliers: np.ndarray,
    cursor: np.ndarray,
) -> None:
    """Code the points of a pass; append to ``codes`` (int32), ``cells`` (uint8) and ``outliers``.

    A NaN in the pass's source is a value that nobody will look at: it gets code 0. The buffer receives
    what the decoder will see. ``cursor`` holds how many codes and outliers there are; when ``outliers``
    is full its count goes on, which the caller checks.
    """
    encode = _encode_side_by_side if here.stencils.serial else _encode_apart
    encode(
        here.source,
        buffer.values,
        buffer.magnitudes,
        here.lattice,
        here.stencils,
        here.contexts,
        here.rule,
        CELL_OF_ACTIVITY + np.uint8(here.contexts.cell),
        codes,
        cells,
        outliers,
        cursor,
    )


@kernel
def _encode_apart(
    field, values, magnitudes, lattice, stencils, contexts, quantizer, lookup, codes, cells, outliers, cursor
):
    """A pass in which no point looks at its row: every row is a vector."""
    nx = lattice.nx
    total, wanted, recon = np.empty(nx, values.dtype), np.empty(nx, values.dtype), np.empty(nx, values.dtype)
    activity, code = np.empty(nx, np.int32), np.empty(nx, np.int32)
    position = cursor[0]
    reciprocal = contexts.reciprocal
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            for y in range(lattice.ny):
                base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
                start = lattice.origin + t * lattice.ft + z * lattice.fz + y * lattice.fy
                predict_row(total, values, base, stencils, np.int64(0))
                activity_row(activity, magnitudes, base, contexts, t)
                for i in range(nx):
                    wanted[i] = field[start + i * lattice.fx]
                _quantize_row(total, wanted, code, recon, quantizer)
                for i in range(nx):
                    cells[position + i] = lookup[activity_of(activity[i], reciprocal)]
                for i in range(nx):
                    codes[position + i] = code[i]
                    if code[i] == OUTLIER:
                        _append_outlier(outliers, cursor, wanted[i])
                position += nx
                for i in range(nx):
                    values[base + i] = recon[i]
                for i in range(nx):
                    magnitudes[base + i] = np.uint16(magnitude_of(code[i]))
                extend_row(values, lattice, t, z, y)
                extend_row(magnitudes, lattice, t, z, y)
    cursor[0] = position


@kernel
def _encode_side_by_side(
    field, values, magnitudes, lattice, stencils, contexts, quantizer, lookup, codes, cells, outliers, cursor
):
    """A pass in which points look at those before them in their row."""
    nx = lattice.nx
    rows = _rows(lattice, values)
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, WAVE):
            planes = min(WAVE, lattice.nz - first)
            for step in range(lattice.ny + SKEW * (planes - 1)):
                active = _prepare(
                    rows,
                    first,
                    planes,
                    step,
                    t,
                    values,
                    magnitudes,
                    lattice,
                    stencils,
                    contexts,
                    quantizer.low,
                )
                for k in range(active):
                    wanted = rows.wanted[k]
                    z, y = rows.place[k, 0], rows.place[k, 1]
                    start = lattice.origin + t * lattice.ft + z * lattice.fz + y * lattice.fy
                    for i in range(nx):
                        wanted[i] = field[start + i * lattice.fx]
                _quantize_rows(rows, active, stencils.running_weights, quantizer)
                position = cursor[0]
                size = active * nx
                here, cell = codes[position : position + size], cells[position : position + size]
                for k in range(active):
                    _emit(rows, k, active, contexts, lookup, here, cell)
                for i in range(size):
                    if here[i] == OUTLIER:
                        _append_outlier(outliers, cursor, rows.wanted[i % active, i // active])
                cursor[0] = position + size
                _finish(rows, active, t, values, magnitudes, lattice)


def rows_in_turn(codes: np.ndarray, outliers: np.ndarray, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """``codes`` and ``outliers`` of a pass coded side by side, in C order of the points."""
    place = np.empty(codes.size, np.int64)
    _places(lattice, place)
    in_turn = np.empty_like(codes)
    in_turn[place] = codes
    return in_turn, outliers[np.argsort(place[codes == OUTLIER])]


@kernel
def _places(lattice, place):
    """The number in C order of each point, in the order of `_encode_side_by_side`."""
    position = 0
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, WAVE):
            planes = min(WAVE, lattice.nz - first)
            for step in range(lattice.ny + SKEW * (planes - 1)):
                for x in range(lattice.nx):
                    for j in range(planes):
                        y = step - SKEW * j
                        if 0 <= y < lattice.ny:
                            row = (t * lattice.nz + first + j) * lattice.ny + y
                            place[position] = row * lattice.nx + x
                            position += 1


@kernel
def _quantize_rows(rows, active, running_weights, quantizer):
    """Fill `code` and `recon` of the rows."""
    if running_weights == 0:
        for k in range(active):
            _quantize_row(rows.total[k], rows.wanted[k], rows.code[k], rows.recon[k], quantizer)
    elif active <= _FEW or not _quantize_wave(rows, active, quantizer):
        for k in range(active):
            _quantize_chain(rows, k, quantizer)


@kernel
def _quantize_row(total, wanted, code, recon, quantizer):
    """A row in which no prediction looks at another point of it, as vectors."""
    number = total.dtype.type
    step, inverse, eps = quantizer.step, quantizer.inverse, quantizer.eps
    low, high = quantizer.low, quantizer.high
    for i in range(total.size):
        prediction = clamp(total[i], low, high)
        value = wanted[i]
        steps = np.rint((value - prediction) * inverse)
        steps = steps if value == value else number(0)
        candidate = clamp(prediction + steps * step, low, high)
        ok = (within(value, candidate, eps) | (value != value)) & (abs(steps) < number(RADIUS))
        recon[i] = candidate if ok else value
        code[i] = np.int32(steps if ok else number(0)) if ok else OUTLIER


@kernel
def _quantize_chain(rows, k, quantizer):
    """A row in which each value is predicted from those before it."""
    total, wanted, code, recon = rows.total[k], rows.wanted[k], rows.code[k], rows.recon[k]
    run1, run2 = rows.running[k, 0], rows.running[k, 1]
    before = before2 = rows.before[k]
    for i in range(total.size):
        prediction = (total[i] + run2 * before2) + run1 * before
        code[i], recon[i] = quantize(prediction, wanted[i], quantizer)
        before2, before = before, recon[i]


@kernel
def _quantize_wave(rows, active, quantizer):
    """The same for all rows at once, as vectors across rows; False where a value is an outlier."""
    n = rows.total.shape[1]
    number = rows.total.dtype.type
    step, inverse, eps = quantizer.step, quantizer.inverse, quantizer.eps
    low, high = quantizer.low, quantizer.high
    total, wanted = _columns(rows.total, active), _columns(rows.wanted, active)
    steps, recon = np.empty(n * active, total.dtype), np.empty(n * active, total.dtype)
    run1, run2 = rows.running[:active, 0].copy(), rows.running[:active, 1].copy()
    before, before2 = rows.before[:active].copy(), rows.before[:active].copy()
    for start in range(0, n * active, active):
        totals, values = total[start : start + active], wanted[start : start + active]
        codes, recons = steps[start : start + active], recon[start : start + active]
        for k in range(active):
            prediction = clamp((totals[k] + run2[k] * before2[k]) + run1[k] * before[k], low, high)
            code = np.rint((values[k] - prediction) * inverse)
            code = code if values[k] == values[k] else number(0)
            value = clamp(prediction + code * step, low, high)
            codes[k], recons[k] = code, value
            before2[k] = before[k]
            before[k] = value
    outside = 0
    for i in range(steps.size):
        value = wanted[i]
        ok = (within(value, recon[i], eps) | (value != value)) & (abs(steps[i]) < number(RADIUS))
        outside += 0 if ok else 1
    if outside > 0:
        return False
    for k in range(active):
        code_of_row, recon_of_row = rows.code[k], rows.recon[k]
        for i in range(n):
            code_of_row[i] = np.int32(steps[i * active + k])
            recon_of_row[i] = recon[i * active + k]
    return True


@kernel
def _columns(of_rows, active):
    """The first point of each row, then the second of each, and so on."""
    n = of_rows.shape[1]
    columns = np.empty(n * active, of_rows.dtype)
    for k in range(active):
        row = of_rows[k]
        for i in range(n):
            columns[i * active + k] = row[i]
    return columns


@kernel
def _emit(rows, k, active, contexts, lookup, codes, cells):
    """Put row ``k``'s codes, and the context cell of each, at every ``active``-th place."""
    code, activity = rows.code[k], rows.activity[k]
    n = code.size
    magnitude = np.empty(n + 2, np.int32)
    magnitude[:2] = 0
    for i in range(n):
        magnitude[i + 2] = magnitude_of(code[i])
    weight1, weight2, reciprocal = contexts.left, contexts.left2, contexts.reciprocal
    around = np.empty(n, np.int32)
    for i in range(n):
        around[i] = activity_of(activity[i] + weight1 * magnitude[i + 1] + weight2 * magnitude[i], reciprocal)
    for i in range(n):
        codes[i * active + k] = code[i]
        cells[i * active + k] = lookup[around[i]]


@kernel
def _append_outlier(outliers, cursor, value):
    if cursor[1] < outliers.size:
        outliers[cursor[1]] = value
    cursor[1] += 1


def decode_pass(here: Pass, buffer: Buffer, codes: CodeStream, outliers: np.ndarray) -> None:
    """Put what `encode_pass` put into ``buffer``; the codes come from ``codes``, whose cursor goes on.

    The cursor holds how many codes, outliers, words and extra bits are used up, and becomes negative in
    its last place when one of them ends too early.
    """
    decode = _decode_side_by_side if here.stencils.serial else _decode_apart
    decode(
        buffer.values,
        buffer.magnitudes,
        here.lattice,
        here.stencils,
        here.contexts,
        here.rule,
        codes.coder.context_of_cell[here.contexts.cell + CELL_OF_ACTIVITY.astype(np.int64)],
        codes.coder,
        codes.extra,
        outliers,
        codes.cursor,
    )


@kernel
def _decode_apart(
    values, magnitudes, lattice, stencils, contexts, quantizer, context_of, coder, extra, outliers, cursor
):
    """The reverse of `_encode_apart`."""
    nx = lattice.nx
    total, recon = np.empty(nx, values.dtype), np.empty(nx, values.dtype)
    activity, code = np.empty(nx, np.int32), np.empty(nx, np.int32)
    # As locals: fetching an array from a tuple within the loop counts its references each time.
    token_of_slot, interval, states, words = coder.token_of_slot, coder.interval, coder.states, coder.words
    lane_mask, position, used = states.size - 1, cursor[0], cursor[2]
    reciprocal = contexts.reciprocal
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            for y in range(lattice.ny):
                base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
                predict_row(total, values, base, stencils, np.int64(0))
                activity_row(activity, magnitudes, base, contexts, t)
                there = 0
                for i in range(nx):
                    context = np.int64(context_of[activity_of(activity[i], reciprocal)])
                    lane = (position + i) & lane_mask
                    token, states[lane], used = decode_symbol(
                        context, states[lane], used, token_of_slot, interval, words
                    )
                    # Written out, for the same reason.
                    q = (
                        code_of_token(token)
                        if token < FIRST_BUCKET
                        else decode_rare_token(token, extra, cursor)
                    )
                    code[i] = q
                    there += 1 if q == OUTLIER else 0
                position += nx
                if there > 0:
                    for i in range(nx):
                        if code[i] == OUTLIER:
                            recon[i] = next_outlier(outliers, cursor, quantizer.low)
                _reconstruct_row(total, code, recon, quantizer)
                for i in range(nx):
                    values[base + i] = recon[i]
                for i in range(nx):
                    magnitudes[base + i] = np.uint16(magnitude_of(code[i]))
                extend_row(values, lattice, t, z, y)
                extend_row(magnitudes, lattice, t, z, y)
    cursor[0], cursor[2] = position, used


@kernel
def _decode_side_by_side(
    values, magnitudes, lattice, stencils, contexts, quantizer, context_of, coder, extra, outliers, cursor
):
    """The reverse of `_encode_side_by_side`."""
    rows = _rows(lattice, values)
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, WAVE):
            planes = min(WAVE, lattice.nz - first)
            for step in range(lattice.ny + SKEW * (planes - 1)):
                active = _prepare(
                    rows,
                    first,
                    planes,
                    step,
                    t,
                    values,
                    magnitudes,
                    lattice,
                    stencils,
                    contexts,
                    quantizer.low,
                )
                _decode_rows(rows, active, contexts, context_of, coder, extra, cursor)
                _reconstruct_rows(rows, active, stencils.running_weights, quantizer, outliers, cursor)
                _finish(rows, active, t, values, magnitudes, lattice)


@kernel
def _decode_rows(rows, active, contexts, context_of, coder, extra, cursor):
    """Fill `code` of the rows: the first of each, then the second of each, and so on."""
    activity, code = rows.activity, rows.code
    # As locals: fetching an array from a tuple within the loop counts its references each time.
    token_of_slot, interval, states, words = coder.token_of_slot, coder.interval, coder.states, coder.words
    lane_mask, position, used = states.size - 1, cursor[0], cursor[2]
    weight1, weight2, reciprocal = contexts.left, contexts.left2, contexts.reciprocal
    left, left2 = np.zeros(WAVE, np.int32), np.zeros(WAVE, np.int32)
    for i in range(activity.shape[1]):
        for k in range(active):
            around = activity[k, i] + weight1 * left[k] + weight2 * left2[k]
            context = np.int64(context_of[activity_of(around, reciprocal)])
            lane = position & lane_mask
            token, states[lane], used = decode_symbol(
                context, states[lane], used, token_of_slot, interval, words
            )
            q = code_of_token(token) if token < FIRST_BUCKET else decode_rare_token(token, extra, cursor)
            code[k, i] = q
            left2[k] = left[k]
            left[k] = magnitude_of(q)
            position += 1
    cursor[0], cursor[2] = position, used


@kernel
def _reconstruct_rows(rows, active, running_weights, quantizer, outliers, cursor):
    """Fill `recon` of the rows."""
    there = 0
    for k in range(active):
        code = rows.code[k]
        for i in range(code.size):
            there += 1 if code[i] == OUTLIER else 0
    if there > 0:
        _take_outliers(rows, active, outliers, cursor, quantizer.low)
    if running_weights == 0:
        for k in range(active):
            _reconstruct_row(rows.total[k], rows.code[k], rows.recon[k], quantizer)
    elif there == 0 and active > _FEW:
        _reconstruct_wave(rows, active, quantizer)
    else:
        for k in range(active):
            _reconstruct_chain(rows, k, quantizer)


@kernel
def _take_outliers(rows, active, outliers, cursor, low):
    """Put those of the rows into `recon`."""
    for i in range(rows.code.shape[1]):
        for k in range(active):
            if rows.code[k, i] == OUTLIER:
                rows.recon[k, i] = next_outlier(outliers, cursor, low)


@kernel
def _reconstruct_row(total, code, recon, quantizer):
    number = total.dtype.type
    step, low, high = quantizer.step, quantizer.low, quantizer.high
    for i in range(total.size):
        value = clamp(clamp(total[i], low, high) + number(code[i]) * step, low, high)
        recon[i] = recon[i] if code[i] == OUTLIER else value


@kernel
def _reconstruct_chain(rows, k, quantizer):
    total, code, recon = rows.total[k], rows.code[k], rows.recon[k]
    step, low, high = quantizer.step, quantizer.low, quantizer.high
    run1, run2 = rows.running[k, 0], rows.running[k, 1]
    before = before2 = rows.before[k]
    for i in range(total.size):
        if code[i] != OUTLIER:
            prediction = clamp((total[i] + run2 * before2) + run1 * before, low, high)
            recon[i] = clamp(prediction + total.dtype.type(code[i]) * step, low, high)
        before2, before = before, recon[i]


@kernel
def _reconstruct_wave(rows, active, quantizer):
    """All rows at once, as vectors across rows; none of them has an outlier."""
    n = rows.total.shape[1]
    step, low, high = quantizer.step, quantizer.low, quantizer.high
    number = rows.total.dtype.type
    total, code = _columns(rows.total, active), _columns(rows.code, active)
    recon = np.empty(n * active, total.dtype)
    run1, run2 = rows.running[:active, 0].copy(), rows.running[:active, 1].copy()
    before, before2 = rows.before[:active].copy(), rows.before[:active].copy()
    for start in range(0, n * active, active):
        totals, codes = total[start : start + active], code[start : start + active]
        recons = recon[start : start + active]
        for k in range(active):
            prediction = clamp((totals[k] + run2[k] * before2[k]) + run1[k] * before[k], low, high)
            value = clamp(prediction + number(codes[k]) * step, low, high)
            recons[k] = value
            before2[k] = before[k]
            before[k] = value
    for k in range(active):
        row = rows.recon[k]
        for i in range(n):
            row[i] = recon[i * active + k]
