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
    _, nz, ny, nx = grid.shape
    plane = ny * nx
    flat = grid.reshape(-1)
    # (whether along rows, length, distance of rows, width of columns or number of rows) of each step
    leading = [(0, step.size[0], plane, plane) for step in steps if step.axis == 0]
    others = [step for step in steps if step.axis > 0]
    planar = [(axis - 1, size[axis], nx, size[3 - axis]) for axis, size in others]
    longest = max((length for along_rows, length, _, _ in leading + planar if not along_rows), default=0)
    width = _WIDTH // flat.itemsize
    half, few = np.empty((longest + 1) // 2 * min(width, plane), flat.dtype), np.empty(3 * width, flat.dtype)
    low, high = np.zeros((2, _ROWS * ((nx + 1) // 2 + 2)), flat.dtype)
    stages = [(nz * plane, leading), (plane, planar)]
    for size, those in reversed(stages) if inverse else stages:
        if those:
            in_turn = np.array(those[::-1] if inverse else those, np.int64)
            _transform(flat, size, in_turn, inverse, half, few, low, high)


@lean
def _transform(flat, size, steps, inverse, half, few, low, high):
    """Do the ``steps``, in turn, with each part of ``size`` values, while it is in the cache."""
    most = few.size // 3
    for start in range(0, flat.size, size):
        for step in steps:
            along_rows, length, stride, width = step[0], step[1], step[2], step[3]
            if along_rows:
                _lift_rows(flat, start, stride, width, length, inverse, low, high)
                continue
            for first in range(0, width, most):
                there = min(most, width - first)
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
