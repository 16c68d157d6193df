"""A model: networks and enhancers, trained once, for many snapshots of the same fields; and its bytes.

Frames name it by its checksum, and what is in it by a number. docs/FORMAT.md, "Model".
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
from lossyzip.container.in_model import InModel
from lossyzip.enhancing import Ready
from lossyzip.entropy.bits import get_sized, get_varint, put_sized, put_varint
from lossyzip.errors import (
    CorruptError,
    MissingModelError,
    NotALossyZipError,
    TruncatedError,
    UnsupportedFormatError,
)

MAGIC = b"LsyM"
MODEL_VERSION = 1
_CRC, _EPS = struct.Struct("<I"), struct.Struct("<d")


class Target(NamedTuple):
    """A field, and what predicts it."""

    name: str
    references: tuple[str, ...]  # in the order in which the network takes them
    relative_eps: float  # eps / (max - min) for which it was trained; other bounds are fine, too
    network: bytes


class Enhanced(NamedTuple):
    """A field, and its enhancer, which sees no guides."""

    name: str
    relative_eps: float  # as for a target
    enhancer: bytes


@dataclass(frozen=True)
class Model:
    """Targets in the order of coding: each behind those of them that are its references."""

    targets: tuple[Target, ...]
    enhanced: tuple[Enhanced, ...] = ()

    @cached_property
    def checksum(self) -> int:
        """XXH3 (64 bits) of what it says of its targets and enhancers."""
        return int(xxhash.xxh3_64_intdigest(_pack(self.targets) + _pack_enhanced(self.enhanced)))

    @property
    def names(self) -> set[str]:
        """Of all targets and references, and of fields that there is an enhancer for."""
        names = {name for target in self.targets for name in (target.name, *target.references)}
        return names | {one.name for one in self.enhanced}

    def plan(self, names: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
        """(name, names of references) in the order of coding, of fields with these ``names``."""
        found = {t.name: t.references for t in self.targets if {t.name, *t.references} <= set(names)}
        return [(name, ()) for name in names if name not in found] + list(found.items())

    def ready(self, name: str, embed: bool) -> Ready | None:
        """The enhancer for the field of this ``name``, if there is one: to be in its frame, or named."""
        for number, one in enumerate(self.enhanced):
            if one.name == name:
                return Ready(one.enhancer, None if embed else InModel(self.checksum, number))
        return None

    def number_of(self, name: str) -> int:
        """Which of the targets has this name; one has."""
        return [target.name for target in self.targets].index(name)

    def to_bytes(self) -> bytes:
        out = bytearray(MAGIC)
        put_varint(out, MODEL_VERSION)
        parts = {"T": _pack(self.targets)}
        sections = pack_sections(parts | ({"E": _pack_enhanced(self.enhanced)} if self.enhanced else {}))
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
        found = unpack_sections(bytes(view[position:end]), known="TE")
        return cls(_unpack(found.get("T", b"")), _unpack_enhanced(found.get("E", b"")))


def named(model: Model | None, checksum: int) -> Model:
    """``model``, if it is the one. Raises MissingModelError."""
    if model is None or model.checksum != checksum:
        given = "none was given" if model is None else f"this is another one (XXH3 {model.checksum:016x})"
        raise MissingModelError(
            f"the field was compressed with a model (XXH3 {checksum:016x}); {given}. "
            "--model FILE (model=...) names it"
        )
    return model


def enhancer_in(model: Model | None, where: InModel) -> bytes:
    """The bytes of the enhancer that a frame names. Raises MissingModelError, or CorruptError."""
    found = named(model, where.checksum).enhanced
    if where.number >= len(found):
        raise CorruptError(f"the field needs enhancer {where.number} of a model of {len(found)}")
    return found[where.number].enhancer


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


def _pack_enhanced(enhanced: tuple[Enhanced, ...]) -> bytes:
    out = bytearray()
    for one in enhanced:
        put_sized(out, one.name.encode("utf-8"))
        out += _EPS.pack(one.relative_eps)
        put_sized(out, one.enhancer)
    return bytes(out)


def _unpack_enhanced(data: bytes) -> tuple[Enhanced, ...]:
    from lossyzip.learned.enhancer import Enhancer  # which imports numba

    found: list[Enhanced] = []
    position = 0
    while position < len(data):
        name, position = _text(data, position)
        if position + _EPS.size > len(data):
            raise TruncatedError(f"a model ends in its enhancer for {name!r}")
        (eps,) = _EPS.unpack_from(data, position)
        enhancer, position = get_sized(data, position + _EPS.size)
        if name in [one.name for one in found] or not (math.isfinite(eps) and eps >= 0.0):
            raise CorruptError(f"a model has two enhancers for {name!r}, or one for an eps of {eps}")
        if Enhancer.from_bytes(enhancer).guides:
            raise CorruptError(f"a model's enhancer for {name!r} sees guides")
        found.append(Enhanced(name, eps, enhancer))
    if _pack_enhanced(tuple(found)) != data:
        raise CorruptError("a model's numbers are longer than they need be")
    return tuple(found)


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
