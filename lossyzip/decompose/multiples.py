"""Values and the nearest multiples of one step.

The step depends on eps and the dtype alone, so a value that lies on the lattice stays where it is,
however often and in whatever tiles it is compressed again. docs/FORMAT.md, "Lattice".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lossyzip._jit import inlined, kernel, lean
from lossyzip.decompose.rows import Quantizer, clamp, within
from lossyzip.entropy.tokens import OUTLIER

# Significant bits of the step, so that multiples of it are exact as long as they are not huge, and
# most of a multiple: the dtype must tell neighbours apart, and 16 of them be a code.
_STEP_BITS = {4: 9, 8: 26}
_LIMIT = {4: 2.0**22, 8: 2.0**24}


class Spacing(NamedTuple):
    """Where the points are: multiples of ``step``, clamped to ``low`` and ``high`` (field's dtype).

    Integers are multiples less ``centre``.
    """

    step: np.float64
    inverse: np.float64
    eps: np.float64
    low: np.floating
    high: np.floating
    limit: np.float64  # multiples are smaller than this
    centre: np.float64


def spacing(rule: Quantizer, centre: int = 0) -> Spacing:
    """The lattice for ``rule.eps``: nothing else of ``rule`` but its span, which only clamps, has a say."""
    eps = float(rule.eps)
    bits = _STEP_BITS[rule.eps.itemsize]
    mantissa, exponent = math.frexp(2.0 * eps)
    step = math.ldexp(math.floor(math.ldexp(mantissa, bits)), exponent - bits)
    return Spacing(
        np.float64(step),
        np.float64(1.0 / step),
        np.float64(eps),
        rule.low,
        rule.high,
        np.float64(_LIMIT[rule.eps.itemsize]),
        np.float64(centre),
    )


def middle(rule: Quantizer) -> int:
    """The multiple in the middle of the field's span; 0 where multiples are huge."""
    steps = (0.5 * float(rule.low) + 0.5 * float(rule.high)) * float(spacing(rule).inverse)
    return round(steps) if abs(steps) < _LIMIT[rule.eps.itemsize] else 0


def suits(dtype: np.dtype, eps: float) -> bool:
    """Whether ``dtype`` has normal numbers enough around eps. What the field holds must not matter here."""
    return eps > 4.0 * float(np.finfo(dtype).tiny)


@inlined
def nearest(values, i, step, inverse, eps, low, high, limit):
    """(multiple, its value in the dtype, whether that will do) for ``values[i]``; nothing will do for NaN."""
    value = values[i]
    steps = np.rint(np.float64(value) * inverse) + 0.0  # -0.0 becomes 0.0
    point = clamp(values.dtype.type(steps * step), low, high)
    good = within(np.float64(value), np.float64(point), eps) & (abs(steps) < limit)
    return steps, point, good


@kernel
def snap(values, spacing, out):
    """Each value's point of the lattice, or the value itself where no point will do."""
    step, inverse, eps = spacing.step, spacing.inverse, spacing.eps
    low, high, limit = spacing.low, spacing.high, spacing.limit
    for i in range(values.size):
        _, point, good = nearest(values, i, step, inverse, eps, low, high, limit)
        out[i] = point if good else values[i]


@lean
def quantize(values, spacing, q):
    """Multiples of the step less the centre, OUTLIER where none will do; returns how many those are."""
    step, inverse, eps = spacing.step, spacing.inverse, spacing.eps
    low, high, limit = spacing.low, spacing.high, spacing.limit
    bad = np.int64(0)
    for i in range(values.size):
        steps, _, good = nearest(values, i, step, inverse, eps, low, high, limit)
        q[i] = np.int32(steps - spacing.centre) if good else OUTLIER
        bad += np.int64(0) if good else np.int64(1)
    return bad


def snapped(values: np.ndarray, coded: np.ndarray, rule: Quantizer) -> np.ndarray:
    """What decoding would give for the flat array ``values``; ``coded`` is NaN for those that are special."""
    points = np.empty_like(coded)
    snap(coded, spacing(rule), points)
    return np.where(np.isnan(coded), values, points)
