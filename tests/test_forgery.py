"""Forged bytes, changed and their checksums corrected, raise DecodeErrors in bounded time and memory.

Nothing but the checks inside is left to find them.
"""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from forgery import Parts
from hypothesis import given, settings
from hypothesis import strategies as st
from small_frames import (
    FRAMES,
    decode,
    error_of,
    flips,
)

import lossyzip as lz
from lossyzip.container import archive, frame
from lossyzip.container.header import MOST_TILE_VALUES
from lossyzip.decompose.families import write_plan
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy.bits import put_varint

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
QUICK = (
    "wavelet",
    "lattice",
    "f8",
    "pointwise",
    "mixed, multigrid",
    "mixed with flags",
    "zeros, multigrid",
    "i2",
    "masked",
    "levels",
)  # for forgery: minutes with all
FORGED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FRAMES]


def hammer(data: bytes) -> None:
    """Decode forged bytes: only DecodeErrors, in bounded time and memory. Numbers may come out.

    A frame of a hundred bytes may be a constant field of the largest tile size: that much is plausible,
    and thin tiles take sixteen times as much, with their halo.
    """
    tracemalloc.reset_peak()
    started, before = time.perf_counter(), tracemalloc.get_traced_memory()[0]
    error_of(data)
    peak = tracemalloc.get_traced_memory()[1] - before
    assert time.perf_counter() - started < 10.0
    assert peak < 1 << 30


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


def mutations(data: bytes) -> Iterator[bytes]:
    """Every bit flipped; every byte replaced by extreme ones and by huge numbers, left out, doubled."""
    yield from (flipped for _, flipped in flips(data))
    huge = []
    for power in (14, 21, 32, 63):
        number = bytearray()
        put_varint(number, (1 << power) - (power == 63))
        huge.append(bytes(number))
    for at in range(len(data)):
        for other in (b"", data[at : at + 1] * 2, *huge):
            yield data[:at] + other + data[at + 1 :]
    yield from (data[:length] for length in range(len(data)))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", FORGED)
def test_forged_headers(name):
    parts = Parts.of(FRAMES[name])
    assert error_of(parts.forge()) is None
    for header in mutations(parts.header):
        hammer(replace(parts, header=header).forge())


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", FORGED)
def test_forged_payloads(name):
    parts = Parts.of(FRAMES[name])
    for tile in parts.tiles[:1]:
        for payload in mutations(tile.payload):
            hammer(parts.with_payload(payload))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", FORGED)
def test_forged_indexes(name):
    index = frame.pack_sections(Parts.of(FRAMES[name]).index)
    start = FRAMES[name][: FRAMES[name].rindex(index)]
    for changed in mutations(index):
        length = struct.pack("<I", len(changed))
        crc = struct.pack("<I", frame.zlib.crc32(changed + length))
        hammer(start + changed + length + crc + frame.TAIL)


@pytest.mark.usefixtures("traced")
def test_forged_archives():
    table = bytearray()
    for name, data in (("a", FRAMES["lossless"]), ("β", FRAMES["multigrid"])):
        encoded = name.encode()
        put_varint(table, len(encoded))
        table += encoded
        put_varint(table, len(data))
    for changed in mutations(bytes(table)):
        sections = frame.pack_sections({"N": changed})
        out = bytearray(archive.MAGIC + b"\1")
        put_varint(out, len(sections))
        out += sections
        out += struct.pack("<I", frame.zlib.crc32(out))
        error_of(bytes(out) + FRAMES["lossless"] + FRAMES["multigrid"], lz.decompress_fields)


def test_values_that_were_not_checked_do_not_come_out():
    parts = Parts.of(FRAMES["multigrid"])
    changed = replace(parts.tiles[0], content=parts.tiles[0].content ^ 1)
    assert error_of(replace(parts, tiles=(changed,)).forge()) is lz.ContentMismatchError
    right = decode(FRAMES["multigrid"]).tobytes()
    for payload in mutations(parts.tiles[0].payload):
        data = parts.with_payload(payload)
        if error_of(data) is None:
            assert decode(data).tobytes() == right


