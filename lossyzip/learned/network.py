"""A network in integers: from references to a guide, the same bits on every machine.

A perceptron on the features of a point (neighbourhood.py): hidden layers with clipped ReLUs, and an output that
also sees the features themselves. That is one convolution and layers of 1x1x1. Every weight and activation is an
integer; that no sum on the way leaves float64's exact integers is proved whenever a network is made or read. So
any order of summation gives the same bits, vectorized, threaded or on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lossyzip.errors import CorruptError, InvalidArgumentError, MissingReferenceError
from lossyzip.learned import forward
from lossyzip.learned.neighbourhood import (
    FEATURES,
    LARGEST_INPUT,
    REACH,
    Input,
    Planes,
    folded,
    places,
    planes,
)

MOST_INPUTS = 64
MOST_FEATURES = 512
MOST_HIDDEN = 4
MOST_CHANNELS = 256
MOST_BITS = 24  # of a weight with its sign, and of an activation
_EXACT = 1 << 53
_SLAB = 1 << 20  # values of planes that are in memory at a time, at least a few planes


class Feature(NamedTuple):
    input: int
    kind: int  # below FEATURES
    exponent: int  # it counts 2 ** exponent-fold: weights need fewer bits


class Layer(NamedTuple):
    """An output channel is (weights @ inputs + bias) >> shift, cut off below 0 and above."""

    weights: np.ndarray  # (channels, inputs) int64
    biases: np.ndarray  # (channels,) int64
    shifts: np.ndarray  # (channels,) int64; of the output: zero, and it is not cut off


@dataclass(frozen=True)
class Network:
    """Frozen; raises CorruptError when its sums might not be exact."""

    inputs: tuple[Input, ...]
    features: tuple[Feature, ...]
    hidden: tuple[Layer, ...]
    output: Layer  # one channel; of the activations, then of the features
    activation_bits: int
    centre: float  # the guide is centre + scale * output
    scale: float

    def __post_init__(self) -> None:
        check(self)

    def guide(self, references: Sequence[np.ndarray], where: tuple[slice, ...] | None = None) -> np.ndarray:
        """The guide (float64, finite) for ``references``, all of one shape; ``where``: slices, step 1, of a part.

        Parts equal the whole. Values of references that mean nothing should be NaN. Raises
        MissingReferenceError when there are too few references.
        """
        needed = 1 + max((item.reference for item in self.inputs), default=-1)
        if len(references) < needed:
            raise MissingReferenceError(
                f"the network needs {needed} references, {len(references)} were given"
            )
        shape = references[0].shape
        if any(reference.shape != shape for reference in references):
            raise InvalidArgumentError(f"references of different shapes: {[r.shape for r in references]}")
        slices = where if where is not None else tuple(slice(0, n) for n in shape)
        long = [s for s, n in zip(slices, shape, strict=True) if n != 1]
        near = [slice(0, 1)] * 3 + long
        z, y, x = near[-3:]
        separate = np.arange(folded(shape)[0]).reshape([n for n in shape if n != 1][:-3] or [1])
        rows = [reference.reshape(folded(shape)) for reference in references]
        chosen = separate[tuple(long[:-3])].reshape(-1)
        out = np.empty((chosen.size, z.stop - z.start, y.stop - y.start, x.stop - x.start))
        if out.size:
            plane = (y.stop - y.start + 2 * REACH) * (x.stop - x.start + 2 * REACH) * max(len(self.inputs), 1)
            thick = max(4 * REACH, _SLAB // plane)
            for k, t in enumerate(chosen):
                for start in range(z.start, z.stop, thick):
                    stop = min(start + thick, z.stop)
                    box = slice(t, t + 1), slice(start, stop), y, x
                    out[k, start - z.start : stop - z.start] = self._of(planes(self.inputs, rows, box))
        return out.reshape([s.stop - s.start for s in slices])

    def _of(self, around: Planes) -> np.ndarray:
        """Of the box within ``around``."""
        inputs, nz, ny, nx = around.values.shape
        nz, ny, nx = nz - 2 * REACH, ny - 2 * REACH, nx - 2 * REACH
        tables = self._tables(around.strides)
        _, sz, sy, _ = around.strides
        flat = around.values.reshape(-1) if inputs else np.zeros(around.strides[0])
        sums, out = np.empty(sy * ny), np.empty((nz, ny, nx))
        for z in range(nz):
            first = (z + REACH) * sz + REACH * sy + REACH
            forward.run(flat, first, sy * ny - 2 * REACH, tables, sums)
            out[z] = sums.reshape(ny, sy)[:, :nx]
        out *= self.scale
        out += self.centre
        return out

    def _tables(self, strides: tuple[int, int, int, int]) -> forward.Tables:
        starts, offsets, signs = [0], [], []
        for feature in self.features:
            for place, sign in places(feature.kind):
                offset = feature.input * strides[0]
                offsets.append(offset + sum(o * s for o, s in zip(place, strides[1:], strict=True)))
                signs.append(float(sign * 2**feature.exponent))
            starts.append(len(offsets))
        weights, biases, factors = self._dense
        return forward.Tables(
            np.array(starts, np.int64),
            np.array(offsets, np.int64),
            np.array(signs, np.float64),
            np.array([len(self.features), *(len(layer.biases) for layer in self.hidden), 1], np.int64),
            weights,
            biases,
            factors,
            float((1 << self.activation_bits) - 1),
        )

    @cached_property
    def _dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layers = [*self.hidden, self.output]
        channels = max(len(layer.biases) for layer in layers)
        rows = forward.padded(max(layer.weights.shape[1] for layer in layers) + channels)
        weights = np.zeros((len(layers), channels, rows))
        biases, factors = np.zeros((len(layers), channels)), np.ones((len(layers), channels))
        for k, layer in enumerate(layers):
            count, width = layer.weights.shape
            weights[k, :count, :width] = layer.weights
            biases[k, :count] = layer.biases
            factors[k, :count] = np.ldexp(1.0, -layer.shifts)
        return weights, biases, factors

    def to_bytes(self) -> bytes:
        from lossyzip.learned.network_bytes import to_bytes

        return to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes) -> Network:
        """Raises a DecodeError when ``data`` holds no network, or one whose sums are not exact."""
        from lossyzip.learned.network_bytes import from_bytes

        return from_bytes(data)


def check(network: Network) -> None:
    """Raise CorruptError unless shapes agree and all sums are integers that float64 holds exactly."""
    if not (math.isfinite(network.centre) and math.isfinite(network.scale)):
        raise CorruptError(f"a network's guide is {network.centre} + {network.scale} * its output")
    for item in network.inputs:
        if not (math.isfinite(item.centre) and 0 < item.inverse < math.inf and 0 < item.gain < math.inf):
            raise CorruptError(f"a network's input is scaled by {item}")
    bounds = []
    for feature in network.features:
        if feature.input >= len(network.inputs) or feature.kind >= FEATURES:
            raise CorruptError(f"a network has no feature {feature.kind} of input {feature.input}")
        bounds.append(len(places(feature.kind)) * LARGEST_INPUT * 2**feature.exponent)
    limits = list(bounds)
    for layer in network.hidden:
        _check_layer(layer, limits)
        limits = [(1 << network.activation_bits) - 1] * len(layer.biases)
    limits = limits + bounds if network.hidden else bounds
    _check_layer(network.output, limits)
    if len(network.output.biases) != 1:
        raise CorruptError(f"a network has {len(network.output.biases)} outputs")
    largest = abs(network.centre) + abs(network.scale) * _EXACT
    if not math.isfinite(largest):
        raise CorruptError("a network's guide may be infinite")


def _check_layer(layer: Layer, limits: list[int]) -> None:
    if layer.weights.shape != (len(layer.biases), len(limits)) or layer.biases.shape != layer.shifts.shape:
        raise CorruptError(f"a layer of a network has weights {layer.weights.shape} for {len(limits)} inputs")
    for row, bias in zip(layer.weights.tolist(), layer.biases.tolist(), strict=True):
        bound = abs(bias) + sum(abs(w) * limit for w, limit in zip(row, limits, strict=True))
        if bound >= _EXACT:
            raise CorruptError(f"a sum of a network may reach {bound}: only below 2**53 is it exact")
