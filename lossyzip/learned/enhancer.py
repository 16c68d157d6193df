"""An enhancer: from decoded values to a class for each, and what is added to the values of a class.

A linear function of terms (terms.py), to which a small network may add, estimates the error that quantization
left. The magnitude of the estimate has 32 classes, and each class its correction, in eps / 32: that which
pays, so that unsure estimates, which would cost marks (enhancement.py), have none. All weights are integers;
that no sum leaves those that float32 holds exactly is proved whenever an enhancer is made or read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.errors import CorruptError, UnsupportedFormatError
from lossyzip.learned import classify
from lossyzip.learned.classify import CLASSES
from lossyzip.learned.filtering import Filter
from lossyzip.learned.layers import padded
from lossyzip.learned.neighbourhood import folded
from lossyzip.learned.network import Layer
from lossyzip.learned.network_bytes import get_rows, put_rows
from lossyzip.learned.terms import KINDS, LIMITS, OWN, REACH, Feature, offsets, stacked

STEPS = 32  # a correction is so many parts of eps at most
MOST_HIDDEN = 2
MOST_CHANNELS = 32
MOST_ACTIVATION_BITS = 15
MOST_SHIFT = 31
_EXACT = 1 << 24
_ALONE, _WITH_PLANES = 0, 1  # versions
_ZOOM_BITS = 4
MOST_ZOOM = (1 << _ZOOM_BITS) - 1
_SHIFT_BITS, _CORRECTION_BITS, _CHANNEL_BITS = 5, 6, 6
_COUNT_BITS, _GUIDE_BITS = 3, 7
MOST_GUIDES = (1 << _COUNT_BITS) - 1
_NO_GUIDES: Mapping[int, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True)
class Enhancer:
    """Frozen; raises CorruptError when its sums might not be exact."""

    features: tuple[Feature, ...]  # ascending
    hidden: tuple[Layer, ...]  # the first one sees features within LIMITS[0]
    output: Layer  # one channel; of the activations, then of the terms
    activation_bits: int
    shift: int  # of the output's magnitude, which makes its class
    corrections: tuple[int, ...]  # of each class, in a scale's STEPS
    zoom: int = 0  # the scale is eps / 2**zoom: errors may be much smaller than eps, if a PSNR was asked for
    guides: tuple[int, ...] = ()  # numbers of those that it sees, too: planes 1 and up
    filter: Filter | None = None  # what makes a further plane of these and the field

    def __post_init__(self) -> None:
        _check(self)

    def classes(
        self,
        tile: np.ndarray,
        void: np.ndarray | None,
        low: float,
        eps: float,
        guides: Mapping[int, np.ndarray] = _NO_GUIDES,
    ) -> np.ndarray:
        """For each value of ``tile`` 1 + its class, negative if it is to be lowered: int8, of its shape.

        ``void`` (bool, of the shape): values that mean nothing. ``guides``: those of the tile, by number.
        Raises CorruptError for an eps that is none, and for guides that are not there.
        """
        full = folded(tile.shape)
        void = None if void is None else void.reshape(full)
        planes = stacked(tile.reshape(full), void, low, self.scale(eps), self.guides, guides)
        if self.filter is not None:
            planes = np.concatenate([planes, self.filter.plane(planes)[None]])
        units, flat = planes[0], planes.reshape(-1)
        out = np.empty(full, np.int8)
        tables = self._tables(units.shape)
        _, nz, ny, nx = full
        width = nx + 2 * REACH
        row = np.empty(ny * width, np.int8)
        for number in range(full[0]):
            for z in range(nz):
                first = ((number * units.shape[1] + z + REACH) * units.shape[2] + REACH) * width + REACH
                classify.classify(flat, first, ny * width - 2 * REACH, tables, row)
                out[number, z] = row.reshape(ny, width)[:, :nx]
        return out.reshape(tile.shape)

    def scale(self, eps: float) -> float:
        """The unit of features and corrections, in the field's units."""
        return math.ldexp(eps, -self.zoom)

    def _tables(self, shape: tuple[int, ...]) -> classify.Tables:
        starts, places, shifts = [0], [], []
        for feature in self.features:
            around, shift = offsets(feature, shape, len(self.guides) + 1)
            shifts.append(shift)
            places += around
            starts.append(len(places))
        return classify.Tables(
            np.array(starts, np.int64),
            np.array([offset for offset, _ in places], np.int64),
            np.array([factor for _, factor in places], np.int32),
            np.array(shifts, np.int32),
            np.array([*(len(layer.biases) for layer in self.hidden), 1], np.int64),
            *self._dense,
            np.float32((1 << self.activation_bits) - 1),
            np.int32(self.shift),
        )

    @cached_property
    def _dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layers = [*self.hidden, self.output]
        channels = max(len(layer.biases) for layer in layers)
        inputs = [layer.weights.shape[1] for layer in layers]
        rows = padded(max(*inputs, len(LIMITS) * len(self.features), channels))
        weights = np.zeros((len(layers), channels, rows), np.float32)
        biases = np.zeros((len(layers), channels), np.float32)
        scales = np.ones((len(layers), channels), np.float32)
        for k, layer in enumerate(layers):
            count, width = layer.weights.shape
            weights[k, :count, :width] = layer.weights
            biases[k, :count] = layer.biases
            scales[k, :count] = np.ldexp(1.0, -layer.shifts)
        return weights, biases, scales

    def to_bytes(self) -> bytes:
        out = BitWriter()
        more = bool(self.guides) or self.filter is not None
        out.bits(_WITH_PLANES if more else _ALONE, 4)
        out.bits(len(self.hidden), 2)
        _put_features(out, self.features, [KINDS])
        if more:
            out.bits(len(self.guides), _COUNT_BITS)
            for guide in self.guides:
                out.bits(guide, _GUIDE_BITS)
            out.bits(int(self.filter is not None), 1)
            kinds = _kinds_of(len(self.guides))
            if self.filter is not None:
                _put_features(out, self.filter.features, kinds)
                out.bits(int(self.filter.layer.shifts[0]), _SHIFT_BITS)
                put_rows(out, self.filter.layer)
                kinds = [*kinds, OWN + 1]
            _put_features(out, self.features, [0, *kinds[1:]])
        out.bits(self.zoom, _ZOOM_BITS)
        out.bits(self.shift, _SHIFT_BITS)
        for correction in self.corrections:
            out.bits(correction, _CORRECTION_BITS)
        out.bits(self.activation_bits, 4)
        for layer in self.hidden:
            out.bits(len(layer.biases), _CHANNEL_BITS)
            for shift in layer.shifts.tolist():
                out.bits(shift, _SHIFT_BITS)
            put_rows(out, layer)
        put_rows(out, self.output)
        return out.finish()

    @staticmethod
    def from_bytes(data: bytes) -> Enhancer:
        """Raises a DecodeError when ``data`` holds no enhancer, or one whose sums are not exact."""
        bits = BitReader(data)
        version = bits.bits(4)
        if version > _WITH_PLANES:
            raise UnsupportedFormatError(f"an enhancer of version {version}; upgrade lossyzip")
        layers = bits.bits(2)
        features = _get_features(bits, [KINDS])
        guides: tuple[int, ...] = ()
        filter_ = None
        if version == _WITH_PLANES:
            guides = tuple(bits.bits(_GUIDE_BITS) for _ in range(bits.bits(_COUNT_BITS)))
            filtered, kinds = bits.bits(1), _kinds_of(len(guides))
            if filtered:
                seen = _get_features(bits, kinds)
                shifts = np.array([bits.bits(_SHIFT_BITS)])
                filter_ = Filter(seen, get_rows(bits, data, 1, len(seen), shifts))
                kinds = [*kinds, OWN + 1]
            features += _get_features(bits, [0, *kinds[1:]])
        zoom = bits.bits(_ZOOM_BITS)
        shift = bits.bits(_SHIFT_BITS)
        corrections = tuple(bits.bits(_CORRECTION_BITS) for _ in range(CLASSES))
        activation_bits = bits.bits(4)
        hidden = []
        width = len(features)
        for _ in range(layers):
            channels = bits.bits(_CHANNEL_BITS)
            if channels > MOST_CHANNELS:
                raise CorruptError(f"a layer of an enhancer has {channels} channels")
            shifts = np.array([bits.bits(_SHIFT_BITS) for _ in range(channels)], np.int64)
            hidden.append(get_rows(bits, data, channels, width, shifts))
            width = channels
        width = (width if hidden else 0) + len(LIMITS) * len(features)
        output = get_rows(bits, data, 1, width, np.zeros(1, np.int64))
        parts = (features, tuple(hidden), output, activation_bits, shift, corrections, zoom)
        enhancer = Enhancer(*parts, guides, filter_)
        if len(enhancer.to_bytes()) != len(data):
            raise CorruptError("an enhancer is followed by other bytes")
        return enhancer


