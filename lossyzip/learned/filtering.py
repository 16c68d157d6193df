"""A filter of decoded values and guides: what a point's neighbourhood says of its value, less that value.

A linear function of all that lies around the point, on both sides, which no predictor of a coder has; so it
tells on which side of a decoded value the original is likely to be. What it makes is one more plane for an
enhancer to see (terms.py). docs/FORMAT.md, "Enhancers".
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from lossyzip._jit import exact
from lossyzip.errors import CorruptError
from lossyzip.learned.network import Layer
from lossyzip.learned.terms import LARGEST, REACH, Feature, offsets

_EXACT = 1 << 53
_ANY = (1, 1, 1, 1)  # shape of planes: factors do not depend on it
_CHUNK = 512  # points: sums stay in the first caches


@dataclass(frozen=True)
class Filter:
    """Frozen; raises CorruptError when its sums might not be exact.

    ``layer``: one channel, of the ``features`` without their shifts and limits.
    """

    features: tuple[Feature, ...]  # ascending
    layer: Layer

    def __post_init__(self) -> None:
        weights, largest = self.layer.weights[0].tolist(), abs(int(self.layer.biases[0]))
        for feature, weight in zip(self.features, weights, strict=True):
            largest += abs(weight) * LARGEST * sum(abs(factor) for _, factor in offsets(feature, _ANY)[0])
        if largest >= _EXACT:
            raise CorruptError(f"a sum of a filter may reach {largest}: only below 2**53 is it exact")

    def plane(self, planes: np.ndarray) -> np.ndarray:
        """Of ``planes`` (planes, separate, z, y, x; see `terms.stacked`), with the same halo."""
        shape = planes.shape[1:]
        taps: Counter[int] = Counter()
        for feature, weight in zip(self.features, self.layer.weights[0].tolist(), strict=True):
            for offset, factor in offsets(feature, shape)[0]:
                taps[offset] += weight * factor
        places = np.array(list(taps), np.int64)
        weights = np.array(list(taps.values()), np.float64)
        bias, scale = float(self.layer.biases[0]), math.ldexp(1.0, -int(self.layer.shifts[0]))
        separate, nz, ny, nx = (*shape[:1], *(n - 2 * REACH for n in shape[1:]))
        out, width, flat = np.empty((separate, nz, ny, nx), np.int32), shape[3], planes.reshape(-1)
        row = np.empty(ny * width, np.int32)
        for number in range(separate):
            for z in range(nz):
                first = ((number * shape[1] + z + REACH) * shape[2] + REACH) * width + REACH
                _filter(flat, first, ny * width - 2 * REACH, places, weights, bias, scale, row)
                out[number, z] = row.reshape(ny, width)[:, :nx]
        return np.pad(out, ((0, 0), *((REACH, REACH),) * 3), mode="edge")


@exact
def _filter(planes, first, count, places, weights, bias, scale, out):
    """Fill ``out[:count]`` for the points from ``first`` on of the flat ``planes`` (int32)."""
    sums = np.empty(_CHUNK)
    largest = np.float64(LARGEST)
    for at in range(0, count, _CHUNK):
        n = min(_CHUNK, count - at)
        sums[:] = bias
        for p in range(places.size):
            base, weight = first + at + places[p], weights[p]
            values = planes[base : base + n]
            for i in range(n):
                sums[i] += weight * np.float64(values[i])
        for i in range(n):
            x = np.floor(sums[i] * scale)
            x = x if x < largest else largest
            out[at + i] = np.int32(x if x > -largest else -largest)
