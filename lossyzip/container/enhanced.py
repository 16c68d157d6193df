"""What a tile's record holds in a field with an enhancer: <-> marks, and the plain tile's payload. And what
the index says of the enhancer's objective.

docs/FORMAT.md, "Enhancers".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, TruncatedError

OBJECTIVES = ("psnr", "spectrum", "gradient")  # in the order of their numbers
_CONTENT = struct.Struct("<I")
_OBJECTIVE = struct.Struct("<Bdd")


class Objective(NamedTuple):
    """What an enhancer is for, but PSNR, and how far values are off in that, without and with it: see
    objectives.py."""

    name: str
    plain: float
    enhanced: float


class Part(NamedTuple):
    """What belongs to the enhancement: nothing, where ``content`` is None."""

    content: int | None  # checksum of the values before they were enhanced
    marks: bytes


def split(payload: bytes) -> tuple[Part, bytes]:
    """(what belongs to the enhancement, the payload of the plain tile). Raises DecodeError."""
    size, start = get_varint(payload, 0)
    end = start + size
    if end > len(payload):
        raise TruncatedError(f"marks of a tile take {size} bytes, {len(payload) - start} are left")
    if not size:
        return Part(None, b""), payload[end:]
    if size < _CONTENT.size:
        raise CorruptError(f"marks of a tile take {size} bytes")
    (content,) = _CONTENT.unpack(payload[start : start + _CONTENT.size])
    return Part(content, payload[start + _CONTENT.size : end]), payload[end:]


def join(part: Part, payload: bytes) -> bytes:
    """Reverse of `split`."""
    own = b"" if part.content is None else _CONTENT.pack(part.content) + part.marks
    out = bytearray()
    put_varint(out, len(own))
    return bytes(out) + own + payload


def objective_section(objective: Objective) -> bytes:
    """Of the index."""
    return _OBJECTIVE.pack(OBJECTIVES.index(objective.name), *objective[1:])


def objective_told(data: bytes | None) -> Objective | None:
    """Reverse of `objective_section`; None where there is no section. Raises CorruptError."""
    if data is None:
        return None
    if len(data) != _OBJECTIVE.size or data[0] >= len(OBJECTIVES):
        raise CorruptError(f"an enhancer's objective is stored as {data[:20]!r}")
    number, plain, enhanced = _OBJECTIVE.unpack(data)
    return Objective(OBJECTIVES[number], plain, enhanced)
