"""Bytes that are cut, flipped, forged or made up raise the right DecodeError: no crash, no wrong numbers.

*Forged* bytes have been changed and their checksums corrected: nothing but the checks inside is left.
"""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from forgery import Parts
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import STATIC

import lossyzip as lz
from lossyzip import field, second_pass, tuning
from lossyzip.container import archive, frame
from lossyzip.container.header import MOST_TILE_VALUES
from lossyzip.decompose.families import write_plan
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster, class_taps
from lossyzip.decompose.stencil import Weights
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS
from lossyzip.entropy.bits import put_varint
from lossyzip.learned import corrections
from lossyzip.learned import enhancement as training

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
MAGIC, VERSION_AT = 4, 4


def small_field() -> np.ndarray:
    """With NaN, a fill value, -0.0 and outliers: every part of a tile is there."""
    array = np.sin(np.arange(300.0) * 0.03).reshape(15, 20).astype(np.float32)
    array[2, 3:5], array[5], array[1, 1], array[3, 3], array[7, 7] = np.nan, -99.0, -0.0, 1e38, -1e33
    return array


ARRAY = small_field()


def small_field_of(dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (100 + 50 * np.nan_to_num(np.clip(ARRAY, -2, 2))).astype(dtype)


BOUND = lz.absolute(0.1)
PLANS = {
    "multigrid": Multigrid(
        Fold.MERGED, 2, ((Weights(1, (-3, 1)), None, Weights(3, (-100, 7, 0)), *[None] * 4),)
    ),
    "raster": Raster(Fold.MERGED, (None,) * 6 + (Weights(2, tuple(range(-8, 8))), None)),
    "still": Raster(Fold.MERGED, still=True),
    "wavelet": Wavelet(Fold.MERGED, 40),
    "lattice": Lattice(3),
    "lossless": None,
}


def compress(
    plan: str,
    tile_values: int = 1000,
    array: np.ndarray = ARRAY,
    effort: str = "balanced",
    bound: lz.Bound = BOUND,
) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "TILE_VALUES", tile_values)
        patch.setitem(EFFORTS, "balanced", STATIC)
        patch.setattr(tuning, "choose_plan", lambda *_: PLANS[plan])
        return lz.compress(array, bound, fill_value=-99.0, effort=effort, threads=1)


