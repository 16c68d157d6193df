"""Error bounds: what a user asks for, and the absolute tolerance it resolves to. Knows no fields.

A `Bound` is the question; `eps`, an absolute tolerance, is the answer for one field; for a pointwise
relative bound it is relative to each value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from lossyzip.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

_KINDS = {
    "abs": "absolute",
    "rel": "relative",
    "pwrel": "pointwise_relative",
    "psnr": "psnr",
    "lossless": "lossless",
}
_AND_LESS = " and less"  # where the bound differs from value to value
_ROUNDING = Fraction(1, 10**8)  # relative, more than that of 10 ** x and of what the checker adds up


class Regions:
    """An array of numbers that broadcasts to a field, in the place of one; equal to itself alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


@dataclass(frozen=True)
class Bound:
    """What was asked: ``kind`` is "absolute", "relative", "pointwise_relative", "psnr" or "lossless", whose
    ``value`` is 0. With ``regions`` each value of the field has its own number; ``value`` is the largest.
    """

    kind: str
    value: float
    regions: Regions | None = None

    def __str__(self) -> str:
        short = next(short for short, kind in _KINDS.items() if kind == self.kind)
        if self.kind == "lossless":
            return short
        text = repr(self.value)
        text = text.removesuffix(".0") if self.kind == "psnr" else text
        return f"{short}:{text}{_AND_LESS if self.regions else ''}"

    def resolve(self, low: float, high: float) -> float:
        """The absolute tolerance for a field whose valid values span ``low`` to ``high``; that of a pointwise
        relative bound is relative to each value.

        Never rounds in the user's disfavour: the result is the largest float64 that is not above
        the exact product. 0.0 means that every value must come back as it is.

        For a PSNR it is the tolerance that reaches it whatever the errors are: none of them is larger than
        the root of the mean square allowed. Those within a larger one may reach it, too: tuning_psnr.py.
        """
        if self.kind == "lossless":
            return 0.0
        if self.kind in ("absolute", "pointwise_relative"):
            return self.value
        factor = Fraction(self.value)
        if self.kind == "psnr":
            factor = Fraction(10.0 ** (-self.value / 20.0)) * (1 - _ROUNDING)
        return round_down(factor * (Fraction(high) - Fraction(low)))


def absolute(eps: float | np.ndarray) -> Bound:
    """Every value within ``eps`` of the original, in the field's own units. 0 means lossless.

    An array that broadcasts to the field gives each value its own, for regions of interest. Up to 16 that
    differ are kept as they are; where there are more, some values get a smaller one.
    Raises InvalidArgumentError unless ``eps`` is a finite number >= 0, or an array of such.
    """
    return _with_regions("absolute", eps)


def relative(r: float | np.ndarray) -> Bound:
    """Every value within ``r`` x (max - min), taken over the finite, unmasked values of the whole field.

    ``r`` may be an array, as for `absolute`. Raises InvalidArgumentError unless it is a finite number >= 0.
    """
    return _with_regions("relative", r)


def pointwise_relative(r: float) -> Bound:
    """Every value within ``r`` x its own magnitude; zeros come back as zeros, and every sign as it was.

    Raises InvalidArgumentError unless ``r`` is a finite number >= 0 and below 1.
    """
    number = _tolerance("pointwise_relative", r)
    if number >= 1.0:
        raise InvalidArgumentError(f"pointwise_relative bound must be below 1, not {number}")
    return Bound("pointwise_relative", number)


def psnr(db: float) -> Bound:
    """A PSNR of at least ``db`` decibels: 20 log10((max - min) / rmse) over the field's valid values.

    Nothing is promised of a single value, but that it is within the eps that lossyzip chooses for it, and
    names. Raises InvalidArgumentError unless ``db`` is a finite number > 0.
    """
    number = _tolerance("psnr", db)
    if number == 0.0:
        raise InvalidArgumentError("psnr bound must be more than 0 dB")
    return Bound("psnr", number)


def lossless() -> Bound:
    """Every value comes back bit for bit."""
    return Bound("lossless", 0.0)


def parse(text: str) -> Bound:
    """A bound as users write it: ``abs:0.5``, ``rel:1e-3``, ``pwrel:1e-3``, ``psnr:60`` or ``lossless``."""
    name, colon, number = text.strip().partition(":")
    if name == "lossless" and not colon:
        return lossless()
    makers = {"abs": absolute, "rel": relative, "pwrel": pointwise_relative, "psnr": psnr}
    if name in makers and number:
        try:
            value = float(number)
        except ValueError:
            raise InvalidArgumentError(f"bound {text!r}: {number!r} is not a number") from None
        return makers[name](value)
    raise InvalidArgumentError(
        f"bound {text!r} is not understood; write abs:EPS, rel:R, pwrel:R, psnr:DB or lossless"
    )


def _with_regions(kind: str, value: Any) -> Bound:
    if not getattr(value, "ndim", 0):
        return Bound(kind, _tolerance(kind, value))
    import numpy as np

    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{kind} bounds must be numbers, not {value!r}") from None
    if not array.size:  # for a field without values
        return Bound(kind, 0.0)
    smallest, largest = (_tolerance(kind, number) for number in (array.min(), array.max()))
    if smallest == largest:
        return Bound(kind, largest)
    return Bound(kind, largest, Regions(array))


def _tolerance(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{name} bound must be a number, not {value!r}") from None
    if not (math.isfinite(number) and number >= 0.0):
        raise InvalidArgumentError(f"{name} bound must be finite and >= 0, not {number}")
    return number + 0.0  # -0.0 becomes 0.0


def round_down(exact: Fraction) -> float:
    """The largest float64 that is not above ``exact``."""
    try:
        nearest = float(exact)
    except OverflowError:
        return math.nextafter(math.inf, 0.0)
    return nearest if Fraction(nearest) <= exact else math.nextafter(nearest, 0.0)
