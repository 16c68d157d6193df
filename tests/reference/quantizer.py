"""From a prediction and a code to a value: section 3 of FORMAT.md, and its 4.3 for coefficients."""

from __future__ import annotations

from copy import copy

import numpy as np


class Quantizer:
    """All arithmetic is in ``dtype``."""

    def __init__(self, dtype: np.dtype, eps: float, low: np.floating, high: np.floating) -> None:
        number = dtype.type
        self.low, self.high = number(low), number(high)
        self.most = np.finfo(dtype).max / number(64)
        with np.errstate(over="ignore"):
            e = min(number(eps), self.most)
        self.e = e if float(e) <= eps else np.nextafter(e, number(0))
        largest = max(abs(self.low), abs(self.high))
        u = np.nextafter(largest, number(np.inf)) - largest
        self.step = number(2) * (self.e - u if self.e > number(8) * u else self.e)

    def for_coefficients(self, sixteenths: int) -> Quantizer:
        other = copy(self)
        other.step = type(self.e)(float(self.e) * sixteenths / 16)
        other.low, other.high = -self.most, self.most
        return other

    def clamp(self, value: np.floating) -> np.floating:
        return self.low if np.isnan(value) else min(max(value, self.low), self.high)

    def reconstruct(self, prediction_sum: np.floating, code: int) -> np.floating:
        return self.clamp(self.clamp(prediction_sum) + type(self.step)(code) * self.step)