def if_exact(
    features: Sequence[Feature],
    guides: Sequence[int],
    filter_: Filter | None,
    hidden: Sequence[Layer],
    output: Layer,
    activation_bits: int,
    shift: int,
) -> Enhancer | None:
    """The enhancer of these parts, without corrections, or None when its sums might not be exact."""
    parts = (tuple(features), tuple(hidden), output, activation_bits, shift, (0,) * CLASSES)
    try:
        return Enhancer(*parts, guides=tuple(guides), filter=filter_)
    except CorruptError:
        return None


def _kinds_of(guides: int) -> list[int]:
    """How many kinds of features the field and so many guides have."""
    return [KINDS, *[OWN + 1] * guides]


def _put_features(out: BitWriter, features: Sequence[Feature], kinds: Sequence[int]) -> None:
    for plane, count in enumerate(kinds):
        for kind in range(count):
            out.bits(int((plane, kind) in features), 1)


def _get_features(bits: BitReader, kinds: Sequence[int]) -> tuple[Feature, ...]:
    places = [(plane, kind) for plane, count in enumerate(kinds) for kind in range(count)]
    return tuple(Feature(*place) for place in places if bits.bits(1))


def _check(enhancer: Enhancer) -> None:
    if len(enhancer.corrections) != CLASSES or max(enhancer.corrections) > STEPS:
        raise CorruptError(f"an enhancer has corrections {enhancer.corrections}")
    if len(enhancer.hidden) > MOST_HIDDEN or enhancer.shift > MOST_SHIFT:
        raise CorruptError(f"an enhancer has {len(enhancer.hidden)} hidden layers, shift {enhancer.shift}")
    features = len(enhancer.features)
    limits = [LIMITS[0]] * features
    for layer in enhancer.hidden:
        _check_layer(layer, limits)
        limits = [(1 << enhancer.activation_bits) - 1] * len(layer.biases)
    terms = [limit for limit in LIMITS for _ in range(features)]
    _check_layer(enhancer.output, limits + terms if enhancer.hidden else terms)


def _check_layer(layer: Layer, limits: list[int]) -> None:
    if layer.weights.shape != (len(layer.biases), len(limits)):
        raise CorruptError(f"a layer of an enhancer has weights {layer.weights.shape}, {len(limits)} inputs")
    for row, bias in zip(layer.weights.tolist(), layer.biases.tolist(), strict=True):
        bound = abs(bias) + sum(abs(w) * limit for w, limit in zip(row, limits, strict=True))
        if bound >= _EXACT:
            raise CorruptError(f"a sum of an enhancer may reach {bound}: only below 2**24 is it exact")
