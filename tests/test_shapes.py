"""Shapes and layouts; efforts, threads, regions."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import exact
import numpy as np
import pytest
from plans import STATIC
from round_trip import BOUNDS, round_trip, wave

import lossyzip as lz
from lossyzip import field
from lossyzip.container.header import MOST_TILE_VALUES
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


# Shapes and layouts


SHAPES = [(), (1,), (2,), (3,), (0,), (0, 5), (5, 0, 3), (1, 1, 1), (7, 1), (1, 7), (1, 9, 1, 8, 1), (3000,)]
SHAPES += [
    (60, 50),
    (9, 20, 30),
    (3, 5, 12, 11),
    (2, 3, 4, 5, 6),
    (2,) * 6,
    (3, 2, 3, 2, 3, 2, 4),
    (2, 3) * 4,
]
SHAPES += [(400, 2, 2), (50, 2, 2, 2), (2, 2, 2, 300), (1000, 1, 3), (2, 1000), (1000, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_every_shape(shape, dtype):
    for bound in BOUNDS:
        decoded = round_trip(wave(shape, dtype), bound)
        assert (decoded.shape, decoded.dtype) == (shape, np.dtype(dtype))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7e-12, 1e30])
def test_constant_fields_take_next_to_nothing(value):
    for dtype in ("<f4", "<f8"):
        array = np.full((64, 65), value, dtype)
        for bound in BOUNDS:
            assert np.array_equal(round_trip(array, bound), array)
        assert len(lz.compress(array, lz.absolute(0.1))) < 200


def test_views_of_any_strides():
    base = wave((12, 15, 18))
    fortran = np.asfortranarray(base)
    read_only = base.copy()
    read_only.flags.writeable = False
    views = [
        base[::2, 1::3, ::-1],
        base.transpose(2, 0, 1),
        fortran,
        base[:, 5],
        base[::-1, ::-1, ::-1],
        read_only,
    ]
    views += [np.broadcast_to(base[0], (4, 15, 18)), base.astype([("a", "f4"), ("b", "f4")])["a"]]
    for view in views:
        before = view.tobytes()
        decoded = round_trip(view, lz.relative(1e-3))
        assert decoded.flags.c_contiguous
        assert lz.compress(view, lz.relative(1e-3)) == lz.compress(view.copy("C"), lz.relative(1e-3))
        assert view.tobytes() == before


def test_byte_order_costs_nothing():
    array = wave((20, 30, 40))
    little, big = (lz.compress(array.astype(dtype), lz.relative(1e-4)) for dtype in ("<f4", ">f4"))
    assert len(little) == len(big)
    assert np.array_equal(lz.decompress(little), lz.decompress(big))


def test_decoded_arrays_are_the_callers_own():
    decoded = lz.decompress(lz.compress(wave((10, 10)), lz.lossless()))
    decoded[...] = 0.0


@pytest.mark.parametrize("bound", [lz.relative(1e-3), lz.lossless()], ids=str)
@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_what_was_decoded_stays_whatever_is_decoded_next(effort, bound, monkeypatch):
    """Threads keep memory from tile to tile, and from call to call."""
    monkeypatch.setattr(field, "TILE_VALUES", 3000)
    array = wave((20, 30, 40))  # a tile lies in many pieces
    array += 1e-2 * np.random.default_rng(1).standard_normal(array.shape, np.float32)
    blob, other = (lz.compress(values, bound, effort=effort) for values in (array, -array))
    decoded, tiles = lz.decompress(blob), list(Frame.of_bytes(blob).tiles(threads=2))
    before = decoded.tobytes()
    assert lz.decompress(other, threads=1).tobytes() != before
    lz.decompress(other, threads=2)
    assert decoded.tobytes() == before
    assert len(tiles) >= 8
    assert all(np.array_equal(values, decoded[where]) for where, values in tiles)


# Efforts, threads, regions


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
def test_every_effort(effort):
    round_trip(wave((20, 30, 40)), lz.relative(1e-3), effort=effort)
    for shape in [(), (0,), (1,), (2,), (1, 1, 1), (2, 3), (1, 500), (300, 1, 2)]:
        round_trip(wave(shape), lz.absolute(1e-3), effort=effort)


def test_threads_do_not_change_mixed_bytes(monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 3000)
    array = wave((20, 30, 40)) + 1e-3 * np.random.default_rng(1).standard_normal((20, 30, 40), np.float32)
    blobs = [lz.compress(array, lz.relative(1e-3), effort="max", threads=threads) for threads in (1, 2)]
    assert blobs[0] == blobs[1]
    monkeypatch.setitem(EFFORTS, "balanced", STATIC)
    assert len(blobs[0]) < len(lz.compress(array, lz.relative(1e-3)))


@pytest.fixture(scope="module")
def tiled() -> Iterator[tuple[np.ndarray, bytes]]:
    """A field of many tiles, and its frame."""
    array = wave((5, 4, 70, 71))
    array[2, 1, 10:20, 50] = np.nan
    array += 2e-2 * np.random.default_rng(1).standard_normal(array.shape, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "TILE_VALUES", 5000)
        yield array, lz.compress(array, lz.relative(1e-2), threads=2)


def test_many_tiles_keep_the_bound_and_threads_do_not_change_the_bytes(tiled):
    array, blob = tiled
    assert lz.inspect(blob).tile_count > 20
    assert not exact.violations(array, lz.decompress(blob), exact.tolerance(array, "relative", 1e-2)).size
    assert all(lz.compress(array, lz.relative(1e-2), threads=threads) == blob for threads in (1, 3))
    assert lz.decompress(blob, threads=1).tobytes() == lz.decompress(blob, threads=3).tobytes()


@pytest.mark.parametrize("shape", [(1 << 14, 2, 2), (1 << 13, 2, 2, 2), (2500, 3, 3, 3)], ids=str)
def test_small_tensors_at_many_points_are_not_outweighed_by_their_halos(shape):
    array = np.cumsum(wave((math.prod(shape),), "<f8")).reshape(shape)
    lz.compress(array, lz.relative(1e-2), threads=1)  # kernels and what they are loaded from are not counted
    tracemalloc.start(1)
    blob = lz.compress(array, lz.relative(1e-2), threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lz.verify(array, blob).violations == 0
    assert peak < 120 * array.nbytes  # 100.4, if nothing was kept from before


def test_the_tiles_of_a_large_field_are_no_larger_than_they_may_be():
    for shape in ((1 << 30,), (3, 1 << 20, 5), (40, 50, 60, 700, 801), (1 << 40, 1), (9,) * 12):
        tile = field.tile_shape(shape)
        assert math.prod(tile) <= field.TILE_VALUES <= MOST_TILE_VALUES
        assert math.prod(tile) > field.TILE_VALUES // 4


@pytest.mark.parametrize(
    "region",
    [
        np.s_[...],
        np.s_[2],
        np.s_[-1, ..., 0],
        np.s_[1:3, :, 10:20, ::7],
        np.s_[::-1, 1, 5::-2, -3:],
        np.s_[..., 70],
        np.s_[:, 2:2],
        np.s_[4, 3, 69, 70],
        np.s_[10:20],
        np.s_[-100:100, ::3, 60:10:-15, -1:-500:-33],
        np.s_[np.int64(1), :, np.int32(5)],
    ],
    ids=str,
)
def test_a_region_is_what_indexing_the_whole_gives(tiled, region):
    _, blob = tiled
    whole, part = lz.decompress(blob)[region], lz.decompress(blob, region=region)
    assert np.shape(part) == np.shape(whole)
    assert part.dtype == whole.dtype
    assert np.array_equal(part, whole, equal_nan=True)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (6, 7)], ids=str)
@pytest.mark.parametrize("region", [(), ..., np.s_[...,]], ids=str)
def test_regions_of_small_arrays(shape, region):
    array = wave(shape)
    blob = lz.compress(array, lz.lossless())
    assert np.array_equal(lz.decompress(blob, region=region), array[region])


@pytest.mark.parametrize(
    "region",
    [5, -6, (0, 0, 0, 0, 0), np.s_[..., 0, ...], 1.5, "x", [0, 1], None, np.s_[::0], np.s_["a":], True],
)
def test_a_region_that_does_not_fit_is_refused(tiled, region):
    if region is None:
        region = (None,)
    with pytest.raises(lz.InvalidArgumentError):
        lz.decompress(tiled[1], region=region)


def test_a_region_reads_and_decodes_only_the_tiles_it_touches(tiled):
    _, blob = tiled
    reads: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return blob[offset : offset + length]

    frame = Frame.open(read, len(blob))
    assert sum(length for _, length in reads) < 2000  # header and index
    reads.clear()
    lengths = frame.tile_shape
    corner = tuple(slice(0, length) for length in lengths)
    found = list(frame.tiles(region=corner, threads=1))
    assert len(found) == len(reads) == 1
    assert found[0][0] == corner
    across = tuple(slice(n - 1, min(n + 1, whole)) for n, whole in zip(lengths, frame.shape, strict=True))
    reads.clear()
    split = sum(n < whole for n, whole in zip(lengths, frame.shape, strict=True))
    assert len(list(frame.tiles(region=across))) == len(reads) == 2**split > 1
