"""A model: networks that were trained once, for many snapshots of the same fields; and its bytes.

Frames name it by its checksum, and the network by its number. docs/FORMAT.md, "Model".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import xxhash

from lossyzip.container.frame import bytes_view, pack_sections, unpack_sections
from lossyzip.entropy.bits import get_sized, get_varint, put_sized, put_varint
from lossyzip.errors import CorruptError, NotALossyZipError, TruncatedError, UnsupportedFormatError

MAGIC = b"LsyM"
MODEL_VERSION = 1
_CRC, _EPS = struct.Struct("<I"), struct.Struct("<d")


class Target(NamedTuple):
    """A field, and what predicts it."""

    name: str
    references: tuple[str, ...]  # in the order in which the network takes them
    relative_eps: float  # eps / (max - min) for which it was trained; other bounds are fine, too
    network: bytes


@dataclass(frozen=True)
class Model:
    """Targets in the order of coding: each behind those of them that are its references."""

    targets: tuple[Target, ...]

    @cached_property
    def checksum(self) -> int:
        """XXH3 (64 bits) of what it says of its targets."""
        return int(xxhash.xxh3_64_intdigest(_pack(self.targets)))

    @property
    def names(self) -> set[str]:
        """Of all targets and references."""
        return {name for target in self.targets for name in (target.name, *target.references)}

    def plan(self, names: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
        """(name, names of references) in the order of coding, of fields with these ``names``."""
        found = {t.name: t.references for t in self.targets if {t.name, *t.references} <= set(names)}
        return [(name, ()) for name in names if name not in found] + list(found.items())

    def number_of(self, name: str) -> int:
        """Which of the targets has this name; one has."""
        return [target.name for target in self.targets].index(name)

    def to_bytes(self) -> bytes:
        out = bytearray(MAGIC)
        put_varint(out, MODEL_VERSION)
        sections = pack_sections({"T": _pack(self.targets)})
        put_varint(out, len(sections))
        out += sections
        return bytes(out) + _CRC.pack(zlib.crc32(out))

    @classmethod
    def from_bytes(cls, data: bytes) -> Model:
        """Raises a DecodeError subclass for anything but a model."""
        view: Any = bytes_view(data)
        if view[: len(MAGIC)] != MAGIC[: len(view)]:
            raise NotALossyZipError(f"no model: it starts with {bytes(view[:4])!r}, not with {MAGIC!r}")
        if len(view) <= len(MAGIC):
            raise TruncatedError(f"a model ends after {len(view)} bytes")
        version, position = get_varint(view, len(MAGIC))
        if version > MODEL_VERSION:
            raise UnsupportedFormatError(
                f"model version {version}, this lossyzip reads <= {MODEL_VERSION}; upgrade lossyzip"
            )
        size, position = get_varint(view, position)
        end = position + size
        if end + _CRC.size > len(view):
            raise TruncatedError(f"a model ends after {len(view)} bytes, not after {end + _CRC.size}")
        if end + _CRC.size < len(view):
            raise CorruptError(f"{len(view) - end - _CRC.size} bytes follow a model")
        if zlib.crc32(view[:end]) != _CRC.unpack(view[end:])[0]:
            raise CorruptError("a model's checksum is wrong")
        return cls(_unpack(unpack_sections(bytes(view[position:end]), known="T").get("T", b"")))


def _pack(targets: tuple[Target, ...]) -> bytes:
    out = bytearray()
    for target in targets:
        put_sized(out, target.name.encode("utf-8"))
        out += _EPS.pack(target.relative_eps)
        out.append(len(target.references))
        for name in target.references:
            put_sized(out, name.encode("utf-8"))
        put_sized(out, target.network)
    return bytes(out)


def _unpack(data: bytes) -> tuple[Target, ...]:
    targets: list[Target] = []
    position = 0
    while position < len(data):
        name, position = _text(data, position)
        if position + _EPS.size >= len(data):
            raise TruncatedError(f"a model ends in its target {name!r}")
        (eps,) = _EPS.unpack_from(data, position)
        count, position = data[position + _EPS.size], position + _EPS.size + 1
        references = []
        for _ in range(count):
            reference, position = _text(data, position)
            references.append(reference)
        network, position = get_sized(data, position)
        targets.append(Target(name, tuple(references), eps, network))
    _check(targets)
    if _pack(tuple(targets)) != data:
        raise CorruptError("a model's numbers are longer than they need be")  # its checksum would be another
    return tuple(targets)


def _check(targets: list[Target]) -> None:
    """Raise a DecodeError unless targets can be coded in their order, and their networks are some."""
    from lossyzip.learned.network import Network  # which imports numba

    later = [target.name for target in targets]
    for target in targets:
        if {target.name, *target.references} & set(later[1:]) or target.name in target.references:
            raise CorruptError(f"a model's target {target.name!r} is there twice, or needs a later one")
        later = later[1:]
        if not target.references or len(set(target.references)) < len(target.references):
            raise CorruptError(f"a model's target {target.name!r} has the references {target.references}")
        if not (math.isfinite(target.relative_eps) and target.relative_eps >= 0.0):
            raise CorruptError(f"a model for an eps of {target.relative_eps}")
        inputs = Network.from_bytes(target.network).inputs
        if any(item.reference >= len(target.references) for item in inputs):
            raise CorruptError(f"a network for {target.name!r} needs more than {target.references}")


def _text(data: bytes, position: int) -> tuple[str, int]:
    encoded, position = get_sized(data, position)
    try:
        return encoded.decode("utf-8"), position
    except UnicodeDecodeError as error:
        raise CorruptError(f"a name in a model: {error}") from None
