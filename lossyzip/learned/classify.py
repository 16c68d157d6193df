"""An enhancer's sums, over runs of points. Knows nothing of fields or bytes.

All values are integers below 2**24, which float32 holds exactly, and so are all sums on the way (enhancer.py
proves it): the order of sums and fused operations cannot matter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import exact, helper
from lossyzip.learned.layers import activate, weigh
from lossyzip.learned.terms import LIMITS

CLASSES = 32
_CHUNK = 256  # points: rows of all channels stay in the first caches


class Tables(NamedTuple):
    """An enhancer for the kernel. Floats are float32; inputs of layers are padded with zeros."""

    starts: np.ndarray  # (features + 1,) int64: a feature's places among
    offsets: np.ndarray  # (places,) int64, in items of the planes,
    factors: np.ndarray  # (places,) int32; the point itself is one of the places
    shifts: np.ndarray  # (features,) int32
    widths: np.ndarray  # (hidden + 1,) int64: channels of each hidden layer, 1
    weights: np.ndarray  # (hidden + 1, channels, inputs); the last sees activations, then terms
    biases: np.ndarray  # (hidden + 1, channels)
    scales: np.ndarray  # (hidden, channels) negative powers of two
    largest: np.float32  # activation
    shift: np.int32  # of the output


@exact
def classify(planes, first, count, tables, out):
    """Fill ``out[:count]`` (int8) for the points from ``first`` on of the flat ``planes`` (int32):
    1 + the class of the output's magnitude, negative if the output is."""
    starts, offsets, factors, shifts = tables.starts, tables.offsets, tables.factors, tables.shifts
    widths, weights, biases, scales = tables.widths, tables.weights, tables.biases, tables.scales
    largest, shift = tables.largest, tables.shift
    features = shifts.size
    hidden = widths.size - 1
    narrower = len(LIMITS)
    whole = np.zeros(_CHUNK, np.int32)
    seen = np.zeros((weights.shape[2], _CHUNK), np.float32)
    now = np.zeros((weights.shape[2], _CHUNK), np.float32)
    after = np.zeros((weights.shape[2], _CHUNK), np.float32)
    sums = np.zeros(_CHUNK, np.float32)
    for at in range(0, count, _CHUNK):
        n = min(_CHUNK, count - at)
        for k in range(features):
            whole[:] = np.int32(0)
            for p in range(starts[k], starts[k + 1]):
                base = first + at + offsets[p]
                _add(whole, planes[base : base + n], factors[p], n)
            for limit in range(narrower):
                _limit(whole, shifts[k], np.int32(LIMITS[limit]), seen[limit * features + k], n)
        for layer in range(hidden):
            source = seen if layer == 0 else now
            inputs = features if layer == 0 else widths[layer - 1]
            for channel in range(widths[layer]):
                weigh(sums, source, weights[layer, channel], biases[layer, channel], inputs, n)
                activate(sums, scales[layer, channel], largest, after[channel], n)
            now, after = after, now
        inputs = widths[hidden - 1] if hidden else np.int64(0)
        for k in range(narrower * features):
            now[inputs + k, :n] = seen[k, :n]
        weigh(sums, now, weights[hidden, 0], biases[hidden, 0], inputs + narrower * features, n)
        for i in range(n):
            size = min(np.int32(abs(sums[i])) >> shift, np.int32(CLASSES - 1)) + np.int32(1)
            out[at + i] = np.int8(-size if sums[i] < np.float32(0.0) else size)


@helper
def _add(sums, values, factor, n):
    for i in range(n):
        sums[i] += factor * values[i]


@helper
def _limit(sums, shift, limit, into, n):
    for i in range(n):
        x = np.int32(sums[i] >> shift)
        x = x if x < limit else limit
        x = x if x > -limit else np.int32(-limit)
        into[i] = np.float32(x)
