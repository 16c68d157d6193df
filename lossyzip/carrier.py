"""What is coded in the place of a field's values: themselves, wider floats, numbers, or logarithms; and back.

float16 and integers are coded as floats that hold them exactly, and rounded when they come back; complex
numbers are two numbers each, along an axis of their own before all others; a guide is subtracted (guide.py);
see also logarithms.py, packing.py. Special values (field.py) and those that are left out are NaN among what
is coded.
docs/FORMAT.md, "Types and carriers".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lossyzip._jit import inlined, kernel
from lossyzip.container.header import Header
from lossyzip.field import (
    RAW,
    Source,
    classify,
    largest_coded,
    native,
    negative_zeros,
    parts_of,
    plain_span,
    read,
)
from lossyzip.logarithms import logarithms, powers, scale_of
from lossyzip.packing import packed, unpacked


class Carried(NamedTuple):
    """What is coded of some values, as flat arrays."""

    coded: np.ndarray  # of the header's coded dtype; NaN for values that are special or left out
    classes: np.ndarray  # uint8: 0 coded, k + 1 special k, RAW other bits; empty where no value is special
    special: int  # how many are,
    raw: int  # and how many of those are RAW
    negative: np.ndarray  # of logarithms: which values are negative; empty otherwise
    span: tuple[float, float] | None = None  # of ``coded``, if it is known, and none of it NaN


class Guiding(NamedTuple):
    """Of a part of a field, in its coded dtype: guide.py."""

    subtracted: np.ndarray | None = None  # flat; the part is that, as often as there is place for it
    beside: np.ndarray | None = None  # (guides, values): what taps reach into
    classes: np.ndarray | None = None  # flat, uint8: the classes of special values to be expected


NO_GUIDE = Guiding()
Guide = Callable[[tuple[slice, ...]], np.ndarray]  # what is subtracted of a part of the field: guide.py
LeftOut = Callable[[tuple[slice, ...]], np.ndarray]  # which values of a part of the field are left out


class CodedSource:
    """What is coded of ``source``, a field with this ``header``, to be read in parts."""

    def __init__(
        self,
        source: Source,
        header: Header,
        left_out: LeftOut | None = None,
        guide: Guide | None = None,
    ) -> None:
        self._source, self._header, self._left_out, self._guide = source, header, left_out, guide
        self.shape, self.dtype = header.as_coded().shape, header.coded

    def __getitem__(self, key: Any) -> np.ndarray:
        in_parts = self._header.dtype.kind == "c"
        where = key[1:] if in_parts else key
        array = read(self._source, where)
        parts = parts_of(np.ma.getdata(array))
        left_out = None
        if self._header.fill is not None or self._left_out is not None:
            left_out = np.ma.getmaskarray(array)
            left_out = left_out if self._left_out is None else left_out | self._left_out(where)
            left_out = np.broadcast_to(left_out, parts.shape).reshape(-1)
        guide = None if self._guide is None else self._guide(where).reshape(-1)
        coded = carry(native(parts), self._header, left_out, guide).coded.reshape(parts.shape)
        return coded[key[:1]] if in_parts else coded


def as_coded(
    source: Source, header: Header, left_out: LeftOut | None = None, guide: Guide | None = None
) -> tuple[Source, Header]:
    """What is coded of ``source``, and a header for that as a field of its own.

    Values that are coded as they are need no copy: special ones are found later.
    """
    if (
        header.as_they_are
        and header.part == header.native
        and header.fill is None
        and left_out is None
        and guide is None
    ):
        return source, header
    return CodedSource(source, header, left_out, guide), header.as_coded()


def carry(
    values: np.ndarray,
    header: Header,
    left_out: np.ndarray | None = None,
    guide: np.ndarray | None = None,
) -> Carried:
    """What is coded of the flat array ``values``, of ``header.part``, but for those ``left_out`` (bool).

    ``guide``: what is subtracted, as in a `Guiding`, if the header says that there is something.
    """
    if header.pointwise:
        scale = scale_of(header.bound.value, header.part)
        coded, classes, negative, raw = logarithms(values, scale, header.specials)
        carried = Carried(coded, classes, int(np.count_nonzero(classes)), raw, negative)
    elif header.packing is not None:
        carried = Carried(*packed(values, header, header.packing), np.empty(0, bool))
    elif header.part == header.coded:
        carried = as_they_are(values, header)
    else:
        carried = _widened(values, header)
    if guide is not None:
        coded = np.empty_like(carried.coded)
        _subtract(carried.coded, guide, *_ends(header), coded)
        carried = carried._replace(coded=coded, span=None)
    return carried if left_out is None else _without(carried, values, left_out)


def restore(
    coded: np.ndarray, negative: np.ndarray | None, header: Header, guide: np.ndarray | None = None
) -> np.ndarray:
    """The flat array of ``header.part`` whose carriers are ``coded``: the reverse of `carry`, but rounded.
    It may be in the place of ``coded``."""
    if header.pointwise:
        values = np.empty(coded.size, header.part)
        powers(coded, negative, values)
        return values
    if header.packing is not None:
        return unpacked(coded, header, header.packing)
    if guide is not None:
        _add(coded, guide, *_ends(header))
        return coded
    if header.part == header.coded:
        return coded
    if header.part.kind == "f":
        return coded.astype(header.part)
    whole = np.clip(np.rint(coded), header.low, header.high)
    with np.errstate(invalid="ignore"):  # NaN, in a frame that was forged
        return whole.astype(header.part)


def _ends(header: Header) -> tuple[np.floating, np.floating]:
    """Those of the span of the field's values."""
    kind = header.coded.type
    return kind(header.low), kind(header.high)