def enhanced() -> bytes:
    """A small field, whose enhancer would not pay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrections.Price, "of", lambda *_: 0.0)
        patch.setattr(second_pass, "_cheaper", lambda *_: True)
        patch.setattr(training, "FEWEST", 100)
        patch.setitem(EFFORTS, "balanced", STATIC)
        patch.setattr(tuning, "choose_plan", lambda *_: PLANS["raster"])
        blob = lz.compress(ARRAY, BOUND, fill_value=-99.0, enhance="offsets", threads=1)
    assert lz.inspect(blob).sections["marks"] > 0
    return blob


FRAMES = {
    "multigrid": compress("multigrid"),
    "two tiles": compress("multigrid", 160),
    "raster": compress("raster"),
    "still": compress("still"),
    "wavelet": compress("wavelet", array=np.where(np.abs(ARRAY) > 1e30, 0, ARRAY)[:12, :10]),
    "lattice": compress("lattice"),
    "rows left out": compress("lattice", array=np.where(np.abs(ARRAY) < 0.5, 0, ARRAY)),
    "f8": compress("raster", array=np.cumsum(ARRAY[:2], axis=1).astype(np.float64)),
    "lossless": compress("lossless", array=ARRAY[:5]),
    "no tile": compress("multigrid", array=ARRAY[:0]),
    "mixed": compress("raster", effort="max"),
    "mixed, multigrid": compress("multigrid", array=ARRAY[:9], effort="max"),
    "pointwise": compress("raster", array=ARRAY[:9] - 0.1, bound=lz.pointwise_relative(0.1)),
    "zeros, multigrid": compress("multigrid", array=np.zeros_like(ARRAY)),
    "zeros, raster": compress("raster", array=np.zeros_like(ARRAY)),
    "f2": compress("raster", array=small_field_of("<f2")[:9]),
    "i2": compress("raster", array=small_field_of(">i2")[:9], bound=lz.absolute(3)),
    "u1": compress("multigrid", array=small_field_of("u1")[:9], bound=lz.lossless()),
    "c8": compress("raster", array=small_field_of("<c8")[:5]),
    "masked": compress("raster", array=np.ma.masked_less(ARRAY[:9], 0.1)),
    "masked, lossless": compress("lossless", array=np.ma.masked_less(ARRAY[:5], 0.1)),
    "enhanced": enhanced(),
    "levels": compress("raster", array=ARRAY[:9], bound=lz.absolute(np.where(np.arange(20) < 9, 0.1, 0.0))),
}
QUICK = (
    "wavelet",
    "lattice",
    "f8",
    "pointwise",
    "mixed, multigrid",
    "zeros, multigrid",
    "i2",
    "masked",
    "levels",
)  # for forgery: minutes with all
FORGED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FRAMES]
ARCHIVE = archive.pack_archive({"a": FRAMES["lossless"], "β": FRAMES["multigrid"]})


@pytest.fixture(params=FRAMES)
def blob(request: pytest.FixtureRequest) -> bytes:
    return FRAMES[request.param]


def decode(data: bytes) -> np.ndarray:
    return lz.decompress(data, threads=1)


def error_of(data: bytes, read: Callable = decode) -> type[Exception] | None:
    """The DecodeError that reading ``data`` raises; None if it raises none. Other errors pass."""
    try:
        read(data)
    except lz.DecodeError as error:
        return type(error)
    return None


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place >> 3] ^= 1 << (place & 7)
        yield place >> 3, bytes(flipped)


# Damage


def test_the_samples_have_what_they_are_for():
    assert Parts.of(FRAMES["pointwise"]).tiles[0].payload[0] & 11 == 10  # masked, with signs
    assert sorted({len(Parts.of(data).tiles) for data in FRAMES.values()}) == [0, 1, 2]
    assert Parts.of(FRAMES["multigrid"]).tiles[0].payload[0] == 6  # masked, with outliers
    assert len(class_taps(6, False, True).offsets) == 17  # so that the weights above are in use


def test_every_truncation(blob):
    for length in range(len(blob)):
        assert error_of(blob[:length]) is lz.TruncatedError, length
        assert error_of(blob[:length], lz.inspect) is lz.TruncatedError, length


def test_every_bit_flip(blob):
    for at, data in flips(blob):
        error = error_of(data)
        if at < MAGIC:
            assert error is lz.NotALossyZipError, at
        elif at == VERSION_AT:
            assert error in (lz.UnsupportedFormatError, lz.CorruptError)
        else:
            assert error is lz.CorruptError, at


def test_every_truncation_of_an_archive():
    for length in range(len(ARCHIVE)):
        assert error_of(ARCHIVE[:length], lz.decompress_fields) is lz.TruncatedError, length


def test_every_bit_flip_of_an_archive():
    starts = [
        len(ARCHIVE) - len(FRAMES["multigrid"]) - len(FRAMES["lossless"]),
        len(ARCHIVE) - len(FRAMES["multigrid"]),
    ]
    for at, data in flips(ARCHIVE):
        error = error_of(data, lz.decompress_fields)
        if any(start <= at < start + MAGIC for start in (0, *starts)):
            assert error is lz.NotALossyZipError, at
        elif any(at == start + VERSION_AT for start in (0, *starts)):
            assert error in (lz.UnsupportedFormatError, lz.CorruptError), at
        else:
            assert error is lz.CorruptError, at


def test_a_frame_is_no_archive_and_an_archive_no_frame():
    assert error_of(ARCHIVE) is lz.NotALossyZipError
    assert error_of(FRAMES["multigrid"], lz.decompress_fields) is lz.NotALossyZipError


def test_bytes_that_follow_a_frame_are_not_ignored(blob):
    for more in (b"\0", b"\0" * 100, blob, blob[-12:]):
        assert error_of(blob + more) in (lz.CorruptError, lz.TruncatedError)
    assert error_of(ARCHIVE + b"\0", lz.decompress_fields) is lz.CorruptError


def test_a_newer_format_is_named():
    newer = bytearray(FRAMES["multigrid"])
    newer[VERSION_AT] = 9
    with pytest.raises(lz.UnsupportedFormatError, match=r"format version 9.*upgrade"):
        lz.decompress(bytes(newer))


def test_the_format_before_the_first_release_is_named():
    older = bytearray(FRAMES["multigrid"])
    older[VERSION_AT] = 1
    with pytest.raises(lz.UnsupportedFormatError, match=r"format version 1.*again"):
        lz.decompress(bytes(older))


def test_one_damaged_tile_leaves_the_others_readable():
    data = bytearray(FRAMES["two tiles"])
    opened = Frame.of_bytes(bytes(data))
    data[Parts.of(bytes(data)).first_tile_at + 10] ^= 1
    second = list(opened.tiles(threads=1))[1][0]
    with pytest.raises(lz.CorruptError, match="tile 0"):
        lz.decompress(bytes(data))
    assert np.array_equal(
        lz.decompress(bytes(data), region=second), decode(FRAMES["two tiles"])[second], equal_nan=True
    )


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", frame.MAGIC, frame.MAGIC + b"\1", archive.MAGIC, archive.MAGIC + b"\1"]),
)
@settings(max_examples=500)
def test_arbitrary_bytes(data, start):
    for read in (decode, lz.inspect, lz.decompress_fields):
        assert error_of(start + data, read) is not None


@given(st.sampled_from(sorted(FRAMES)), st.integers(0, 400), st.integers(0, 20), st.binary(max_size=20))
@settings(max_examples=500)
def test_a_stretch_replaced_by_other_bytes(name, at, length, other):
    data = FRAMES[name][:at] + other + FRAMES[name][at + length :]
    if data != FRAMES[name]:
        assert error_of(data) is not None


# Forgery


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