@given(
    data=st.data(),
    name=st.sampled_from(sorted(set(FRAMES) - {"no tile"})),
    where=st.sampled_from(["header", "payload"]),
)
@settings(max_examples=400)
def test_forged_at_random(data, name, where):
    parts = Parts.of(FRAMES[name])
    part = bytearray(parts.header if where == "header" else parts.tiles[0].payload)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(part)))
        part[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    error_of(
        replace(parts, header=bytes(part)).forge() if where == "header" else parts.with_payload(bytes(part))
    )


SHAPES = [
    (1 << 62,),
    (1 << 40, 1 << 22),
    (0, 1 << 62),
    (1 << 40, 0),
    (1 << 61, 0, 1 << 61),
    (1 << 31, 1 << 31),
]
SHAPES += [(MOST_TILE_VALUES,), (MOST_TILE_VALUES // 8, 2, 2, 2), (MOST_TILE_VALUES // 27, 3, 3, 3)]
SHAPES += [(1,) * 32, (2, 2, 1 << 20)]


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["zeros, multigrid", "zeros, raster", "raster", "lossless"])
@pytest.mark.parametrize("split", [False, True])
def test_forged_shapes(shape, name, split):
    parts = Parts.of(FRAMES[name])
    sections = frame.unpack_sections(parts.header, "ABRSP")
    array = bytearray([sections["A"][0], len(shape)])
    tile = [1 if split else max(n, 1) for n in shape]
    for length in (*shape, *tile):
        put_varint(array, length)
    for plan in {sections["P"], b"\1" + bytes([8]), b"\1" + bytes([9]), b"\2\0", b"\2\1\0"}:
        forged = replace(parts, header=frame.pack_sections({**sections, "A": bytes(array), "P": plan}))
        hammer(forged.forge())
        hammer(replace(forged, tiles=()).forge())
        started = time.perf_counter()
        error_of(forged.forge(), lz.inspect)
        assert time.perf_counter() - started < 1.0


@pytest.mark.usefixtures("traced")
def test_zstd_bombs():
    """Data that inflates to gigabytes is not inflated beyond what the tile can hold."""
    compressor = zstandard.ZstdCompressor(level=3)
    chunk = bytes(1 << 24)
    writer = compressor.compressobj()
    bomb = b"".join([*(writer.compress(chunk) for _ in range(64)), writer.flush()])  # 1 GiB of zeros
    parts = Parts.of(FRAMES["lossless"])
    for way in (1, 2, 3):
        data = parts.with_payload(bytes([1, way]) + bomb)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert error_of(data) is lz.CorruptError
        assert tracemalloc.get_traced_memory()[1] - before < 5 * len(bomb) + (1 << 20)
    masked = Parts.of(FRAMES["multigrid"])
    mask = bytearray([2])
    put_varint(mask, len(bomb) + 1)
    assert error_of(masked.with_payload(bytes(mask) + b"\1" + bomb)) is lz.CorruptError


# Found by tests/fuzz.py, or on the way there


def with_sections(name: str, **changed: bytes) -> Parts:
    parts = Parts.of(FRAMES[name])
    sections = frame.unpack_sections(parts.header, "ABRSP")
    return replace(parts, header=frame.pack_sections({**sections, **changed}))


def test_steps_whose_inverse_is_infinite():
    parts = with_sections(
        "wavelet",
        B=b"\0" + struct.pack("<d", 1.2e-38),
        R=struct.pack("<2f", 0.0, 1e-37),
        P=b"\3" + write_plan(Wavelet(Fold.MERGED, 1)),
    )
    assert error_of(parts.forge()) is lz.ContentMismatchError


def test_more_than_there_is_memory_for():
    """Ten thousand tiles of 2**22 values each, in three megabytes: nothing but memory speaks against it."""
    array = bytearray([1, 1])
    put_varint(array, 10_000 * MOST_TILE_VALUES)
    put_varint(array, MOST_TILE_VALUES)
    parts = with_sections("lossless", A=bytes(array), B=b"\2", S=b"")
    data = replace(parts, tiles=parts.tiles * 10_000).forge()
    for read in (decode, lambda data: lz.decompress(data, region=np.s_[:], threads=1)):
        with pytest.raises(lz.DecodeError, match=r"335544320000 bytes.*region|lossless data"):
            read(data)
    assert lz.inspect(data).tile_count == 10_000


def test_a_tag_that_is_unknown():
    parts = Parts.of(FRAMES["multigrid"])
    optional = replace(parts, header=parts.header + b"x\3abc")
    assert decode(optional.forge()).tobytes() == decode(FRAMES["multigrid"]).tobytes()
    assert error_of(replace(parts, header=parts.header + b"X\3abc").forge()) is lz.UnsupportedFormatError
    twice = replace(parts, header=parts.header + parts.header)
    assert error_of(twice.forge()) is lz.CorruptError
