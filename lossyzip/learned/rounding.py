"""A trained perceptron -> a network in integers.

ReLUs let each channel have a scale of its own: such that its activations and its weights use the bits they
have. Channels that are never active are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossyzip.learned.network import Feature, Layer, Network
from lossyzip.learned.network_bytes import MOST_EXPONENT, MOST_SHIFT, storable
from lossyzip.learned.neighbourhood import Input
from lossyzip.learned.perceptron import Perceptron

_OUTPUT_BITS = 4  # more than other weights: there are few of these, and their errors add up


def to_integers(
    net: Perceptron,
    inputs: Sequence[Input],
    wanted: Sequence[tuple[int, int]],
    spread: np.ndarray,
    sample: np.ndarray,
    scale: float,
    centre: float,
    bits: int,
    activation_bits: int,
) -> Network:
    """The network whose guide is about centre + scale * net(features / spread), by weights of ``bits``.

    ``sample`` (points, features) says how large activations become.
    """
    exponents = np.clip(np.rint(np.log2(spread.max() / spread)), 0, MOST_EXPONENT)
    features = tuple(Feature(*pair, int(e)) for pair, e in zip(wanted, exponents, strict=True))
    seen_by_one = 1.0 / (spread * np.exp2(exponents))  # of the network's input, a step of the integers
    *hidden, (weights, bias) = [(w.astype(np.float64), b.astype(np.float64)) for w, b in net.layers()]
    _, activations = net.forward(sample.reshape(-1, sample.shape[-1]))
    steps = seen_by_one
    layers = []
    alive = np.ones(len(steps), bool)
    for (w, b), active in zip(hidden, activations, strict=True):
        w = w[alive] * steps[:, None]
        highest = active.max(axis=0).astype(np.float64)
        alive = highest > 0.0
        if not alive.any():
            alive[0] = True
        w, b, highest = w[:, alive], b[alive], np.maximum(highest[alive], 1e-6)
        fine = ((1 << activation_bits) - 1) / (1.05 * highest)  # integers a unit
        shifts = np.floor(np.log2(((1 << (bits - 1)) - 1) / (np.abs(w).max(axis=0) * fine + 1e-300)))
        shifts = np.clip(shifts, 0, MOST_SHIFT).astype(np.int64)
        fine_shifted = fine * np.exp2(shifts)
        halves = np.where(shifts > 0, np.exp2(shifts - 1.0), 0.0)
        layers.append(
            Layer(
                np.rint(w * fine_shifted).astype(np.int64).T.copy(),
                np.rint(b * fine_shifted + halves).astype(np.int64),
                shifts,
            )
        )
        steps = 1.0 / fine
    split = net.widths[-1] if hidden else 0
    last = weights[split:, 0] * seen_by_one
    if hidden:
        last = np.concatenate([weights[:split, 0][alive] * steps, last])
    unit = storable(scale * max(np.abs(last).max(), 1e-300) / ((1 << (bits + _OUTPUT_BITS - 1)) - 1))
    output = Layer(
        np.rint(last * (scale / unit)).astype(np.int64)[None], np.zeros(1, np.int64), np.zeros(1, np.int64)
    )
    middle = centre + scale * float(bias[0])
    if not math.isfinite(unit) or unit == 0.0:
        unit = 0.0
    return Network(tuple(inputs), features, tuple(layers), output, activation_bits, storable(middle), unit)
