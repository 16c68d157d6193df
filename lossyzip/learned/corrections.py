"""Corrections: for each class of estimates the one that pays, and whether they all do. For the encoder alone.

Marks cost bits, and a bit is worth what it would gain if eps were smaller instead.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lossyzip.learned.classify import CLASSES
from lossyzip.learned.enhancer import STEPS, Enhancer
from lossyzip.learned.enhancer_rounding import outputs

_SEEN = 64  # judged values of a class, for it to have a correction of its own
_MARGIN = 1.25  # what marks gain over what they cost; around the optimum fewer bytes gain about as much
_STREAM = 40.0  # bytes that a tile's marks take beside what they tell


class Price(NamedTuple):
    """What bytes are worth: with one percent more a smaller eps would gain so many ``decibels``."""

    decibels: float
    stream_bytes: int  # of the frame as it is
    values: int
    tiles: int
    marked: bool = True  # values that would leave the bound are: not if a PSNR is asked for

    def of(self, size: float) -> float:
        """In dB."""
        return self.decibels * 100.0 * size / self.stream_bytes


class Judged(NamedTuple):
    """``gain`` is what PSNR gains, ``net`` what is left when its bytes are paid, both in dB on the sample."""

    enhancer: Enhancer
    gain: float
    net: float


def judge(enhancer: Enhancer, terms: np.ndarray, errors: np.ndarray, usable: float, price: Price) -> Judged:
    """``enhancer`` with the corrections that pay."""
    sums = outputs(enhancer, terms)
    classes = np.minimum(np.abs(sums).astype(np.int64) >> enhancer.shift, CLASSES - 1)
    towards = np.where(sums < 0.0, -errors, errors).astype(np.float64)
    square = float(np.square(towards).sum())
    values = usable * price.values
    # what a bit costs in one of the values, in dB, as a part of the mean square; for all of them together
    of_bit = square / errors.size * math.log(10.0) / 10.0 * price.of(values / 8.0) * _MARGIN
    corrections, left, bits = [0], 0.0, 0.0
    for number in range(CLASSES):
        own = towards[classes == number]
        tried = range(STEPS + 1) if own.size >= _SEEN else [corrections[-1]]
        each = [(*_cost(own, c, price.marked), c) for c in tried]
        distortion, marked, correction = min(each, key=lambda one: one[0] + of_bit * one[1])
        corrections.append(correction)
        left += distortion
        bits += marked
    enhancer = replace(enhancer, corrections=tuple(corrections[1:]))
    gain = 10.0 * math.log10(square / left) if left > 0.0 else 0.0
    size = bits / 8.0 * values / errors.size + len(enhancer.to_bytes()) + _STREAM * price.tiles * price.marked
    return Judged(enhancer, gain, gain - price.of(size))


def _cost(errors: np.ndarray, correction: int, marked: bool) -> tuple[float, float]:
    """(sum of squares that is left of ``errors``, bits for marks) when they are corrected by that much."""
    if not errors.size:
        return 0.0, 0.0
    c = correction / STEPS
    if not marked:
        return float(np.square(errors - c).sum()), 0.0
    outside = errors < c - 1.0
    squares = np.square(errors - np.where(outside, 0.5 * c - 1.0, c)).sum()
    share = float(np.count_nonzero(outside)) / errors.size
    if not 0.0 < share < 1.0:
        return float(squares), 0.0
    entropy = -share * math.log2(share) - (1.0 - share) * math.log2(1.0 - share)
    return float(squares), entropy * errors.size
