"""Networks from docs/FORMAT.md, "Networks", in plain Python: one point at a time, in ints of any length."""

from __future__ import annotations

import itertools
import math
import struct
from collections import namedtuple

import numpy as np

from reference.readers import Bits, require

REACH = 4
Network = namedtuple("Network", "inputs features hidden output activation_bits centre scale")
Input = namedtuple("Input", "reference curved centre inverse gain")
Feature = namedtuple("Feature", "input kind exponent")
Layer = namedtuple("Layer", "weights biases shifts")


def read(data):
    """A network from its bytes."""
    bits = Bits(data)

    def number():
        return struct.unpack("<d", bytes(4) + bits.take(32).to_bytes(4, "little"))[0]

    def layer(channels, width, shifts):
        size, biases, weights = bits.take(6), [], []
        for _ in range(channels):
            bias = bits.take(size)
            biases.append(bias - (1 << size) if size and bias >> (size - 1) else bias)
            k = bits.take(5)
            weights.append([bits.signed(k) for _ in range(width)])
        return Layer(np.array(weights, object).reshape(channels, width), np.array(biases), np.array(shifts))

    require(bits.take(4) == 0, "version of a network")
    inputs, features = [], []
    for k in range(bits.take(10)):
        inputs.append(Input(bits.take(8), bits.take(1), number(), number(), number()))
        for kind in range(28):
            if bits.take(1):
                features.append(Feature(k, kind, bits.take(4)))
    centre, scale, activation_bits = number(), number(), bits.take(5)
    hidden, width = [], len(features)
    for _ in range(bits.take(3)):
        channels = bits.take(10)
        shifts = [bits.take(6) for _ in range(channels)]
        hidden.append(layer(channels, width, shifts))
        width = channels
    output = layer(1, width + len(features) if hidden else width, [0])
    return Network(inputs, features, hidden, output, activation_bits, centre, scale)


def places(kind):
    """[((z, y, x), sign)] of the values that a feature of this kind adds up."""
    if kind < 4:
        cube = itertools.product((-1, 0, 1), repeat=3)
        return [(place, 1) for place in cube if sum(abs(p) for p in place) == kind]
    axis, distance, odd = (kind - 4) // (2 * REACH), (kind - 4) // 2 % REACH + 1, (kind - 4) % 2
    ahead = [0, 0, 0]
    ahead[axis] = distance
    return [(tuple(ahead), 1), (tuple(-p for p in ahead), -1 if odd else 1)]


def log2(value):
    """As "Logarithms" has it: a series in the order of its operations."""
    mantissa, exponent = math.frexp(value)
    if mantissa < math.sqrt(0.5):
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, total = s * s, 0.0
    for k in range(11, -1, -1):
        total = total * square + 1.0 / (2 * k + 1)
    return exponent + 2.0 * s * total / 0.6931471805599453


def whole(item, value):
    """The integer that ``item`` makes of a reference's value."""
    t = (float(value) - item.centre) * item.inverse
    if math.isnan(t):
        return 0
    if item.curved:
        t = math.copysign(log2(1.0 + min(abs(t), np.finfo(float).max / 2)), t)
    t *= item.gain
    return max(-32767, min(32767, round(t) if math.isfinite(t) else int(math.copysign(32767, t))))


def channels(grids, strides, shape):
    """Latents at every point of a field of this shape, each the product of the strides times itself."""
    long = [axis for axis, n in enumerate(shape) if n != 1]
    near = [None] * (3 - len(long)) + long[-3:]
    require(
        grids.shape[2:]
        == tuple(
            (-(-(shape[axis] - 1) // s) if axis is not None else 0) + 1
            for axis, s in zip(near, strides, strict=True)
        ),
        "a grid of latents",
    )
    found = [np.empty(shape) for _ in grids]
    for point in np.ndindex(*shape):
        separate = 0
        for axis in long[:-3]:
            separate = separate * shape[axis] + point[axis]
        ends = []
        for axis, s in zip(near, strides, strict=True):
            first, part = divmod(point[axis] if axis is not None else 0, s)
            ends.append([(first, s - part), *([(first + 1, part)] if part else [])])
        for values, grid in zip(found, grids, strict=True):
            total = 0
            for (z, a), (y, b), (x, c) in itertools.product(*ends):
                total += int(grid[separate, z, y, x]) * a * b * c
            values[point] = total
    return found


def guide(network, references, latents=(), shape=None):
    """The guide at every point, float64."""
    shape = references[0].shape if shape is None else shape
    sources = dict(enumerate(references)) | {128 + k: values for k, values in enumerate(latents)}
    long = [axis for axis, n in enumerate(shape) if n != 1][-3:]
    axes = [None] * (3 - len(long)) + long
    integers = [
        np.array([whole(item, v) for v in sources[item.reference].reshape(-1)], object).reshape(shape)
        for item in network.inputs
    ]
    out = np.empty(shape)
    for point in np.ndindex(*shape):
        features = []
        for feature in network.features:
            total = 0
            for place, sign in places(feature.kind):
                at = list(point)
                for axis, step in zip(axes, place, strict=True):
                    if axis is not None:
                        at[axis] = max(0, min(shape[axis] - 1, at[axis] + step))
                total += sign * integers[feature.input][tuple(at)]
            features.append(total * 2**feature.exponent)
        now = features
        for layer in network.hidden:
            sums = [
                _dot(row, now) + bias
                for row, bias in zip(layer.weights.tolist(), layer.biases.tolist(), strict=True)
            ]
            shifted = [total >> shift for total, shift in zip(sums, layer.shifts.tolist(), strict=True)]
            now = [max(0, min(2**network.activation_bits - 1, total)) for total in shifted]
        last = now + features if network.hidden else features
        total = _dot(network.output.weights[0].tolist(), last) + int(network.output.biases[0])
        out[point] = network.centre + network.scale * float(total)
    return out


def _dot(row, values):
    return sum(w * v for w, v in zip(row, values, strict=True))
