"""A network in integers: from references to a guide, the same bits on every machine.

A perceptron on the features of a point (neighbourhood.py): hidden layers with clipped ReLUs, and an output
that also sees the features themselves. That is one convolution and layers of 1 x 1 x 1. All weights and
activations are integers; that no sum on the way leaves those that float64 holds exactly is proved whenever a
network is made or read. So any order of summation gives the same bits: vectorized, threaded, on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lossyzip.errors import CorruptError, InvalidArgumentError, MissingReferenceError
from lossyzip.learned import forward
from lossyzip.learned.layers import padded
from lossyzip.learned.neighbourhood import (
    FEATURES,
    FIRST_LATENT,
    LARGEST_INPUT,
    REACH,
    Box,
    Input,
    Planes,
    folded,
    places,
    planes,
)

if TYPE_CHECKING:
    from lossyzip.learned.latents import Latents

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

    @staticmethod
    def constant(value: float) -> Network:
        """A guide that is the same everywhere."""
        none = np.zeros(1, np.int64)
        return Network((), (), (), Layer(np.zeros((1, 0), np.int64), none, none), 1, value, 0.0)

    @staticmethod
    def if_exact(*parts: Any) -> Network | None:
        """The network of these ``parts``, or None when its sums might not be exact."""
        try:
            return Network(*parts)
        except CorruptError:
            return None

    @property
    def references(self) -> int:
        """How many references, the first ones, it needs."""
        return 1 + max((i.reference for i in self.inputs if i.reference < FIRST_LATENT), default=-1)

    @property
    def latents(self) -> int:
        """How many channels of latents, the first ones, it needs."""
        return max([0, *(1 + item.reference - FIRST_LATENT for item in self.inputs)])

    def guide(
        self,
        references: Sequence[np.ndarray],
        where: tuple[slice, ...] | None = None,
        latents: Latents | None = None,
    ) -> np.ndarray:
        """The guide (float64, finite) for ``references``, all of one shape, and ``latents`` for that; or a
        part, ``where`` slices say.

        The parts equal the whole. Slices have a step of 1. What means nothing in references should be NaN.
        Raises MissingReferenceError when there are too few references, CorruptError when latents are.
        """
        needed = max(self.references, int(latents is None))
        if len(references) < needed:
            raise MissingReferenceError(
                f"the network was made with {needed} or more references, {len(references)} were given"
            )
        if self.latents > (0 if latents is None else latents.channels):
            raise CorruptError(f"a network needs {self.latents} channels of latents, and not all are there")
        shape = references[0].shape if latents is None else latents.shape
        if any(reference.shape != shape for reference in references):
            raise InvalidArgumentError(f"references of several shapes: {[r.shape for r in references]}")
        slices = tuple(slice(0, n) for n in shape) if where is None else where
        ranges = [s.indices(n) for s, n in zip(slices, shape, strict=True)]
        if any(step != 1 for _, _, step in ranges):
            raise InvalidArgumentError("a guide's part is given by slices with a step of 1")
        out = np.empty([max(stop - start, 0) for start, stop, _ in ranges])
        if out.size:
            full = folded(shape)
            rows = [reference.reshape(full) for reference in references]
            long = [slice(start, stop) for (start, stop, _), n in zip(ranges, shape, strict=True) if n != 1]
            z, y, x = [slice(0, 1), slice(0, 1), slice(0, 1), *long][-3:]
            numbers = np.arange(full[0]).reshape([n for n in shape if n != 1][:-3])
            into = out.reshape(-1, z.stop - z.start, y.stop - y.start, x.stop - x.start)
            for k, number in enumerate(numbers[tuple(long[:-3])].reshape(-1).tolist()):
                self._fill(into[k], rows, latents, full, (slice(number, number + 1), z, y, x))
        return out

    def _fill(
        self,
        out: np.ndarray,
        rows: list[np.ndarray],
        latents: Latents | None,
        full: tuple[int, ...],
        box: Box,
    ) -> None:
        """Fill ``out`` (z, y, x) with that box's guide, slab by slab."""
        separate, z, y, x = box
        plane = (out.shape[1] + 2 * REACH) * (out.shape[2] + 2 * REACH) * max(len(self.inputs), 1)
        thick = max(4 * REACH, _SLAB // plane)
        for start in range(z.start, z.stop, thick):
            stop = min(start + thick, z.stop)
            around = planes(self.inputs, rows, full, (separate, slice(start, stop), y, x), latents)
            self._run(around, out[start - z.start : stop - z.start])
        out *= self.scale
        out += self.centre

    def _run(self, around: Planes, out: np.ndarray) -> None:
        """Fill ``out`` (z, y, x) with sums of the output."""
        nz, ny, nx = out.shape
        if not self.features:
            out[:] = 0.0
            return
        tables, flat = self._tables(around), around.values.reshape(-1)
        width = nx + 2 * REACH
        sums = np.empty(ny * width)
        for z in range(nz):
            first = around.offset(0, (z + REACH, REACH, REACH))
            forward.run(flat, first, ny * width - 2 * REACH, tables, sums)
            out[z] = sums.reshape(ny, width)[:, :nx]

    def _tables(self, around: Planes) -> forward.Tables:
        starts, offsets, signs = [0], [], []
        for feature in self.features:
            for place, sign in places(feature.kind):
                offsets.append(around.offset(feature.input, place))
                signs.append(float(sign * 2**feature.exponent))
            starts.append(len(offsets))
        widths = [len(self.features), *(len(layer.biases) for layer in self.hidden), 1]
        return forward.Tables(
            np.array(starts, np.int64),
            np.array(offsets, np.int64),
            np.array(signs),
            np.array(widths, np.int64),
            *self._dense,
            float((1 << self.activation_bits) - 1),
        )

    @cached_property
    def _dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layers = [*self.hidden, self.output]
        channels = max(len(layer.biases) for layer in layers)
        rows = padded(max(layer.weights.shape[1] for layer in layers) + channels)
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
