"""Tile payload: section 5 of FORMAT.md."""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod

import numpy as np

from reference.codes import OUTLIER_MAGNITUDE, Codes, context_cell
from reference.guides import Told
from reference.header import Header
from reference.lattice import lattice
from reference.lossless import lossless_array
from reference.mixed import MixedCodes
from reference.multigrid import multigrid
from reference.passes import Known, fold, in_c_order, in_order_of_fold
from reference.quantizer import Quantizer
from reference.raster import raster
from reference.readers import Bits, Bytes, require
from reference.wavelet import wavelet

# The points of a tile in their order, and how many groups of context cells they have
FAMILIES = {1: (multigrid, 6), 2: (raster, 1), 3: (wavelet, 8)}
LATTICE = 4


def decode_tile(
    payload: bytes, header: Header, shape: tuple[int, ...], told: Told
) -> tuple[np.ndarray, np.ndarray]:
    """(values, mask)"""
    reader, flags = Bytes(payload[1:]), payload[0]
    mask = np.zeros(shape, bool)
    if flags & 16:
        require(header.fill is not None, "mask")
        mask = lossless_array(reader.sized().data, np.uint8, shape).astype(bool)
    inner = (2, *shape) if header.type.kind == "c" else shape
    if flags & ~16 == 32:
        require(header.levels != (), "levels")
        levels = np.broadcast_to(lossless_array(reader.sized().data, np.uint8, shape), inner)
        parts = np.zeros(inner, header.part)
        for level in np.unique(levels):
            eps, plan = header.levels[level]
            here = replace(header, eps=eps, family=plan[0], plan=plan[1:], levels=())
            some = decode_parts(reader.sized().data, here, inner, told)
            parts[levels == level] = some[levels == level]
        require(reader.rest() == b"", "bytes behind the levels")
    else:
        require(header.levels == (), "levels")
        parts = decode_parts(bytes([flags & ~16]) + reader.rest(), header, inner, told)
    values = parts.view(bool) if header.type.kind == "b" else parts
    if header.type.kind == "c":
        values = np.empty(shape, header.type.newbyteorder("<"))
        values.real, values.imag = parts
    if header.fill is not None:
        values = values.copy()
        values[mask] = np.frombuffer(header.fill, values.dtype)[0]
    return values, mask


