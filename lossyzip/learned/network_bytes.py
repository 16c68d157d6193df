"""A network <-> bytes. docs/FORMAT.md, "Networks".

Weights are Rice codes of a parameter for each layer's rows; floats are the upper half of a float64's bits.
"""

from __future__ import annotations

import struct

import numpy as np

from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.errors import CorruptError, TruncatedError, UnsupportedFormatError
from lossyzip.learned.neighbourhood import FEATURES, Input
from lossyzip.learned.network import (
    MOST_BITS,
    MOST_CHANNELS,
    MOST_FEATURES,
    MOST_HIDDEN,
    MOST_INPUTS,
    Feature,
    Layer,
    Network,
)

_VERSION = 0
_PARAMETER = 5  # bits of a Rice parameter
_SHIFT = 6  # of a shift,
_EXPONENT = 4  # an exponent,
_COUNT = 10  # and a count
MOST_SHIFT, MOST_EXPONENT = (1 << _SHIFT) - 1, (1 << _EXPONENT) - 1


def storable(value: float) -> float:
    """``value`` with the bits that are stored: 20 of the mantissa."""
    return _float(_bits(value))


def to_bytes(network: Network) -> bytes:
    out = BitWriter()
    out.bits(_VERSION, 4)
    out.bits(len(network.inputs), _COUNT)
    for k, item in enumerate(network.inputs):
        out.bits(item.reference, 8)
        out.bits(int(item.curved), 1)
        for value in (item.centre, item.inverse, item.gain):
            out.bits(_bits(value), 32)
        mine = {f.kind: f.exponent for f in network.features if f.input == k}
        for kind in range(FEATURES):
            out.bits(int(kind in mine), 1)
            if kind in mine:
                out.bits(mine[kind], _EXPONENT)
    out.bits(_bits(network.centre), 32)
    out.bits(_bits(network.scale), 32)
    out.bits(network.activation_bits, 5)
    out.bits(len(network.hidden), 3)
    for layer in network.hidden:
        out.bits(len(layer.biases), _COUNT)
        for shift in layer.shifts.tolist():
            out.bits(shift, _SHIFT)
        put_rows(out, layer)
    put_rows(out, network.output)
    return out.finish()


def from_bytes(data: bytes) -> Network:
    """Raises a DecodeError when ``data`` holds no network; nothing is allocated that ``data`` cannot fill."""
    bits = BitReader(data)
    version = bits.bits(4)
    if version > _VERSION:
        raise UnsupportedFormatError(f"a network of version {version}; upgrade lossyzip")
    inputs, features = [], []
    for k in range(_within(bits.bits(_COUNT), MOST_INPUTS, "inputs")):
        reference, curved = bits.bits(8), bool(bits.bits(1))
        inputs.append(Input(reference, curved, *(_float(bits.bits(32)) for _ in range(3))))
        kinds = [(kind, bits.bits(_EXPONENT)) for kind in range(FEATURES) if bits.bits(1)]
        features += [Feature(k, kind, exponent) for kind, exponent in kinds]
    _within(len(features), MOST_FEATURES, "features")
    centre, scale = _float(bits.bits(32)), _float(bits.bits(32))
    activation_bits = _within(bits.bits(5), MOST_BITS, "bits an activation")
    hidden = []
    width = len(features)
    for _ in range(_within(bits.bits(3), MOST_HIDDEN, "hidden layers")):
        channels = _within(bits.bits(_COUNT), MOST_CHANNELS, "channels")
        shifts = np.array([bits.bits(_SHIFT) for _ in range(channels)], np.int64)
        hidden.append(get_rows(bits, data, channels, width, shifts))
        width = channels
    width = width + len(features) if hidden else width
    output = get_rows(bits, data, 1, width, np.zeros(1, np.int64))
    network = Network(tuple(inputs), tuple(features), tuple(hidden), output, activation_bits, centre, scale)
    if len(to_bytes(network)) != len(data):
        raise CorruptError("a network is followed by other bytes")
    return network


def put_rows(out: BitWriter, layer: Layer) -> None:
    """Biases' widths and values, then each row's parameter and weights."""
    width = max(int(abs(bias)).bit_length() for bias in [0, *layer.biases.tolist()]) + 1
    out.bits(width, _SHIFT)
    for bias, row in zip(layer.biases.tolist(), layer.weights.tolist(), strict=True):
        out.bits(bias % (1 << width), width)
        folds = [2 * w if w >= 0 else -2 * w - 1 for w in row]
        parameter = min(range(MOST_BITS), key=lambda p: sum((fold >> p) + 1 + p for fold in folds))
        out.bits(parameter, _PARAMETER)
        for weight in row:
            out.signed(weight, parameter)


def get_rows(bits: BitReader, data: bytes, channels: int, width: int, shifts: np.ndarray) -> Layer:
    if channels * width > 8 * len(data):
        raise TruncatedError(f"a network of {channels} x {width} weights ends after {len(data)} bytes")
    size = bits.bits(_SHIFT)
    weights, biases = np.zeros((channels, width), np.int64), np.zeros(channels, np.int64)
    for k in range(channels):
        bias = bits.bits(size)
        biases[k] = bias - (1 << size) if size and bias >> (size - 1) else bias
        parameter = _within(bits.bits(_PARAMETER), MOST_BITS, "bits a weight")
        for j in range(width):
            weights[k, j] = bits.signed(parameter)
    return Layer(weights, biases, shifts)


def _within(number: int, most: int, what: str) -> int:
    if number > most:
        raise CorruptError(f"a network of {number} {what}; there may be up to {most}")
    return number


def _bits(value: float) -> int:
    """The upper half of its bits, rounded towards zero."""
    return int(struct.unpack("<Q", struct.pack("<d", value))[0] >> 32)


def _float(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits << 32))[0])
