"""One tile: values <-> payload. Masks, codes and outliers together; the unit of threads and of random access.

docs/FORMAT.md, "Tile payload".
"""

from __future__ import annotations

import math

import numpy as np

from lossyzip.container.header import Header
from lossyzip.decompose.families import (
    Codes,
    Plan,
    decompose,
    decompose_and_see,
    lossless_stand_in,
    mix,
    quantizer,
    recompose,
)
from lossyzip.decompose.rows import Quantizer
from lossyzip.entropy import lossless
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, TruncatedError
from lossyzip.field import RAW, classify, largest_coded, native, plain_span
from lossyzip.logarithms import logarithms, powers, scale_of

_LOSSLESS, _MASKED, _OUTLIERS, _SIGNED = 1, 2, 4, 8  # flags


def encode_tile(tile: np.ndarray, header: Header, plan: Plan | None, mixed: bool = False) -> bytes:
    """The payload of ``tile``. A ``plan`` of None, or a tile that it does not suit, is stored lossless.

    ``mixed``: the codes are mixed where that is smaller.
    """
    values = native(tile)
    rule = quantizer(header.coded, header.eps, header.low, header.high) if plan else None
    if plan is None or rule is None or not values.size:
        return bytes([_LOSSLESS]) + lossless.pack(values.reshape(tile.shape))
    bits = values.view(f"u{values.itemsize}")
    negative = np.zeros(0, bool)
    if header.pointwise:
        scale = scale_of(header.bound.value, header.native)
        coded, classes, negative, raw = logarithms(values, scale, header.specials)
        special = int(np.count_nonzero(classes))
    else:
        coded, classes, special, raw = _without_specials(values, header)
    result = decompose(coded, tile.shape, plan, rule)
    if result.outliers is None:
        return bytes([_LOSSLESS]) + _stand_in(values, coded, tile.shape, header, plan, rule)
    mixed_codes = mix(result, tile.shape, plan, rule) if mixed else None
    codes, outliers = result.to_bytes(), result.outliers
    if mixed_codes is not None and len(mixed_codes.data) < len(codes):
        codes, outliers = mixed_codes.data, mixed_codes.outliers
    signed = bool(negative.any())
    out = bytearray([_MASKED * bool(special) | _OUTLIERS * bool(outliers.size) | _SIGNED * signed])
    if special:
        _put(out, lossless.pack(classes))
        put_varint(out, raw)
        if raw:
            _put(out, lossless.pack(bits[classes == RAW]))
    if signed:
        _put(out, lossless.pack(np.packbits(negative)))
    if outliers.size:
        put_varint(out, outliers.size)
        _put(out, lossless.pack(outliers))
    out += codes
    if len(out) > values.nbytes // 2:
        exact = _stand_in(values, coded, tile.shape, header, plan, rule)
        if len(exact) < len(out):
            return bytes([_LOSSLESS]) + exact
    return bytes(out)


def _stand_in(
    values: np.ndarray,
    coded: np.ndarray,
    shape: tuple[int, ...],
    header: Header,
    plan: Plan,
    rule: Quantizer,
) -> bytes:
    """What stands for the flat array ``values`` without loss, packed."""
    exact = values if header.pointwise else lossless_stand_in(values, coded, plan, rule)
    return lossless.pack(exact.reshape(shape))


def preview_tile(tile: np.ndarray, header: Header, plan: Plan) -> tuple[np.ndarray, Codes] | None:
    """(what would be decoded of ``tile``, its codes), without coding; None where it would be lossless."""
    values = native(tile)
    rule = quantizer(header.native, header.eps, header.low, header.high)
    if rule is None or not values.size:
        return None
    coded, _, special, _ = _without_specials(values, header)
    codes, seen = decompose_and_see(coded, tile.shape, plan, rule)
    if codes.outliers is None:
        return None
    return (np.where(np.isnan(coded), values, seen) if special else seen).reshape(tile.shape), codes


def _without_specials(values: np.ndarray, header: Header) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(values with NaN for specials, class of each, how many are special, how many of those have no number).

    ``values`` themselves and no classes where none is special.
    """
    if not header.specials and plain_span(values) is not None:
        return values, np.empty(0, np.uint8), 0, 0
    classes, coded = np.empty(values.size, np.uint8), np.empty_like(values)
    bits, specials = values.view(f"u{values.itemsize}"), np.array(header.specials, np.uint64)
    special, raw = classify(values, bits, specials, largest_coded(header.native), classes, coded)
    return coded, classes, special, raw


def decode_tile(
    payload: bytes,
    shape: tuple[int, ...],
    header: Header,
    plan: Plan | None,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """The tile of ``shape`` in native byte order; it may be in the flat array ``into``, if there is one.

    Raises DecodeError for any other payload than its own.
    """
    count = math.prod(shape)
    flags = payload[0] if payload else 0
    if flags == _LOSSLESS:
        return lossless.unpack(payload[1:], shape, header.native)
    if flags & ~(_MASKED | _OUTLIERS | _SIGNED * header.pointwise) or not payload:
        raise CorruptError(f"a tile has flags {flags}")
    rule = quantizer(header.coded, header.eps, header.low, header.high) if plan else None
    if plan is None or rule is None:
        raise CorruptError("a tile is coded with loss in a field that is lossless")
    position = 1
    classes = raw = None
    if flags & _MASKED:
        data, position = _get(payload, position)
        classes = lossless.unpack(data, (count,), np.dtype(np.uint8))
        raw_count, position = get_varint(payload, position)
        if raw_count != np.count_nonzero(classes == RAW):
            raise CorruptError(f"a tile's mask does not have {raw_count} special values")
        if raw_count:
            data, position = _get(payload, position)
            raw = lossless.unpack(data, (raw_count,), np.dtype(f"u{header.dtype.itemsize}"))
    negative = None
    if flags & _SIGNED:
        data, position = _get(payload, position)
        packed = lossless.unpack(data, (-(-count // 8),), np.dtype(np.uint8))
        negative = np.unpackbits(packed, count=count).astype(bool)
    outliers = np.empty(0, header.coded)
    if flags & _OUTLIERS:
        size, position = get_varint(payload, position)
        if size > count:
            raise CorruptError(f"a tile of {count} values has {size} outliers")
        data, position = _get(payload, position)
        outliers = lossless.unpack(data, (size,), header.coded)
    if header.pointwise:
        logs = recompose(payload[position:], outliers, shape, plan, rule)
        flat = np.empty(count, header.native) if into is None else into
        powers(logs.reshape(-1), negative, flat)
        values = flat.reshape(shape)
    else:
        values = recompose(payload[position:], outliers, shape, plan, rule, into)
    if classes is not None:
        _put_specials(values, classes, raw, header.specials)
    return values


def _put_specials(
    values: np.ndarray, classes: np.ndarray, raw: np.ndarray | None, specials: tuple[int, ...]
) -> None:
    bits = values.reshape(-1).view(f"u{values.itemsize}")
    if raw is not None:
        bits[classes == RAW] = raw
    highest = int(classes[classes != RAW].max(initial=0))
    if highest > len(specials):
        raise CorruptError(f"a tile's mask names special value {highest} of {len(specials)}")
    for k, pattern in enumerate(specials):
        bits[classes == k + 1] = pattern


def _put(out: bytearray, data: bytes) -> None:
    put_varint(out, len(data))
    out += data


def _get(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = get_varint(data, position)
    if position + size > len(data):
        raise TruncatedError(f"a part of a tile has {size} bytes, {len(data) - position} are left")
    return data[position : position + size], position + size
