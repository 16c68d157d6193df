"""A network's sums, over runs of points. Knows nothing of references or bytes.

All values are integers that float64 holds exactly, and so are all sums on the way (network.py proves it): the
order of sums and fused operations cannot matter. Points of a run lie one behind the other in the planes.
float32 took two thirds of the time and needed narrower numbers throughout: not worth it for guides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import exact
from lossyzip.learned.layers import activate, weigh

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
                weigh(sums, source, weights[layer, channel], biases[layer, channel], widths[layer], n)
                activate(sums, factors[layer, channel], largest, after[channel], n)
            now, after = after, now
        inputs = widths[hidden] if hidden else np.int64(0)
        for k in range(features):
            now[inputs + k, :n] = seen[k, :n]
        weigh(sums, now, weights[hidden, 0], biases[hidden, 0], inputs + features, n)
        out[at : at + n] = sums[:n]


@exact
def _add(sums, values, sign, n):
    for i in range(n):
        sums[i] += sign * values[i]
