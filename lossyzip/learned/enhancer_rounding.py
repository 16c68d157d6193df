"""Estimates of errors in floats -> enhancers in integers, without corrections yet. For the encoder alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lossyzip.learned.enhancer import MOST_SHIFT, Enhancer, if_exact
from lossyzip.learned.network import Layer
from lossyzip.learned.observations import Sample

if TYPE_CHECKING:
    from lossyzip.learned.enhancer_network import Taught

_CLASSES_PER_EPS = 24.0
_WEIGHT_BITS, _ACTIVATION_BITS = 8, 7


def offsets(sample: Sample, weights: np.ndarray, bits: int) -> Enhancer | None:
    """The linear function of terms that has these ``weights``, for an estimate in eps."""
    return _with_output(sample, [], weights, 0.0, bits)


def network(sample: Sample, net: Taught, terms: np.ndarray, bits: int) -> Enhancer | None:
    """``net`` in integers; ``terms`` show how large activations become."""
    if not all(np.isfinite(part).all() for pair in net.hidden for part in pair):
        return None
    now = terms[: 1 << 16, : len(sample.kinds)].astype(np.float64)
    step = np.ones(len(sample.kinds))  # what one of an input's integers is
    layers = []
    for w, b in net.hidden:
        now = np.maximum(now @ w + b, 0.0)
        fine = ((1 << _ACTIVATION_BITS) - 1) / np.maximum(1.05 * now.max(axis=0), 1e-3)
        scaled = w * step[:, None] * fine
        room = ((1 << (_WEIGHT_BITS - 1)) - 1) / np.maximum(np.abs(scaled).max(axis=0), 1e-9)
        shifts = np.clip(np.floor(np.log2(room)), 0, 16).astype(np.int64)
        halves = np.where(shifts > 0, np.ldexp(0.5, shifts), 0.0)  # so that what is cut off was rounded
        biases = np.rint(np.ldexp(b * fine, shifts) + halves).astype(np.int64)
        layers.append(Layer(np.rint(np.ldexp(scaled, shifts)).astype(np.int64).T.copy(), biases, shifts))
        step = 1.0 / fine
    channels = len(step)
    weights = np.concatenate([net.weights[:channels] * step, net.weights[channels:]])
    return _with_output(sample, layers, weights, net.bias, bits)


def outputs(enhancer: Enhancer, terms: np.ndarray) -> np.ndarray:
    """The output's sums (float64 that hold integers) at points of these ``terms``."""
    terms = terms.astype(np.float64)
    now = terms[:, : len(enhancer.features)]
    for layer in enhancer.hidden:
        sums = (now @ layer.weights.T.astype(np.float64) + layer.biases) * np.ldexp(1.0, -layer.shifts)
        now = np.clip(np.floor(sums), 0.0, float((1 << enhancer.activation_bits) - 1))
    seen = np.concatenate([now, terms], axis=1) if enhancer.hidden else terms
    result: np.ndarray = seen @ enhancer.output.weights[0].astype(np.float64) + enhancer.output.biases[0]
    return result


def _with_output(
    sample: Sample, hidden: list[Layer], weights: np.ndarray, bias: float, bits: int
) -> Enhancer | None:
    """``weights`` and ``bias`` make the estimate in eps of the integers that the output sees."""
    most = float(np.abs(weights).max())
    if not 0.0 < most < math.inf:
        return None
    shift = math.floor(math.log2(((1 << (bits - 1)) - 1) / (most * _CLASSES_PER_EPS)))
    shift = min(max(shift, 0), MOST_SHIFT)
    scale = _CLASSES_PER_EPS * 2.0**shift
    rows = np.rint(weights * scale).astype(np.int64)[None]
    output = Layer(rows, np.array([round(bias * scale)], np.int64), np.zeros(1, np.int64))
    return if_exact(
        sample.kinds, sample.view.guides, sample.view.filter, hidden, output, _ACTIVATION_BITS, shift
    )
