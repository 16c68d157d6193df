"""Error bounds: what a user asks for, and the absolute tolerance it resolves to. Knows no arrays.

A `Bound` is the question; `eps`, an absolute tolerance, is the answer for one field. Further kinds
(pointwise relative, PSNR) are further names in `_KINDS` and a branch in `Bound.resolve`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from lossyzip.errors import InvalidArgumentError

_KINDS = {"abs": "absolute", "rel": "relative", "lossless": "lossless"}


@dataclass(frozen=True)
class Bound:
    """What was asked: ``kind`` is "absolute", "relative" or "lossless"; ``value`` is 0 for lossless."""

    kind: str
    value: float

    def __str__(self) -> str:
        short = next(short for short, kind in _KINDS.items() if kind == self.kind)
        return short if self.kind == "lossless" else f"{short}:{self.value!r}"

    def resolve(self, low: float, high: float) -> float:
        """The absolute tolerance for a field whose valid values span ``low`` to ``high``.

        Never rounds in the user's disfavour: the result is the largest float64 that is not above
        the exact product. 0.0 means that every value must come back as it is.
        """
        if self.kind == "lossless":
            return 0.0
        if self.kind == "absolute":
            return self.value
        return _round_down(Fraction(self.value) * (Fraction(high) - Fraction(low)))


def absolute(eps: float) -> Bound:
    """Every value within ``eps`` of the original, in the field's own units. 0 means lossless.

    Raises InvalidArgumentError unless ``eps`` is a finite number >= 0.
    """
    return Bound("absolute", _tolerance("absolute", eps))


def relative(r: float) -> Bound:
    """Every value within ``r`` x (max - min), taken over the finite, unmasked values of the whole field.

    Raises InvalidArgumentError unless ``r`` is a finite number >= 0.
    """
    return Bound("relative", _tolerance("relative", r))


def lossless() -> Bound:
    """Every value comes back bit for bit."""
    return Bound("lossless", 0.0)


def parse(text: str) -> Bound:
    """A bound as the command line writes it: ``abs:0.5``, ``rel:1e-3`` or ``lossless``."""
    name, colon, number = text.strip().partition(":")
    if name == "lossless" and not colon:
        return lossless()
    if name in ("abs", "rel") and number:
        try:
            value = float(number)
        except ValueError:
            raise InvalidArgumentError(f"bound {text!r}: {number!r} is not a number") from None
        return absolute(value) if name == "abs" else relative(value)
    raise InvalidArgumentError(f"bound {text!r} is not understood; write abs:EPS, rel:R or lossless")


def _tolerance(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{name} bound must be a number, not {value!r}") from None
    if not (math.isfinite(number) and number >= 0.0):
        raise InvalidArgumentError(f"{name} bound must be finite and >= 0, not {number}")
    return number + 0.0  # -0.0 becomes 0.0


def _round_down(exact: Fraction) -> float:
    try:
        nearest = float(exact)
    except OverflowError:
        return math.nextafter(math.inf, 0.0)
    return nearest if Fraction(nearest) <= exact else math.nextafter(nearest, 0.0)
