"""Where a network or an enhancer is that is not in the frame, but in a model: learned/model.py."""

from __future__ import annotations

import struct
from typing import NamedTuple

from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError


class InModel(NamedTuple):
    """A place in a model."""

    checksum: int  # the model's
    number: int  # of the target that it is for, or of the enhancer


def pack_in_model(where: InModel) -> bytes:
    out = bytearray(struct.pack("<Q", where.checksum))
    put_varint(out, where.number)
    return bytes(out)


def read_in_model(data: bytes) -> InModel:
    """Reverse of `pack_in_model`. Raises DecodeError."""
    number, end = get_varint(data, 8)
    if end != len(data):
        raise CorruptError(f"a place in a model takes {len(data)} bytes")
    return InModel(struct.unpack("<Q", data[:8])[0], number)
