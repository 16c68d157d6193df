"""What a header says of the references that tell something of a field, and of guides made of them.

Read and write side by side. What becomes of references is in guide.py and raw_guides.py.
docs/FORMAT.md, "Guides".
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np

from lossyzip.bound import Bound
from lossyzip.container.dtypes import coded_as, pack_range, part_of, read_range
from lossyzip.container.in_model import InModel, read_in_model
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, TruncatedError

MOST_RAW_GUIDES = 16
_MOST_EXPONENT = 2200  # of 2, by which a guide is scaled
FROM_NETWORK = 127
_NETWORK, _SUBTRACTED, _MASK, _BASE = 1, 2, 4, 8  # flags of a guide
_CURVED = 128  # flag of a raw one


class RawGuide(NamedTuple):
    """A guide for taps to reach into: what becomes of a reference's values is in raw_guides.py."""

    reference: int  # its number, or FROM_NETWORK: what the network makes of all
    curved: bool
    centre: float
    inverse: int  # exponents of 2
    limit: int
    gain: int = 0


class Guided(NamedTuple):
    """What references tell of a field: guide.py."""

    low: float  # span of the differences, if there are any
    high: float
    references: tuple[int, ...]  # checksums of the arrays that guides are made from
    network: bytes | InModel  # b"": there is none
    subtracted: bool = True  # whether what the network makes is subtracted from the field before it is coded
    taps: tuple[RawGuide, ...] = ()
    mask: int | None = None  # the reference whose special values tell where the field's are
    latents: bytes = b""  # section Z: learned/latents.py
    base: bytes = b""  # section Y, a frame: what is subtracted, in the place of all else: base.py


def pack_guided(guided: Guided, coded: np.dtype) -> bytes:
    """Section G of a field that is coded as the dtype ``coded``."""
    network = guided.network if isinstance(guided.network, bytes) else b""
    flags = _NETWORK * bool(network) | _SUBTRACTED * guided.subtracted
    out = bytearray([flags | _MASK * (guided.mask is not None) | _BASE * bool(guided.base)])
    if guided.subtracted:
        out += pack_range(guided.low, guided.high, coded)
    out += struct.pack(f"<B{len(guided.references)}Q", len(guided.references), *guided.references)
    out += bytes([] if guided.mask is None else [guided.mask])
    out.append(len(guided.taps))
    for tap in guided.taps:
        out += bytes([tap.reference | _CURVED * tap.curved]) + upper_half(tap.centre)
        for exponent in (tap.inverse, tap.limit, *([tap.gain] if tap.curved else [])):
            put_varint(out, 2 * exponent if exponent >= 0 else -2 * exponent - 1)
    return bytes(out) + network


def read_guided(sections: dict[str, bytes], dtype: np.dtype, bound: Bound) -> Guided:
    """What sections G, N, Z and Y of the header say. Raises DecodeError."""
    data = sections["G"]
    part = part_of(dtype)
    if dtype.kind != "f" or coded_as(part) != part or bound.kind == "pointwise_relative":
        raise CorruptError(f"a guide for {dtype} with the bound {bound}")
    flags, at = (data[0] if data else 0), 1
    if flags & _BASE or "Y" in sections:
        return _read_base(sections, part)
    known = bool(flags & _NETWORK) or "N" in sections
    if not data or flags & ~(_NETWORK | _SUBTRACTED | _MASK) or (flags & _SUBTRACTED and not known):
        raise CorruptError(f"a guide with flags {flags}")
    low = high = 0.0
    if flags & _SUBTRACTED:
        low, high = read_range(data[at : at + 2 * part.itemsize], part)
        at += 2 * part.itemsize
    count = data[at] if len(data) > at else 0
    start = at + 1 + 8 * count
    latents = sections.get("Z", b"")
    if not (count or latents) or len(data) < start:
        raise CorruptError(f"a guide of {count} references in {len(data)} bytes")
    references = struct.unpack(f"<{count}Q", data[at + 1 : start])
    mask = None
    if flags & _MASK:
        mask, start = data[start] if len(data) > start else count, start + 1
        if mask >= count:
            raise CorruptError(f"reference {mask} of {count} tells where special values are")
    taps, end = _read_raw_guides(data, start, count, known)
    network: bytes | InModel = data[end:]
    if bool(network) != bool(flags & _NETWORK):
        raise CorruptError(f"a guide with flags {flags} has a network of {len(data) - end} bytes")
    if "N" in sections:
        if network:
            raise CorruptError("a guide with two networks, one in the frame and one in a model")
        network = read_in_model(sections["N"])
    if "Z" in sections and not (latents and network):
        raise CorruptError(f"latents of {len(latents)} bytes, for no network or in none")
    return Guided(low, high, references, network, bool(flags & _SUBTRACTED), taps, mask, latents)


def _read_base(sections: dict[str, bytes], part: np.dtype) -> Guided:
    """A base is subtracted, and there is nothing else."""
    data, ends = sections["G"], 1 + 2 * part.itemsize
    if data[:1] != bytes([_SUBTRACTED | _BASE]) or data[ends:] != bytes(2) or sections.keys() & set("NZEK"):
        raise CorruptError(f"a base, and a guide with flags {data[:1]!r} of {len(data)} bytes")
    if not sections.get("Y"):
        raise CorruptError("a guide without its base")
    return Guided(*read_range(data[1:ends], part), (), b"", base=sections["Y"])


def _read_raw_guides(
    data: bytes, at: int, references: int, network: bool
) -> tuple[tuple[RawGuide, ...], int]:
    """(guides that taps may reach into, where they end)"""
    count = data[at] if len(data) > at else MOST_RAW_GUIDES + 1
    if count > MOST_RAW_GUIDES:
        raise CorruptError(f"{count} guides for taps in {len(data)} bytes")
    at += 1
    taps = []
    for _ in range(count):
        if len(data) < at + 5:
            raise TruncatedError(f"guides for taps end after {len(data)} bytes")
        reference, curved = data[at] & ~_CURVED, bool(data[at] & _CURVED)
        centre = struct.unpack("<d", bytes(4) + data[at + 1 : at + 5])[0]
        exponents, at = [], at + 5
        for _ in range(3 if curved else 2):
            folded, at = get_varint(data, at)
            exponents.append(folded >> 1 if folded % 2 == 0 else -(folded >> 1) - 1)
        known = network if reference == FROM_NETWORK else reference < references
        if not known or not math.isfinite(centre) or max(map(abs, exponents)) > _MOST_EXPONENT:
            raise CorruptError(f"a guide for taps of reference {reference}, {centre}, {exponents}")
        taps.append(RawGuide(reference, curved, centre, *exponents))
    return tuple(taps), at


def upper_half(value: float) -> bytes:
    """The upper half of a float64, the lower being 0: its mantissa has 20 bits then."""
    return struct.pack("<d", value)[4:]
