"""Frame and archive: sections 1 and 8 of FORMAT.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xxhash

from reference.enhancers import enhanced
from reference.guides import NOTHING, Guides
from reference.header import Header
from reference.models import read_enhancers, read_model, read_networks
from reference.readers import Bytes, opening, require, sections
from reference.tile import decode_tile


def in_model(place: bytes, model: bytes, read: Callable[[bytes], Sequence[Any]]) -> Any:
    """That of what ``read`` finds in ``model`` which a header's section names."""
    reader = Bytes(place)
    (number,), which = reader.numbers("Q"), reader.varint()
    require(number == read_model(model)[0] and not reader.rest(), "a place in a model")
    return read(model)[which]


def decode_frame(
    data: bytes, references: Sequence[np.ndarray] = (), plain: bool = False, model: bytes = b""
) -> np.ndarray:
    """``plain``: without its enhancer."""
    reader = Bytes(data)
    found = opening(reader, b"LsyZ", 3, "AOBRSMLGNZYEKQP")
    header = Header.read(found)
    if "K" in found:
        require("E" not in found, "two enhancers")
        header = replace(header, enhancer=in_model(found["K"], model, read_enhancers)[1])
    guides = None
    if "G" in found:
        network = in_model(found["N"], model, read_networks) if "N" in found else None
        latents = None
        if "Z" in found:
            latents = decode_frame(found["Z"][3:]), found["Z"][:3]
        require(not ("Y" in found and found.keys() & {"E", "K"}), "a base and an enhancer")
        base = decode_frame(found["Y"] + b"ZysL") if "Y" in found else None
        guides = Guides(found["G"], header, references, network, latents, base)
        header = replace(header, coded=guides.span)
    index_size, index_crc, magic = struct.unpack("<II4s", data[-12:])
    index = data[len(data) - 12 - index_size : -12]
    require(magic == b"ZysL" and zlib.crc32(index + data[-12:-8]) == index_crc, "trailer")
    sizes = Bytes(sections(index)["T"])

    out = np.empty(header.shape, header.type)
    masks = np.zeros(header.shape, bool)
    for where in header.tiles():
        start, size = reader.at, sizes.varint()
        payload_size = reader.varint()
        (content,) = reader.numbers("I")
        payload = reader.take(payload_size)
        reader.check_crc(start)
        require(reader.at - start == size, "size of a tile record")
        marks = b""
        if header.enhancer is not None:
            inside = Bytes(payload)
            marks, payload = inside.sized().rest(), inside.rest()
        told = NOTHING if guides is None else guides.of(where)
        tile, mask = decode_tile(payload, header, out[where].shape, told)
        if marks and plain:
            content = struct.unpack("<I", marks[:4])[0]
        elif marks:
            tile = enhanced(tile, mask, header, header.enhancer, marks[4:], told)
        checked = tile.tobytes() + (b"" if header.fill is None else mask.tobytes())
        require(xxhash.xxh3_64_intdigest(checked) % 2**32 == content, "not the values that were checked")
        out[where], masks[where] = tile, mask
    require(reader.rest() == index + data[-12:] and sizes.rest() == b"", "tiles do not fill the frame")
    return out if header.fill is None else np.ma.MaskedArray(out, masks)


def decode_archive(data: bytes, model: bytes = b"") -> dict[str, np.ndarray]:
    reader = Bytes(data)
    found = opening(reader, b"LsyA", 1, "NG")
    index, frames = Bytes(found["N"]), {}
    while index.at < len(index.data):
        name = index.sized().data.decode()
        frames[name] = reader.take(index.varint())
    require(reader.rest() == b"", "bytes after the last frame")
    names, needs = list(frames), Bytes(found.get("G", bytes(len(frames))))
    graph = {name: [names[needs.varint()] for _ in range(needs.varint())] for name in names}
    fields: dict[str, np.ndarray] = {}
    while len(fields) < len(frames):
        name = next(n for n in names if n not in fields and all(other in fields for other in graph[n]))
        references = [np.ma.getdata(fields[other]) for other in graph[name]]
        fields[name] = decode_frame(frames[name], references, model=model)
    return {name: fields[name] for name in names}