def decode_parts(payload: bytes, header: Header, shape: tuple[int, ...], told: Told) -> np.ndarray:
    reader, size, bits_dtype = Bytes(payload), prod(shape), f"<u{header.part.itemsize}"
    (flags,) = reader.numbers("B")
    require(flags == 1 or not flags & ~78, "flags")
    require(not flags & 8 or header.pointwise, "negative values")
    if flags & 1:
        return lossless_array(reader.rest(), header.part, shape)
    classes, own = np.zeros(size, np.uint8), np.empty(0, bits_dtype)
    if flags & 2:
        classes = lossless_array(reader.sized().data, np.uint8, (size,))
        classes = classes if told.classes is None else classes + told.classes
        if count := reader.varint():
            own = lossless_array(reader.sized().data, bits_dtype, (count,))
    negative = np.zeros(size, bool)
    if flags & 8:
        packed = lossless_array(reader.sized().data, np.uint8, (-(-size // 8),))
        negative = np.array([packed[i // 8] >> (7 - i % 8) & 1 for i in range(size)], bool)
    outliers = np.empty(0, header.dtype)
    if flags & 4:
        count = reader.varint()
        outliers = lossless_array(reader.sized().data, header.dtype, (count,))

    values = np.empty(shape, header.dtype)
    left, raw = values, told.raw
    if flags & 64:
        left, raw = fill_margins(reader, values, raw, header)
    if left.size or not flags & 64:
        left[...] = decode_values(reader.rest(), outliers, header, left.shape, raw).reshape(left.shape)
    require(left.size > 0 or not outliers.size, "outliers of nothing")
    require(reader.rest() == b"", "codes of nothing")
    values = values.reshape(-1)
    if told.subtracted is not None:
        values = np.minimum(np.maximum(values + told.subtracted, header.span[0]), header.span[1])
    if header.packing is not None:
        values = header.packing.values(values, header.span)
    if header.pointwise:
        magnitudes = [power(x) for x in values]
        values = np.where(negative, np.negative(magnitudes), magnitudes)
    if header.part.kind != "f":
        values = np.minimum(np.maximum(np.rint(values), header.span[0]), header.span[1])
    values = values.astype(header.part)
    patterns = values.view(bits_dtype)
    for k, pattern in enumerate(header.specials, start=1):
        patterns[classes == k] = pattern
    patterns[classes == 255] = own
    return patterns.view(header.part).reshape(shape)


def fill_margins(
    reader: Bytes, left: np.ndarray, raw: np.ndarray | None, header: Header
) -> tuple[np.ndarray, np.ndarray | None]:
    """What margins leave of a tile and of its raw guides."""
    low, high = header.span if header.coded is None else header.coded
    guides = None if raw is None else raw.reshape(len(raw), *left.shape)
    for _ in range(reader.varint()):
        axis, at_end = divmod(reader.varint(), 2)
        count = reader.varint()
        value = np.frombuffer(reader.take(header.dtype.itemsize), header.dtype)[0]
        require(axis < left.ndim and 0 < count <= left.shape[axis], "slabs of a margin")
        require(low <= value <= high, "value of a margin")
        first, last = np.split(left, [left.shape[axis] - count if at_end else count], axis)
        (last if at_end else first)[...] = value
        left = first if at_end else last
        if guides is not None:
            parts = np.split(guides, [guides.shape[axis + 1] - count if at_end else count], axis + 1)
            guides = parts[0 if at_end else 1]
    return left, None if guides is None else guides.reshape(len(guides), -1)


def decode_values(
    stream: bytes,
    outliers: np.ndarray,
    header: Header,
    shape: tuple[int, ...],
    raw: np.ndarray | None,
) -> np.ndarray:
    span = header.span if header.coded is None else header.coded
    quantizer, left = Quantizer(header.dtype, header.coded_eps(), *span), iter(outliers)
    if header.family == LATTICE:
        codes = Codes(stream, 1)
        with np.errstate(all="ignore"):
            values = lattice(codes, left, header.plan, shape, quantizer)
        require(codes.used_up() and next(left, None) is None, "more codes or outliers than values")
        return values
    points_of, groups = FAMILIES[header.family]
    mixed, left = stream[:1] in (b"\0", b"\1"), iter(outliers)
    codes = MixedCodes(stream[1:], stream[0] == 1) if mixed else Codes(stream, groups)
    way = Bits(header.plan).take(2)
    guides = None if raw is None else in_order_of_fold(raw, shape, way)
    known = Known(fold(shape, way), header.dtype, quantizer, mixed, guides)
    batch, some = None, True
    with np.errstate(all="ignore"):
        for step in points_of(known, header.plan):
            if isinstance(codes, MixedCodes):
                code = codes.next(step, known)
            else:
                if step.batch != batch:
                    batch, some = step.batch, codes.begin_batch(step.group)
                code = codes.next(context_cell(step.group, step.total, step.weight)) if some else 0
            if code is None:
                known.add(step.point, next(left), OUTLIER_MAGNITUDE)
            else:
                known.add(step.point, known.quantizer.reconstruct(step.prediction, code), abs(code))
    require(codes.used_up() and next(left, None) is None, "more codes or outliers than values")
    return in_c_order(known.values, shape, way)


def power(x: np.floating) -> float:
    """2 ** x."""
    whole = np.rint(x)
    t = (x - whole) * np.float64(math.log(2))
    total = np.float64(0)
    for k in range(14, -1, -1):
        total = total * t + np.float64(1 / math.factorial(k))
    return math.ldexp(float(total), int(whole))
