"""Bytes that are cut, flipped or made up raise the right DecodeError: no crash, no wrong numbers."""

from __future__ import annotations

import numpy as np
import pytest
from forgery import Parts
from hypothesis import given, settings
from hypothesis import strategies as st
from small_frames import (
    ARCHIVE,
    FRAMES,
    decode,
    error_of,
    flips,
)

import lossyzip as lz
from lossyzip.container import archive, frame
from lossyzip.decompose.fold import Shape4
from lossyzip.decompose.regression import class_taps
from lossyzip.decompressor import Frame

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
MAGIC, VERSION_AT = 4, 4


@pytest.fixture(params=FRAMES)
def blob(request: pytest.FixtureRequest) -> bytes:
    return FRAMES[request.param]


def test_the_samples_have_what_they_are_for():
    assert Parts.of(FRAMES["pointwise"]).tiles[0].payload[0] & 11 == 10  # masked, with signs
    assert sorted({len(Parts.of(data).tiles) for data in FRAMES.values()}) == [0, 1, 2]
    assert Parts.of(FRAMES["multigrid"]).tiles[0].payload[0] == 6  # masked, with outliers
    assert lz.inspect(FRAMES["base"]).sections["base"]
    assert len(class_taps(6, Shape4(1, 1, 2, 2))[0].offsets) == 17  # so that the weights above are in use


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


@pytest.mark.parametrize("version", [1, 2])
def test_formats_before_the_first_release_are_named(version):
    older = bytearray(FRAMES["multigrid"])
    older[VERSION_AT] = version
    with pytest.raises(lz.UnsupportedFormatError, match=rf"format version {version}.*again"):
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
