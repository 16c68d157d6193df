"""Lifting: an array <-> the halves of its axes, low and high, in place. Knows nothing of bands.

CDF 9/7 (Daubechies and Sweldens, 1998) with symmetric extension, any length. docs/FORMAT.md, "Wavelet".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, lean

_LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_GAIN = 1.149604398860098
_ROWS = 32  # that are lifted together


class Split(NamedTuple):
    """One step of the transform: the box of ``size`` (z, y, x) at the origin is halved along ``axis``."""

    axis: int
    size: tuple[int, int, int]


def transform(grid: np.ndarray, steps: list[Split], inverse: bool) -> None:
    """Transform ``grid`` (t, z, y, x), contiguous, in place. The low half of an axis comes first."""
    nt, nz, ny, nx = grid.shape
    flat = grid.reshape(-1)
    for axis, (z, y, x) in reversed(steps) if inverse else steps:
        volumes = np.arange(nt) * (nz * ny * nx)
        if axis == 0:
            starts = (volumes[:, None] + np.arange(y) * nx).ravel()
            _lift(flat, starts, z, ny * nx, x, inverse, *_halves(z, x, flat.dtype))
        elif axis == 1:
            starts = (volumes[:, None] + np.arange(z) * (ny * nx)).ravel()
            _lift(flat, starts, y, nx, x, inverse, *_halves(y, x, flat.dtype))
        else:
            rows = np.arange(z)[:, None] * (ny * nx) + np.arange(y) * nx
            starts = (volumes[:, None, None] + rows).ravel()
            room = np.zeros((2, _ROWS * ((x + 1) // 2 + 2)), flat.dtype)
            _lift_rows(flat, starts, x, inverse, room[0], room[1])


def _halves(length: int, width: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Room for the low and the high ones of ``length`` runs of ``width`` values."""
    return np.empty((length + 1) // 2 * width, dtype), np.empty(length // 2 * width, dtype)


@lean
def _lift(flat, starts, length, stride, width, inverse, low, high):
    """Transform runs of ``width`` values at ``start + k * stride``, k < length, along k, for each start.

    ``low`` and ``high`` are room for the halves of them.
    """
    number = flat.dtype.type
    lows = (length + 1) // 2
    gain, loss = number(_GAIN), number(1.0 / _GAIN)
    for start in starts:
        if inverse:
            _take(low, flat, start, stride, width, loss)
            _take(high, flat, start + lows * stride, stride, width, gain)
            _update(low, high, -number(_LIFTING[3]), width)
            _predict(low, high, -number(_LIFTING[2]), width)
            _update(low, high, -number(_LIFTING[1]), width)
            _predict(low, high, -number(_LIFTING[0]), width)
            _put(flat, start, 2 * stride, width, low, number(1.0))
            _put(flat, start + stride, 2 * stride, width, high, number(1.0))
        else:
            _take(low, flat, start, 2 * stride, width, number(1.0))
            _take(high, flat, start + stride, 2 * stride, width, number(1.0))
            _predict(low, high, number(_LIFTING[0]), width)
            _update(low, high, number(_LIFTING[1]), width)
            _predict(low, high, number(_LIFTING[2]), width)
            _update(low, high, number(_LIFTING[3]), width)
            _put(flat, start, stride, width, low, gain)
            _put(flat, start + lows * stride, stride, width, high, loss)


@helper
def _take(runs, flat, start, stride, width, scale):
    """Fill ``runs`` with runs of ``flat``, times ``scale``."""
    for k in range(runs.size // width):
        line = flat[start + k * stride : start + k * stride + width]
        run = runs[k * width : (k + 1) * width]
        for i in range(width):
            run[i] = line[i] * scale


@helper
def _put(flat, start, stride, width, runs, scale):
    """The reverse of `_take`."""
    for k in range(runs.size // width):
        line = flat[start + k * stride : start + k * stride + width]
        run = runs[k * width : (k + 1) * width]
        for i in range(width):
            line[i] = run[i] * scale


@lean
def _lift_rows(flat, starts, length, inverse, low, high):
    """`_lift` along rows: so many of them together that each step is one long vector.

    Each row of lows and of highs has a place before it and one behind it, for what stands beyond its ends;
    ``low`` and ``high`` are room for _ROWS of these, and hold numbers everywhere.
    """
    number = flat.dtype.type
    lows, highs = (length + 1) // 2, length // 2
    pitch = lows + 2
    gain, loss = number(_GAIN), number(1.0 / _GAIN)
    for first in range(0, starts.size, _ROWS):
        rows = min(_ROWS, starts.size - first)
        for r in range(rows):
            start = starts[first + r]
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
            _update_rows(low, high, -number(_LIFTING[3]), rows, lows, highs)
            _predict_rows(low, high, -number(_LIFTING[2]), rows, lows, highs)
            _update_rows(low, high, -number(_LIFTING[1]), rows, lows, highs)
            _predict_rows(low, high, -number(_LIFTING[0]), rows, lows, highs)
        else:
            _predict_rows(low, high, number(_LIFTING[0]), rows, lows, highs)
            _update_rows(low, high, number(_LIFTING[1]), rows, lows, highs)
            _predict_rows(low, high, number(_LIFTING[2]), rows, lows, highs)
            _update_rows(low, high, number(_LIFTING[3]), rows, lows, highs)
        for r in range(rows):
            start = starts[first + r]
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
def _predict(low, high, weight, width):
    """Add to each high run ``weight`` times the sum of the low ones on both sides, repeated at the end."""
    inner = min(high.size, low.size - width)
    _add(high[:inner], low[:inner], low[width : width + inner], weight)
    _add(high[inner:], low[inner : high.size], low[inner : high.size], weight)


@helper
def _update(low, high, weight, width):
    """Add to each low run ``weight`` times the sum of the high ones on both sides, repeated at the ends."""
    _add(low[:width], high[:width], high[:width], weight)
    _add(low[width : high.size], high[: high.size - width], high[width:], weight)
    if low.size > high.size:
        _add(low[high.size :], high[high.size - width :], high[high.size - width :], weight)


@helper
def _add(target, left, right, weight):
    for i in range(target.size):
        target[i] = target[i] + weight * (left[i] + right[i])
