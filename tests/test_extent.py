"""Fields that are quiet at their ends: tiles begin where there is something to code."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import reference
from forgery import Parts
from small_frames import error_of

import lossyzip as lz
from lossyzip import field
from lossyzip.container import frame
from lossyzip.container.archive import unpack_archive
from lossyzip.container.header import Header
from lossyzip.decompressor import Frame
from lossyzip.entropy.bits import put_varint

BOUND = lz.absolute(0.01)


def layer(shape: tuple[int, ...], begin: int, end: int, axis: int = 0) -> np.ndarray:
    """Noise from ``begin`` to ``end`` along ``axis``, between plateaus."""
    rng = np.random.default_rng(1)
    values = np.where(np.arange(shape[axis]) < begin, 1.0, 3.0)
    values = np.broadcast_to(
        values.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape
    ).copy()
    inside = tuple(slice(begin, end) if k == axis else slice(None) for k in range(len(shape)))
    values[inside] += rng.standard_normal(values[inside].shape)
    return values.astype("<f4")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Of 2**10 values."""
    monkeypatch.setattr(field, "TILE_VALUES", 1 << 10)


@pytest.mark.parametrize("effort", ["fast", "balanced"])
@pytest.mark.parametrize(("begin", "end"), [(25, 55), (41, 60), (3, 25)])
@pytest.mark.parametrize("axis", [0, 1])
def test_tiles_divide_what_is_not_quiet_evenly(axis, begin, end, effort):
    shape = (64, 8, 8) if axis == 0 else (8, 64, 8)
    array = layer(shape, begin, end, axis)
    blob = lz.compress(array, BOUND, effort=effort)
    assert lz.verify(array, blob).passed
    frame_, decoded = Frame.of_bytes(blob), lz.decompress(blob)
    starts = [*frame_.cuts()[axis], 64]
    noisy = [min(b, end) - max(a, begin) for a, b in pairwise(starts) if a < end and b > begin]
    assert len(noisy) % 2 == 0
    assert max(noisy) - min(noisy) <= 4
    assert decoded.tobytes() == reference.decode_frame(blob).tobytes()
    assert lz.compress(array, BOUND, effort=effort, threads=2) == blob
    for where in (np.s_[begin - 2 : begin + 3], np.s_[:, begin + 1 : end : 3], np.s_[-1, 5], np.s_[30:30]):
        assert lz.decompress(blob, region=where).tobytes() == decoded[where].tobytes()


@pytest.mark.parametrize("begin", [0, 2])
def test_tiles_begin_at_0_where_a_field_is_nowhere_quiet_for_long(begin):
    array = layer((64, 8, 8), begin, 64)
    opened = Frame.of_bytes(lz.compress(array, BOUND))
    assert opened.cuts() == [[0, 16, 32, 48], [0], [0]]


def test_a_field_that_is_quiet_everywhere():
    for array in (np.full((64, 8, 8), 2.5, "<f4"), np.full((64, 8, 8), np.nan, "<f8")):
        opened = Frame.of_bytes(lz.compress(array, BOUND))
        assert opened.cuts()[0][1] in (16, 32)  # larger ones, for what takes next to nothing


def test_what_is_next_to_nothing_may_be_anything():
    """NaN, a mask, integers."""
    holes = layer((64, 8, 8), 25, 55)
    holes[:25], holes[:, 3] = np.nan, np.nan
    masked = np.ma.MaskedArray(layer((64, 8, 8), 25, 55), np.arange(64 * 64).reshape(64, 8, 8) % 7 == 0)
    whole = np.rint(1000 * layer((64, 8, 8), 25, 55)).astype("<i4")
    for array, bound in ((holes, BOUND), (masked, BOUND), (whole, lz.absolute(10))):
        blob = lz.compress(array, bound)
        assert Frame.of_bytes(blob).cuts()[0][1] % 16
        assert lz.verify(array, blob).passed
        decoded = lz.decompress(blob)
        assert np.ma.getdata(decoded).tobytes() == np.ma.getdata(reference.decode_frame(blob)).tobytes()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_values_at_the_ends_of_their_type_are_looked_at_in_silence():
    """Signalling NaN, and spans beyond the largest number."""
    signalling = layer((64, 8, 8), 25, 55)
    signalling.view("<u4")[3, 3] = 0x7F800001
    largest = np.full((64, 8, 8), 1.7e308)
    largest[::2] *= -1.0
    for array in (signalling, largest):
        assert lz.verify(array, lz.compress(array, BOUND)).passed


def test_a_reference_whose_tiles_begin_elsewhere():
    """Parts of it are decoded on demand."""
    first = layer((64, 8, 8), 25, 55)
    second = first + 0.02 * layer((64, 8, 8), 0, 64)
    archive = lz.compress_fields({"a": first, "b": second.astype("<f4")}, {"*": BOUND}, learned=True)
    frames = {name: Frame.of_bytes(bytes(data)) for name, data in unpack_archive(archive).items()}
    helped = next(name for name in frames if frames[name].references)
    other = next(name for name in frames if name != helped)
    assert frames[other].cuts()[0][1] % 16
    whole = lz.decompress_fields(archive)
    for where in (np.s_[20:30, 3], np.s_[54:60]):
        for name, part in lz.decompress_fields(archive, region=where).items():
            assert part.tobytes() == whole[name][where].tobytes()


def test_scratch_files_have_the_same_tiles(monkeypatch):
    """Of fields that are too large for memory, while others are predicted from them."""
    monkeypatch.setattr("lossyzip.scratch.IN_MEMORY", 0)
    test_a_reference_whose_tiles_begin_elsewhere()


def test_forged_origins():
    parts = Parts.of(lz.compress(layer((64, 8, 8), 25, 55), BOUND))
    header = Header.from_bytes(parts.header)
    sections = frame.unpack_sections(parts.header, "AOBRP")
    assert header.origin[0] > 0
    for forged in ((64, 0, 0), (header.tile_shape[0], 0, 0), (0, 8, 0), (0, 0, 0), (5,), (5, 0, 0, 0)):
        data = bytearray()
        for start in forged:
            put_varint(data, start)
        changed = frame.pack_sections({**sections, "O": bytes(data)})
        assert error_of(replace(parts, header=changed).forge()) in (lz.CorruptError, lz.TruncatedError)
    moved = frame.pack_sections({**sections, "O": b"\1\0\0"})
    assert error_of(replace(parts, header=moved).forge()) is not None
