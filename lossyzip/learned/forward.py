"""A network's sums, over runs of points. Knows nothing of references or bytes.

All values are integers that float64 holds exactly, and so are all sums on the way (network.py proves it): the
order of sums and fused operations cannot matter. Points of a run lie one behind the other in the planes; each
sweep adds eight products to a row, as in decompose/. float32 took two thirds of the time and needed narrower
numbers throughout: not worth a second way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import exact, kernel

SWEEP = 8  # products that one vectorized sweep over a row adds up
_CHUNK = 256  # points: rows of all channels stay in the first caches


class Tables(NamedTuple):
    """A network for the kernel. Floats are float64; inputs of layers are padded with zeros."""

    starts: np.ndarray  # (features + 1,) int64: a feature's places among
    offsets: np.ndarray  # (places,) int64, in items of the planes,
    signs: np.ndarray  # (places,) 1 or -1, times a power of two
    widths: np.ndarray  # (hidden + 2,) int64: features, channels of each hidden layer, 1
    weights: np.ndarray  # (hidden + 1, channels, inputs); the last sees features behind activations
    biases: np.ndarray  # (hidden + 1, channels)
    factors: np.ndarray  # (hidden, channels) negative powers of two
    largest: float  # activation


def padded(count: int) -> int:
    return -(-count // SWEEP) * SWEEP


@exact
def run(planes, first, count, tables, out):
    """Fill ``out[:count]`` with the output's sums for the points from ``first`` on of the flat ``planes``."""
    starts, offsets, signs, widths = tables.starts, tables.offsets, tables.signs, tables.widths
    weights, biases, factors, largest = tables.weights, tables.biases, tables.factors, tables.largest
    features = widths[0]
    hidden = widths.size - 2
    seen = np.zeros((weights.shape[2], _CHUNK))
    now = np.zeros((weights.shape[2], _CHUNK))
    after = np.zeros((weights.shape[2], _CHUNK))
    sums = np.zeros(_CHUNK)
    for at in range(0, count, _CHUNK):
        n = min(_CHUNK, count - at)
        for k in range(features):
            sums[:] = 0.0
            for p in range(starts[k], starts[k + 1]):
                base = first + at + offsets[p]
                _add(sums, planes[base : base + n], signs[p], n)
            seen[k, :n] = sums[:n]
        for layer in range(hidden):
            source = seen if layer == 0 else now
            for channel in range(widths[layer + 1]):
                _sum(sums, source, weights[layer, channel], biases[layer, channel], widths[layer], n)
                _activate(sums, factors[layer, channel], largest, after[channel], n)
            now, after = after, now
        inputs = widths[hidden] if hidden else np.int64(0)
        for k in range(features):
            now[inputs + k, :n] = seen[k, :n]
        _sum(sums, now, weights[hidden, 0], biases[hidden, 0], inputs + features, n)
        out[at : at + n] = sums[:n]


@exact
def _add(sums, values, sign, n):
    for i in range(n):
        sums[i] += sign * values[i]


@exact
def _sum(sums, rows, weights, bias, inputs, n):
    for i in range(n):
        sums[i] = bias
    for k in range(0, inputs, SWEEP):
        a, b, c, d = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        e, f, g, h = rows[k + 4], rows[k + 5], rows[k + 6], rows[k + 7]
        p, q, r, s = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        t, u, v, w = weights[k + 4], weights[k + 5], weights[k + 6], weights[k + 7]
        for i in range(n):
            first = p * a[i] + q * b[i] + r * c[i] + s * d[i]
            sums[i] += first + t * e[i] + u * f[i] + v * g[i] + w * h[i]


@kernel
def _activate(sums, factor, largest, into, n):
    """The clipped ReLU of sums scaled down: integers in [0, largest]."""
    for i in range(n):
        x = np.floor(sums[i] * factor)
        x = x if x < largest else largest
        into[i] = x if x > 0.0 else 0.0