@inlined
def _within(value, low, high):
    """NaN stays what it is."""
    value = low if value <= low else value
    return high if value >= high else value


@kernel
def _subtract(values, guide, low, high, differences):
    for start in range(0, values.size, guide.size):
        part, into = values[start : start + guide.size], differences[start : start + guide.size]
        for i in range(part.size):
            into[i] = part[i] - _within(guide[i], low, high)


@kernel
def _add(differences, guide, low, high):
    """In place."""
    for start in range(0, differences.size, guide.size):
        part = differences[start : start + guide.size]
        for i in range(part.size):
            part[i] = _within(part[i] + _within(guide[i], low, high), low, high)


def as_they_are(values: np.ndarray, header: Header) -> Carried:
    """``values`` (flat, native order) of a float dtype, coded in that: where none is special, themselves."""
    none = np.empty(0, np.uint8)
    span = None if header.specials else plain_span(values)
    if span is not None:
        return Carried(values, none, 0, 0, none, span)
    classes, coded = np.empty(values.size, np.uint8), np.empty_like(values)
    bits, specials = values.view(f"u{values.itemsize}"), np.array(header.specials, np.uint64)
    special, raw = classify(values, bits, specials, largest_coded(header.part), classes, coded)
    return Carried(coded, classes, special, raw, none)


def _widened(values: np.ndarray, header: Header) -> Carried:
    bits = values.view(f"u{values.itemsize}")
    coded = values.astype(header.coded)
    beyond = ~(np.abs(coded) <= largest_coded(header.part)) | negative_zeros(values)
    classes = np.where(beyond, RAW, 0).astype(np.uint8)
    for k, pattern in enumerate(header.specials):
        classes[bits == pattern] = k + 1
    special, raw = int(np.count_nonzero(classes)), int(np.count_nonzero(classes == RAW))
    coded[classes != 0] = np.nan
    return Carried(coded, classes, special, raw, np.empty(0, bool))


def _without(carried: Carried, values: np.ndarray, left_out: np.ndarray) -> Carried:
    coded = carried.coded.copy() if carried.coded is values else carried.coded
    coded[left_out] = np.nan
    classes, negative = carried.classes, carried.negative
    if classes.size:
        classes[left_out] = 0
    if negative.size:
        negative[left_out] = False
    special, raw = int(np.count_nonzero(classes)), int(np.count_nonzero(classes == RAW))
    return Carried(coded, classes, special, raw, negative)
