"""Lifting: an array <-> the halves of its axes, low and high, in place. Knows nothing of bands.

CDF 9/7 (Daubechies and Sweldens, 1998) with symmetric extension, any length. docs/FORMAT.md, "Wavelet".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, lean
from lossyzip.decompose.lifted_columns import GAIN, LIFTING, join_columns, split_columns

_ROWS = 8  # that are lifted together
_WIDTH = 2048  # bytes of a row of columns that are lifted together: what is kept of them stays in the cache


class Split(NamedTuple):
    """One step of the transform: the box of ``size`` (z, y, x) at the origin is halved along ``axis``."""

    axis: int
    size: tuple[int, int, int]


def transform(grid: np.ndarray, steps: list[Split], inverse: bool) -> None:
    """Transform ``grid`` (t, z, y, x), contiguous, in place. The low half of an axis comes first.

    The ``steps`` along z come before all others, and each of them is over whole planes.
    """
    nt, nz, ny, nx = grid.shape
    leading = np.array([step.size[0] for step in steps if step.axis == 0], np.int64)
    planar = np.array([(step.axis, *step.size[1:]) for step in steps if step.axis > 0], np.int64)
    flat = grid.reshape(-1)
    width = _WIDTH // flat.itemsize
    half = (max(nz if leading.size else 1, ny) + 1) // 2 * min(width, ny * nx)
    low, high = np.zeros((2, _ROWS * ((nx + 1) // 2 + 2)), flat.dtype)
    rooms = (np.empty(half, flat.dtype), np.empty(3 * width, flat.dtype), low, high)
    _transform(flat, nt * nz, nz, ny, nx, leading, planar.reshape(-1, 3), inverse, rooms)


@lean
def _transform(flat, planes, nz, ny, nx, leading, planar, inverse, rooms):
    """``leading`` are the lengths of z that are halved, ``planar`` (steps, 3) the axes and boxes (y, x)."""
    plane, volume = ny * nx, nz * ny * nx
    half, few, low, high = rooms
    if inverse:
        for k in range(planes):
            for step in range(len(planar) - 1, -1, -1):
                _lift_plane(flat, k * plane, nx, planar[step], inverse, half, few, low, high)
        for level in range(leading.size - 1, -1, -1):
            for start in range(0, planes * plane, volume):
                _lift_columns(flat, start, leading[level], plane, plane, inverse, half, few)
    else:
        for level in range(leading.size):
            for start in range(0, planes * plane, volume):
                _lift_columns(flat, start, leading[level], plane, plane, inverse, half, few)
        for k in range(planes):
            for step in range(len(planar)):
                _lift_plane(flat, k * plane, nx, planar[step], inverse, half, few, low, high)


@helper
def _lift_plane(flat, start, nx, step, inverse, half, few, low, high):
    """One step of those of a plane: all of them while it is in the cache."""
    axis, y, x = step[0], step[1], step[2]
    if axis == 1:
        _lift_columns(flat, start, y, nx, x, inverse, half, few)
    else:
        _lift_rows(flat, start, nx, y, x, inverse, low, high)


@helper
def _lift_columns(flat, start, length, stride, width, inverse, half, few):
    """Halve ``width`` columns, ``length`` values each, that are ``stride`` apart, or join their halves."""
    pitch = few.size // 3
    for first in range(0, width, pitch):
        there = min(pitch, width - first)
        if inverse:
            join_columns(flat, start + first, length, stride, there, half, few)
        else:
            split_columns(flat, start + first, length, stride, there, half, few)


@helper
def _lift_rows(flat, base, stride, count, length, inverse, low, high):
    """Halve ``count`` rows, or join their halves: so many together that each step is one long vector.

    Each row of lows and of highs has a place before it and one behind it, for what stands beyond its ends;
    ``low`` and ``high`` are room for _ROWS of these, and hold numbers everywhere.
    """
    number = flat.dtype.type
    lows, highs = (length + 1) // 2, length // 2
    pitch = lows + 2
    gain, loss = number(GAIN), number(1.0 / GAIN)
    for first in range(0, count, _ROWS):
        rows = min(_ROWS, count - first)
        for r in range(rows):
            start = base + (first + r) * stride
            line = flat[start : start + length]
            s, d = low[r * pitch + 1 : r * pitch + 1 + lows], high[r * pitch + 1 : r * pitch + 1 + highs]
            if inverse:
                behind = line[lows:]
                for i in range(lows):
                    s[i] = line[i] * loss
                for i in range(highs):
                    d[i] = behind[i] * gain
            else:
                for i in range(highs):
                    s[i] = line[2 * i]
                    d[i] = line[2 * i + 1]
                if lows > highs:
                    s[highs] = line[2 * highs]
        if inverse:
            _update_rows(low, high, -number(LIFTING[3]), rows, lows, highs)
            _predict_rows(low, high, -number(LIFTING[2]), rows, lows, highs)
            _update_rows(low, high, -number(LIFTING[1]), rows, lows, highs)
            _predict_rows(low, high, -number(LIFTING[0]), rows, lows, highs)
        else:
            _predict_rows(low, high, number(LIFTING[0]), rows, lows, highs)
            _update_rows(low, high, number(LIFTING[1]), rows, lows, highs)
            _predict_rows(low, high, number(LIFTING[2]), rows, lows, highs)
            _update_rows(low, high, number(LIFTING[3]), rows, lows, highs)
        for r in range(rows):
            start = base + (first + r) * stride
            line = flat[start : start + length]
            s, d = low[r * pitch + 1 : r * pitch + 1 + lows], high[r * pitch + 1 : r * pitch + 1 + highs]
            if inverse:
                for i in range(highs):
                    line[2 * i] = s[i]
                    line[2 * i + 1] = d[i]
                if lows > highs:
                    line[2 * highs] = s[highs]
            else:
                behind = line[lows:]
                for i in range(lows):
                    line[i] = s[i] * gain
                for i in range(highs):
                    behind[i] = d[i] * loss


@helper
def _predict_rows(low, high, weight, rows, lows, highs):
    pitch = lows + 2
    for r in range(rows):
        low[r * pitch + 1 + lows] = low[r * pitch + lows]
    n = rows * pitch - 1
    _add(high[:n], low[:n], low[1 : n + 1], weight)


@helper
def _update_rows(low, high, weight, rows, lows, highs):
    pitch = lows + 2
    for r in range(rows):
        high[r * pitch] = high[r * pitch + 1]
        high[r * pitch + 1 + highs] = high[r * pitch + highs]
    n = rows * pitch
    _add(low[1:n], high[: n - 1], high[1:n], weight)


@helper
def _add(target, left, right, weight):
    for i in range(target.size):
        target[i] = target[i] + weight * (left[i] + right[i])
