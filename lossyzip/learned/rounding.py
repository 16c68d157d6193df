"""A trained perceptron -> networks in integers, of several widths. For the encoder alone.

ReLUs let each channel have a scale of its own: such that its activations and its weights use the bits they
have. Channels that are never active are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lossyzip.learned.neighbourhood import Input
from lossyzip.learned.network import Feature, Layer, Network
from lossyzip.learned.network_bytes import MOST_EXPONENT, MOST_SHIFT, storable

if TYPE_CHECKING:
    from lossyzip.learned.perceptron import Trained

_ACTIVATION_BITS = 16
_OUTPUT_BITS = 4  # more than other weights: there are few of these, and their errors add up
_ROOM = 1.05  # over the largest activation of the sample


def to_integers(
    net: Trained,
    inputs: Sequence[Input],
    wanted: Sequence[tuple[int, int]],
    spread: np.ndarray,
    scale: float,
    centre: float,
    bits: int,
) -> Network | None:
    """The network whose guide is about centre + scale * net(features / spread), by weights of ``bits``.

    None where training went astray, or float64 has no room.
    """
    if not all(np.isfinite(numbers).all() for layer in net.layers for numbers in layer):
        return None
    exponents = np.clip(np.rint(np.log2(spread.max() / spread)), 0, MOST_EXPONENT)
    features = tuple(Feature(*pair, int(e)) for pair, e in zip(wanted, exponents, strict=True))
    of_features = 1.0 / (spread * np.exp2(exponents))  # what the network's input is, for a step of one
    *hidden, (weights, bias) = [(w.astype(np.float64), b.astype(np.float64)) for w, b in net.layers]
    steps, alive = of_features, np.ones(len(spread), bool)
    layers = []
    for (w, b), highest in zip(hidden, net.largest, strict=True):
        w = w[alive] * steps[:, None]
        alive = highest > 0.0
        if not alive.any():
            alive[0] = True
        layer, steps = _layer(w[:, alive], b[alive], highest[alive].astype(np.float64), bits)
        layers.append(layer)
    split = net.largest[-1].size if hidden else 0
    last = weights[split:, 0] * of_features
    if hidden:
        last = np.concatenate([weights[:split, 0][alive] * steps, last])
    unit = storable(scale * float(np.abs(last).max()) / _largest(bits + _OUTPUT_BITS))
    middle = storable(centre + scale * float(bias[0]))
    if not (0.0 < unit < np.inf and np.isfinite(middle)):
        return None
    rounded = np.rint(last * (scale / unit)).astype(np.int64)
    output = Layer(rounded[None], np.zeros(1, np.int64), np.zeros(1, np.int64))
    return Network.if_exact(tuple(inputs), features, tuple(layers), output, _ACTIVATION_BITS, middle, unit)


def outputs(network: Network, features: np.ndarray) -> np.ndarray:
    """The guide at points of these ``features`` (points, features), float64 that hold integers."""
    seen = features * np.exp2([feature.exponent for feature in network.features])
    now = seen
    for layer in network.hidden:
        sums = (now @ layer.weights.T.astype(np.float64) + layer.biases) * np.ldexp(1.0, -layer.shifts)
        now = np.clip(np.floor(sums), 0.0, float((1 << network.activation_bits) - 1))
    now = np.concatenate([now, seen], axis=1) if network.hidden else seen
    return now @ network.output.weights[0].astype(np.float64) * network.scale + network.centre


def _layer(w: np.ndarray, b: np.ndarray, highest: np.ndarray, bits: int) -> tuple[Layer, np.ndarray]:
    """(the layer, what a step of one means in each channel) of weights ``w`` for steps of one."""
    fine = ((1 << _ACTIVATION_BITS) - 1) / (_ROOM * np.maximum(highest, 1e-6))
    shifts = np.floor(np.log2(_largest(bits) / (np.abs(w).max(axis=0) * fine + 1e-300)))
    shifts = np.clip(shifts, 0, MOST_SHIFT).astype(np.int64)
    fine_shifted = np.ldexp(fine, shifts)
    halves = np.where(shifts > 0, np.ldexp(0.5, shifts), 0.0)  # so that what is cut off was rounded
    weights = np.rint(w * fine_shifted).astype(np.int64).T.copy()
    biases = np.clip(np.rint(b * fine_shifted + halves), -(2.0**52), 2.0**52).astype(np.int64)
    return Layer(weights, biases, shifts), 1.0 / fine


def _largest(bits: int) -> int:
    return (1 << (bits - 1)) - 1
