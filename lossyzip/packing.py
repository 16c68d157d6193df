"""Values of a packed field -> numbers, and back.

A value whose number, and all numbers that may be decoded in its place, do not lead to within eps of it is
special, so that a few values off the scale cost bytes and never the bound. docs/FORMAT.md, "Packed fields".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import kernel, merged
from lossyzip.container.header import Header
from lossyzip.container.packing import Packing
from lossyzip.decompose.rows import clamp, within
from lossyzip.field import RAW, largest_coded


class _Rule(NamedTuple):
    """A `Packing` with the span of its numbers and values, as kernels take it."""

    first: float  # number,
    last: float  # and the last one's distance from it
    offset: float
    numerator: float
    denominator: float
    low: np.floating  # in the field's dtype
    high: np.floating


def _rule_of(packing: Packing, dtype: np.dtype, low: float, high: float) -> _Rule:
    number = dtype.type
    return _Rule(*packing.numbers(low, high), *packing[:3], number(low), number(high))


@merged
def _value(number, rule, like):
    """Of the ``number``, counted from the first, in the dtype of the array ``like``."""
    whole = rule.first + clamp(number, 0.0, rule.last)
    value = like.dtype.type(rule.offset + whole * rule.numerator / rule.denominator)
    return clamp(value + like.dtype.type(0.0), rule.low, rule.high)  # -0.0 becomes 0.0


@kernel
def _pack(values, bits, specials, largest, eps, most, rule, classes, numbers):
    """As `field.classify`, but that ``numbers`` are coded."""
    negative_zero = np.uint64(1) << np.uint64(8 * bits.itemsize - 1)
    special = 0
    raw = 0
    for i in range(values.size):
        value = np.float64(values[i])
        pattern = np.uint64(bits[i])
        number = np.rint((value - rule.offset) * rule.denominator / rule.numerator) - rule.first
        kind = RAW
        if abs(value) <= largest and pattern != negative_zero:  # False for NaN
            number = clamp(number, 0.0, rule.last)
            below = np.float64(_value(number - most, rule, values))
            above = np.float64(_value(number + most, rule, values))
            kind = 0 if within(value, below, eps) and within(value, above, eps) else RAW
        for k in range(specials.size):
            if pattern == specials[k]:
                kind = k + 1
        classes[i] = kind
        if kind == 0:
            numbers[i] = number
        else:
            numbers[i] = np.nan
            special += 1
            raw += 1 if kind == RAW else 0
    return special, raw


@kernel
def _unpack(numbers, rule, values):
    for i in range(values.size):
        values[i] = _value(np.rint(np.float64(numbers[i])), rule, values)


def packed(values: np.ndarray, header: Header, packing: Packing) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(numbers, counted from the field's first, in the header's coded dtype, NaN where a value is special;
    class of each, as `field.classify` has them; how many are special, and RAW) of the flat array ``values``
    in native order."""
    bits, specials = values.view(f"u{values.itemsize}"), np.array(header.specials, np.uint64)
    classes, numbers = np.empty(values.size, np.uint8), np.empty(values.size, header.coded)
    rule = _rule_of(packing, header.part, header.low, header.high)
    largest = largest_coded(header.part)
    special, raw = _pack(
        *(values, bits, specials, largest, header.eps, float(packing.most), rule, classes, numbers)
    )
    return numbers, classes, special, raw


def unpacked(numbers: np.ndarray, header: Header, packing: Packing) -> np.ndarray:
    """The flat array of ``header.part`` with these numbers, rounded; in their place, if of the same dtype."""
    values = numbers if numbers.dtype == header.part else np.empty(numbers.size, header.part)
    _unpack(numbers, _rule_of(packing, header.part, header.low, header.high), values)
    return values
