"""One tile: values <-> payload. Masks, levels of tolerance, margins, codes and outliers together.

The unit of threads and of random access.

docs/FORMAT.md, "Tile payload".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lossyzip.carrier import NO_GUIDE, Carried, Guiding, carry, restore
from lossyzip.container.header import Header
from lossyzip.decompose.families import (
    Codes,
    MixedCodes,
    Plan,
    decompose,
    decompose_and_see,
    estimated_size,
    lossless_stand_in,
    mix,
    plan_of,
    quantizer,
    recompose,
)
from lossyzip.decompose.rows import Quantizer
from lossyzip.effort import NO_MIXING, Mixing
from lossyzip.entropy import lossless
from lossyzip.entropy.bits import get_sized, get_varint, put_sized, put_varint
from lossyzip.errors import CorruptError
from lossyzip.field import RAW, native, parts_of
from lossyzip.margins import (
    Margin,
    fill_margins,
    find_margins,
    guides_without,
    read_margins,
    write_margins,
)

_LOSSLESS, _SPECIAL, _OUTLIERS, _SIGNED, _MASKED, _LEVELS, _MARGINS = 1, 2, 4, 8, 16, 32, 64  # flags


class Decoded(NamedTuple):
    """A tile in native byte order, a masked array if its field is one.

    ``levels``: which of the header's levels each value has (uint8); None where there are none.
    """

    values: np.ndarray
    levels: np.ndarray | None


def encode_tile(
    tile: np.ndarray,
    header: Header,
    plan: Plan | None,
    mixing: Mixing = NO_MIXING,
    levels: np.ndarray | None = None,
    guide: Guiding = NO_GUIDE,
) -> bytes:
    """The payload of ``tile``. A ``plan`` of None, or a tile that it does not suit, is stored lossless.

    ``levels``: as in `Decoded`. ``guide``: what references tell of the tile, where the header says so.
    """
    parts = parts_of(np.ma.getdata(tile))
    values, shape = native(parts), parts.shape
    masked = np.ma.getmaskarray(tile) if header.fill is not None else np.zeros(0, bool)
    head, left_out = bytearray(), None
    if masked.any():
        put_sized(head, lossless.pack(masked.view(np.uint8)))
        left_out = np.broadcast_to(masked, shape).reshape(-1)
    if levels is None:
        payload = _encode(values, shape, header, plan, mixing, left_out, guide)
    else:
        payload = bytes([_LEVELS]) + _encode_levels(values, shape, header, mixing, left_out, levels, guide)
    return b"".join((bytes([payload[0] | _MASKED]), head, payload[1:])) if head else payload


def _encode_levels(
    values: np.ndarray,
    shape: tuple[int, ...],
    header: Header,
    mixing: Mixing,
    left_out: np.ndarray | None,
    levels: np.ndarray,
    guide: Guiding,
) -> bytes:
    """Which level each value has; for each level that occurs, a payload for which the others are left out."""
    out = bytearray()
    put_sized(out, lossless.pack(levels))
    of_parts = np.broadcast_to(levels, shape).reshape(-1)
    for level in np.unique(levels).tolist():
        others = of_parts != level
        if left_out is not None:
            others |= left_out
        here = header.at_level(level)
        plan = plan_of(here.family, here.plan, here.raw_guides)
        put_sized(out, _encode(values, shape, here, plan, mixing, others, guide))
    return bytes(out)


def _encode(
    values: np.ndarray,
    shape: tuple[int, ...],
    header: Header,
    plan: Plan | None,
    mixing: Mixing,
    left_out: np.ndarray | None,
    guide: Guiding,
) -> bytes:
    """The payload of flat ``values``, where it does not matter what comes back of those ``left_out``."""
    rule = _rule(header) if plan else None
    if plan is None or rule is None or not values.size:
        return bytes([_LOSSLESS]) + lossless.pack(_filled(values, left_out).reshape(shape))
    bits = values.view(f"u{values.itemsize}")
    carried = carry(values, header, left_out, guide.subtracted)
    coded, classes = carried.coded, carried.classes
    one_value = header.bound.kind == "psnr"
    margins, inner = find_margins(coded.reshape(shape), plan, rule, one_value, carried.span)
    codes, outliers = b"", coded[:0]
    if inner.size:
        flat, beside = inner.reshape(-1), guides_without(margins, guide.beside, shape)
        result = decompose(flat, inner.shape, plan, rule, guides=beside, kept=True)
        if result.outliers is None:
            return bytes([_LOSSLESS]) + _stand_in(values, carried, shape, header, plan, rule, left_out)
        codes, outliers = _smallest(result, inner.shape, plan, rule, mixing, beside)
    signed = bool(carried.negative.any())
    special = bool(carried.special)
    flags = _SPECIAL * special | _OUTLIERS * bool(outliers.size) | _SIGNED * signed
    out = bytearray([flags | _MARGINS * bool(margins)])
    if special:
        put_sized(out, lossless.pack(classes if guide.classes is None else classes - guide.classes))
        put_varint(out, carried.raw)
        if carried.raw:
            put_sized(out, lossless.pack(bits[classes == RAW]))
    if signed:
        put_sized(out, lossless.pack(np.packbits(carried.negative)))
    if outliers.size:
        put_varint(out, outliers.size)
        put_sized(out, lossless.pack(outliers))
    if margins:
        write_margins(out, margins)
    size = len(out) + len(codes)
    if size > values.nbytes // 2 or _may_be_exact(header):
        exact = _stand_in(values, carried, shape, header, plan, rule, left_out)
        if len(exact) < size:
            return bytes([_LOSSLESS]) + exact
    return b"".join((out, codes))


def _smallest(
    codes: Codes,
    shape: tuple[int, ...],
    plan: Plan,
    rule: Quantizer,
    mixing: Mixing,
    beside: np.ndarray | None,
) -> tuple[bytes, np.ndarray]:
    """``codes`` as bytes, mixed or not, and the outliers beside them. Their tokens may be overwritten."""
    mixed = _mixed(codes, shape, plan, rule, mixing, beside)
    outliers = codes.outliers if codes.outliers is not None else np.empty(0, rule.eps.dtype)
    ways = [(codes.to_bytes(), outliers), *((its.data, its.outliers) for its in mixed)]
    return min(ways, key=lambda way: len(way[0]))


def _mixed(
    codes: Codes,
    shape: tuple[int, ...],
    plan: Plan,
    rule: Quantizer,
    mixing: Mixing,
    beside: np.ndarray | None = None,
) -> list[MixedCodes]:
    """``codes``, mixed in the ways in which they are to be."""
    size, others = math.prod(shape), codes.not_zero()
    few = mixing.below > 0.0 and 8.0 * estimated_size([codes]) < mixing.below * size
    with_flags = [flags for flags, wanted in ((False, few), (True, others < mixing.rare * size)) if wanted]
    found = [mix(codes, shape, plan, rule, beside, flags) for flags in with_flags]
    return [mixed for mixed in found if mixed is not None]


def _rule(header: Header) -> Quantizer | None:
    return quantizer(header.coded, header.coded_eps, *header.coded_span)


def _may_be_exact(header: Header) -> bool:
    """Whether values may take no more as they are."""
    return header.eps < header.coded_eps if header.packing is None else header.eps == 0.0


def _stand_in(
    values: np.ndarray,
    carried: Carried,
    shape: tuple[int, ...],
    header: Header,
    plan: Plan,
    rule: Quantizer,
    left_out: np.ndarray | None,
) -> bytes:
    """What stands for the flat array ``values`` without loss, packed."""
    exact = lossless_stand_in(values, carried.coded, plan, rule) if header.as_they_are else values
    return lossless.pack(_filled(exact, left_out).reshape(shape))


def _filled(values: np.ndarray, left_out: np.ndarray | None) -> np.ndarray:
    """``values`` with those that are left out replaced by the last before them that is not, or 0."""
    if left_out is None:
        return values
    last = np.maximum.accumulate(np.where(left_out, -1, np.arange(values.size)))
    return np.where(last < 0, values.dtype.type(0), values[np.maximum(last, 0)])


def preview_tile(tile: np.ndarray, header: Header, plan: Plan) -> tuple[np.ndarray, Codes] | None:
    """(what would be decoded of ``tile``, its codes), without coding; None where it would be lossless.

    For values that are coded as they are: those of float32 and float64.
    """
    values = native(tile)
    rule = _rule(header)
    if rule is None or not values.size:
        return None
    carried = carry(values, header)
    codes, seen = decompose_and_see(carried.coded, tile.shape, plan, rule)
    if codes.outliers is None:
        return None
    seen = np.where(np.isnan(carried.coded), values, seen) if carried.special else seen
    return seen.reshape(tile.shape), codes


def mixed_share(tile: np.ndarray, header: Header, plan: Plan, mixing: Mixing) -> float:
    """Mixed over static size of the codes of ``tile``, at most 1; as for `preview_tile`."""
    rule, seen = _rule(header), preview_tile(tile, header, plan)
    if rule is None or seen is None:
        return 1.0
    sizes = [len(mixed.data) for mixed in _mixed(seen[1], tile.shape, plan, rule, mixing)]
    return min(min(sizes, default=math.inf) / max(estimated_size([seen[1]]), 1.0), 1.0)


def decode_tile(
    payload: bytes,
    shape: tuple[int, ...],
    header: Header,
    plan: Plan | None,
    into: np.ndarray | None = None,
    guide: Guiding = NO_GUIDE,
) -> Decoded:
    """The tile of ``shape``; its values may be in the flat array ``into``, if there is one.

    ``guide``: what references tell of it, where the header says so.

    Raises DecodeError for any other payload than its own.
    """
    flags, position = (payload[0] if payload else 0), 1
    inner = (2, *shape) if header.dtype.kind == "c" else shape
    masked = None
    if flags & _MASKED:
        if header.fill is None:
            raise CorruptError("a tile has a mask, in a field without masks")
        data, position = get_sized(payload, position)
        masked = lossless.unpack(data, shape, np.dtype(np.uint8))
        if masked.max(initial=0) > 1:
            raise CorruptError("a tile's mask is not of 0 and 1")
    flags &= ~_MASKED
    levels = None
    if header.levels:
        if flags != _LEVELS:
            raise CorruptError(f"a tile has flags {flags}, in a field with levels of tolerance")
        levels, values = _decode_levels(payload, position, shape, inner, header, guide)
    else:
        values = _decode(payload, position, flags, inner, header, plan, into, guide)
    return Decoded(_assembled(values, masked, shape, header), levels)


def _decode_levels(
    payload: bytes,
    position: int,
    shape: tuple[int, ...],
    inner: tuple[int, ...],
    header: Header,
    guide: Guiding,
) -> tuple[np.ndarray, np.ndarray]:
    data, position = get_sized(payload, position)
    levels = lossless.unpack(data, shape, np.dtype(np.uint8))
    if levels.max(initial=0) >= len(header.levels):
        raise CorruptError(f"a tile names level {levels.max()} of {len(header.levels)}")
    values = np.zeros(inner, header.part)
    of_parts = np.broadcast_to(levels, inner)
    for level in np.unique(levels).tolist():
        data, position = get_sized(payload, position)
        here = header.at_level(level)
        flags = data[0] if data else 0
        found = _decode(
            data, 1, flags, inner, here, plan_of(here.family, here.plan, here.raw_guides), None, guide
        )
        np.copyto(values, found, where=of_parts == level)
    if position != len(payload):
        raise CorruptError(f"{len(payload) - position} bytes behind the levels of a tile")
    return levels, values


def _decode(
    payload: bytes,
    position: int,
    flags: int,
    shape: tuple[int, ...],
    header: Header,
    plan: Plan | None,
    into: np.ndarray | None,
    guide: Guiding,
) -> np.ndarray:
    """The values of ``header.part`` that `_encode` was given, those left out apart."""
    count = math.prod(shape)
    if flags == _LOSSLESS:
        return lossless.unpack(payload[position:], shape, header.part)
    if flags & ~(_SPECIAL | _OUTLIERS | _SIGNED * header.pointwise | _MARGINS) or not payload:
        raise CorruptError(f"a tile has flags {flags}")
    rule = _rule(header) if plan else None
    if plan is None or rule is None:
        raise CorruptError("a tile is coded with loss in a field that is lossless")
    classes = raw = None
    if flags & _SPECIAL:
        data, position = get_sized(payload, position)
        classes = lossless.unpack(data, (count,), np.dtype(np.uint8))
        classes = classes if guide.classes is None else classes + guide.classes
        raw_count, position = get_varint(payload, position)
        if raw_count != np.count_nonzero(classes == RAW):
            raise CorruptError(f"a tile does not have {raw_count} values of class {RAW}")
        if raw_count:
            data, position = get_sized(payload, position)
            raw = lossless.unpack(data, (raw_count,), np.dtype(f"u{header.part.itemsize}"))
    negative = None
    if flags & _SIGNED:
        data, position = get_sized(payload, position)
        packed = lossless.unpack(data, (-(-count // 8),), np.dtype(np.uint8))
        negative = np.unpackbits(packed, count=count).astype(bool)
    outliers = np.empty(0, header.coded)
    if flags & _OUTLIERS:
        size, position = get_varint(payload, position)
        if size > count:
            raise CorruptError(f"a tile of {count} values has {size} outliers")
        data, position = get_sized(payload, position)
        outliers = lossless.unpack(data, (size,), header.coded)
    if into is None:  # NaN: what decoding does not write is not within any bound
        into = np.full(count, np.nan, header.coded)
    margins: list[Margin] = []
    if flags & _MARGINS:
        margins, position = read_margins(payload, position, shape, rule)
    coded = _recomposed(
        memoryview(payload)[position:], outliers, margins, shape, plan, rule, into, guide.beside
    )
    values = restore(coded, negative, header, guide.subtracted)
    if classes is not None:
        _put_specials(values, classes, raw, header.specials)
    return values.reshape(shape)


def _recomposed(
    data: memoryview,
    outliers: np.ndarray,
    margins: list[Margin],
    shape: tuple[int, ...],
    plan: Plan,
    rule: Quantizer,
    into: np.ndarray,
    beside: np.ndarray | None,
) -> np.ndarray:
    """What was coded of a tile of ``shape``, flat; it may be in ``into``."""
    if not margins:
        return recompose(data, outliers, shape, plan, rule, into, beside).reshape(-1)
    inner = fill_margins(margins, into.reshape(shape))
    if not inner.size:
        if outliers.size or data:
            raise CorruptError("a tile of nothing but margins has codes")
        return into
    room = inner.reshape(-1) if inner.flags.c_contiguous else np.full(inner.size, np.nan, inner.dtype)
    beside = guides_without(margins, beside, shape)
    found = recompose(data, outliers, inner.shape, plan, rule, room, beside)
    if not np.may_share_memory(found, inner):
        inner[...] = found
    return into


def _assembled(
    values: np.ndarray, masked: np.ndarray | None, shape: tuple[int, ...], header: Header
) -> np.ndarray:
    """``values``, which are parts, as the field has them."""
    if header.dtype.kind == "c":
        array = np.empty(shape, header.native)
        array.real, array.imag = values
    else:
        array = values.view(header.native)
    fill = header.fill_value
    if fill is None:
        return array
    mask = np.zeros(shape, bool) if masked is None else masked.view(bool)
    array = np.where(mask, fill, array).astype(header.native, copy=False)
    return np.ma.MaskedArray(array, mask, fill_value=fill)


def _put_specials(
    values: np.ndarray, classes: np.ndarray, raw: np.ndarray | None, specials: tuple[int, ...]
) -> None:
    bits = values.reshape(-1).view(f"u{values.itemsize}")
    if raw is not None:
        bits[classes == RAW] = raw
    highest = int(classes[classes != RAW].max(initial=0))
    if highest > len(specials):
        raise CorruptError(f"a tile names special value {highest} of {len(specials)}")
    for k, pattern in enumerate(specials):
        bits[classes == k + 1] = pattern
