"""What a tile's record holds in a field with an enhancer: <-> marks, and the plain tile's payload. And what
the header says of the enhancer, and the index of its objective.

docs/FORMAT.md, "Enhancers".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from lossyzip.bound import Bound
from lossyzip.container.dtypes import coded_as, part_of
from lossyzip.container.in_model import InModel, read_in_model
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


def can_be_enhanced(dtype: np.dtype, bound: Bound) -> bool:
    """Whether fields of ``dtype`` may have an enhancer: floats that are coded as they are, within one eps."""
    as_they_are = dtype.kind == "f" and coded_as(part_of(dtype)) == part_of(dtype)
    return as_they_are and bound.kind in ("absolute", "relative", "psnr") and bound.regions is None


def read_enhancer(sections: dict[str, bytes], dtype: np.dtype, bound: Bound) -> bytes | InModel:
    """What sections E and K of the header say. Raises DecodeError."""
    if not can_be_enhanced(dtype, bound) or "L" in sections:
        raise CorruptError(f"an enhancer for {dtype} with the bound {bound}")
    if "E" not in sections:
        return read_in_model(sections["K"])
    if "K" in sections:
        raise CorruptError("two enhancers, one in the frame and one in a model")
    return sections["E"]


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
