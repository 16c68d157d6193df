"""A pass whose codes are mixed: what is known around each point becomes contexts, then the code a value.

Encoding is decoding with the codes given: `mixed_pass` goes over what `encode_passes` decomposed, and does
what the decoder will do. Contexts are the activity, the codes of the pass around the point, and the
*looks*: values near it, each of which the point may be equal to. docs/FORMAT.md, "Mixed coding".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import inlined, lean, merged
from lossyzip.decompose.batch import copy, sum_magnitudes
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.parents import magnify
from lossyzip.decompose.rows import (
    CELL_OF_ACTIVITY,
    CELLS,
    Lattice,
    Quantizer,
    activity_of,
    activity_row,
    clamp,
    extend_row,
    magnitude_of,
    next_outlier,
    predict_row,
    row_class,
    value_before_row,
)
from lossyzip.entropy.mixing import (
    CONTEXT,
    EXPECTED,
    LOOKS,
    MIRRORED,
    MODELS,
    Mixer,
    bit_length,
    code_flag,
    mix_code,
)
from lossyzip.entropy.tokens import OUTLIER
from lossyzip.kept import apart

_QUARTERS = 2040.0  # a look's distance is told in quarters of a step, up to this
_FARTHEST = 2.0**20 - 1.0  # and as a code up to this
STRETCH = 32  # points of a row, behind a flag
_FEW, _SOME = 4, 12  # of these
_SOME_FOUND = 7  # in the place of how many points of a stretch are left
_VALUE_BINS = 64
_BINS = 25  # of a distance
_FAR = 12  # the bin of no distance

_SIZES = [1, 2, 4, 6, 8, 11, 15, 20, 28, 40, 60, 90, 140, 250, 600]
SIZE_OF = np.searchsorted(_SIZES, np.arange(4096), side="right")
_DISTANCES = [1, 3, 6, 10, 14, 22, 34, 56, 96, 200, 480]
BIN_OF_DISTANCE = np.searchsorted(_DISTANCES, np.arange(2048), side="right")


@inlined
def _bin(quarters):
    """-11 to 11: a distance, roughly."""
    size = BIN_OF_DISTANCE[abs(quarters)]
    return -size if quarters < 0 else size


@inlined
def _between(value, most):
    """``value`` within [-most, most]."""
    return min(max(np.int64(value), np.int64(-most)), np.int64(most))


class Room(NamedTuple):
    """What is known around one point, and of a row and a plane. None of it is an array that a mixer has."""

    offset: np.ndarray  # (LOOKS,) int64
    quarters: np.ndarray  # (LOOKS,) int64
    model: np.ndarray  # see `mix_code`
    inputs: np.ndarray
    look: np.ndarray
    total: np.ndarray  # (nx,) in the field's dtype
    activity: np.ndarray  # (nx,) int32
    sums: np.ndarray  # (nx,) uint16
    signed: np.ndarray  # (2, ny + 1, nx + 2) int32: this plane's codes and those of the one before


def _room(lattice: Lattice, dtype: np.dtype) -> Room:
    return Room(
        apart(LOOKS, np.int64),
        apart(LOOKS, np.int64),
        apart((3, MODELS), np.int64),
        apart(MODELS, np.int32),
        apart((5, LOOKS), np.int64),
        np.empty(lattice.nx, dtype),
        np.empty(lattice.nx, np.int32),
        np.empty(lattice.nx, np.uint16),
        np.zeros((2, lattice.ny + 1, lattice.nx + 2), np.int32),
    )


def mixed_pass(
    here: Pass,
    buffer: Buffer,
    rule: Quantizer,
    mixer: Mixer,
    codes: np.ndarray,
    outliers: np.ndarray,
    cursor: np.ndarray,
    encoding: bool,
    flags: bool,
) -> None:
    """Put what `encode_passes` put into the buffer, the codes coming from ``mixer``.

    When ``encoding`` they come from ``codes`` and go to ``mixer``. ``cursor`` is that of `decode_passes`.
    ``flags``: stretches of rows are behind flags, and those of nothing but zeros take nothing more.
    """
    if here.parent is not None:
        magnify(buffer.magnitudes, here.parent, here.lattice, buffer.grid.part_size)
    _mixed_pass(
        *(buffer.values, buffer.magnitudes, here.lattice, here.stencils, here.contexts, rule),
        *(np.array(here.looks), _room(here.lattice, buffer.values.dtype), mixer),
        *(codes, outliers, cursor, encoding, STRETCH if flags else here.lattice.nx, flags),
    )


@lean
def _mixed_pass(
    values,
    magnitudes,
    lattice,
    stencils,
    contexts,
    quantizer,
    looks,
    room,
    mixer,
    codes,
    outliers,
    cursor,
    encoding,
    stretch,
    flags,
):
    """``looks`` (LOOKS,) are offsets into ``values``, 0 standing for the point before in the row; the last
    one leads to the volume before where volumes are coupled, and is as the look before it in the first.
    A row is coded in stretches."""
    nx, ny = lattice.nx, lattice.ny
    number = values.dtype.type
    step, inverse, low, high = quantizer.step, quantizer.inverse, quantizer.low, quantizer.high
    reciprocal, weight1, weight2 = contexts.mixed_reciprocal, contexts.left, contexts.left2
    group = np.int64(contexts.cell // CELLS)
    farthest, most_quarters = number(_FARTHEST), number(_QUARTERS)
    bins = number(_VALUE_BINS) / (high - low) if high > low else number(0)
    slots, weights, uses, state, words = mixer.slots, mixer.weights, mixer.uses, mixer.state, mixer.words
    offset, quarters, model, inputs, look, total, activity, sums, signed = room
    for t in range(lattice.nt):
        signed[:] = 0
        for k in range(LOOKS):
            offset[k] = looks[k]
        if t == 0 and lattice.coupled == 1:
            offset[LOOKS - 1] = looks[LOOKS - 2]
        for z in range(lattice.nz):
            plane, above = signed[z & 1], signed[1 - (z & 1)]
            for y in range(ny):
                if cursor[4] < 0:  # damage: what follows would be noise
                    return
                base = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy
                which = stencils.of_class[row_class(t, z, y, lattice.coupled)]
                predict_row(total, values, base, stencils, which)
                if t > 0 or contexts.previous == 0:
                    sum_magnitudes(sums, magnitudes, base, contexts.offsets, contexts.weights)
                    copy(sums, activity)
                else:
                    activity_row(activity, magnitudes, base, contexts, t)
                before = value_before_row(values, lattice, base, t, z, y, low)
                before2 = before
                run1, run2 = stencils.running[which, 0], stencils.running[which, 1]
                left, left2 = np.int32(0), np.int32(0)
                position = cursor[0]
                some = np.int64(0)
                for start in range(0, nx, stretch):
                    end = min(start + stretch, nx)
                    kind, hint = group, np.int64(0)
                    if flags:
                        context = _flag_context(activity[start:end], reciprocal, left + left2, some, group)
                        some = np.int64(0)
                        if encoding:
                            some = _any(codes[position + start : position + end])
                        some = code_flag(some, context, mixer.flags, state, words, encoding)
                        if some == 0:
                            into = values[base + start : base + end]
                            before, before2 = _predict_stretch(
                                into, total[start:end], run1, run2, before, before2, low, high
                            )
                            left, left2 = np.int32(0), np.int32(0)
                            _clear(magnitudes[base + start : base + end])
                            _clear(plane[y + 1, start + 1 : end + 1])
                            continue
                    found = np.int64(0)
                    for i in range(start, end):
                        prediction = clamp((total[i] + run2 * before2) + run1 * before, low, high)
                        around = activity_of(activity[i] + weight1 * left + weight2 * left2, reciprocal)
                        for k in range(LOOKS):
                            value = before if offset[k] == 0 else values[base + i + offset[k]]
                            steps = clamp((value - prediction) * inverse, -farthest, farthest)
                            look[EXPECTED, k] = np.int64(np.rint(steps))
                            quarters[k] = np.int64(
                                np.rint(clamp(steps * number(4), -most_quarters, most_quarters))
                            )
                        if flags:
                            hint = bit_length(np.int64(end - i - 1)) if found == 0 else np.int64(_SOME_FOUND)
                            kind = hint
                        size = SIZE_OF[around]
                        cell = np.int64(CELL_OF_ACTIVITY[around])
                        w, n, ne, u = plane[y + 1, i], plane[y, i + 1], plane[y, i + 2], above[y + 1, i + 1]
                        model[CONTEXT, 0] = (hint * CELLS + cell) * 8 + group
                        nearest = min(abs(w), 7) * 512 + min(abs(n), 7) * 64
                        model[CONTEXT, 1] = nearest + min(abs(u), 7) * 8 + min(abs(ne), 7)
                        near, far = _bin(quarters[0]), _bin(quarters[1])
                        model[MIRRORED, 2] = np.int64(near < 0 or (near == 0 and far < 0))
                        if model[MIRRORED, 2] == 1:
                            near, far = -near, -far
                        model[CONTEXT, 2] = (near * _BINS + far + _FAR) * 16 + size
                        place = clamp((prediction - low) * bins, number(0), number(_VALUE_BINS - 1))
                        model[CONTEXT, 3] = np.int64(place) * CELLS + cell
                        signs = _between(w, 2) * 25 + _between(n, 2) * 5 + _between(u, 2)
                        model[MIRRORED, 4] = np.int64(signs < 0)
                        model[CONTEXT, 4] = abs(signs) * 16 + size
                        spread = max(abs(quarters[0] - quarters[1]), abs(quarters[2] - quarters[3]))
                        mean = quarters[0] + quarters[1] + quarters[2] + quarters[3]
                        model[MIRRORED, 5] = np.int64(mean < 0)
                        model[CONTEXT, 5] = SIZE_OF[spread] * 256 + SIZE_OF[abs(mean) >> 2] * 16 + size
                        code = codes[position + i] if encoding else np.int32(0)
                        code = mix_code(
                            code,
                            bit_length(around >> 4),
                            size,
                            kind,
                            model,
                            inputs,
                            look,
                            slots,
                            weights,
                            uses,
                            state,
                            words,
                            encoding,
                        )
                        candidate = clamp(prediction + number(code) * step, low, high)
                        if code == OUTLIER:
                            candidate = next_outlier(outliers, cursor, low)
                        values[base + i] = candidate
                        found |= np.int64(code != 0)
                        left2 = left
                        left = magnitude_of(code)
                        magnitudes[base + i] = np.uint8(left)
                        plane[y + 1, i + 1] = -left if code < 0 else left
                        before2 = before
                        before = candidate
                cursor[0] = position + nx
                extend_row(values, lattice, t, z, y)
                extend_row(magnitudes, lattice, t, z, y)


@merged
def _flag_context(activity, reciprocal, left, last, group):
    """Of the flag of a stretch, around whose points there are these sums: the largest activity, at how many
    points there is some, whether one of the two codes before is not 0, and the flag before."""
    most, many = np.int32(0), np.int32(0)
    for i in range(activity.size):
        most = max(most, activity[i])
        many += np.int32(activity[i] > 0)
    size = np.int64(SIZE_OF[activity_of(most, reciprocal)])
    part = np.int64(0 if many == 0 else 1 if many <= _FEW else 2 if many <= _SOME else 3)
    return (((size * 4 + part) * 2 + np.int64(left > 0)) * 2 + last) * 8 + group


@merged
def _any(codes):
    """Whether one of them is not 0."""
    some = np.int32(0)
    for i in range(codes.size):
        some |= codes[i]
    return np.int64(some != 0)


@merged
def _predict_stretch(values, total, run1, run2, before, before2, low, high):
    """Fill ``values`` of points whose codes are 0; returns the last two."""
    if run1 == 0 and run2 == 0:
        for i in range(total.size):
            values[i] = clamp(total[i], low, high)
        return values[total.size - 1], (values[total.size - 2] if total.size > 1 else before)
    for i in range(total.size):
        prediction = clamp((total[i] + run2 * before2) + run1 * before, low, high)
        values[i] = prediction
        before2 = before
        before = prediction
    return before, before2


@merged
def _clear(array):
    for i in range(array.size):
        array[i] = 0
