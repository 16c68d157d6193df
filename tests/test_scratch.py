"""Fields that memory should not hold: parts are those of the whole, bytes do not depend on where that is."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossyzip as lz
from datasets import synthetic
from lossyzip import field, grid, parts, scratch
from lossyzip.guide import checksum
from lossyzip.io.verify import verify_file
from lossyzip.learned.neighbourhood import folded, haloed, unfolded
from lossyzip.scratch import Scratch, Space

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: nothing can be trained"
)


class InParts:
    """An array that is no array: it can only be read in parts."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        assert all(0 <= s.start <= s.stop <= n for s, n in zip(where, self.shape, strict=True))
        return self._array[where]


shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def some_part(data: st.DataObject, shape: tuple[int, ...], least: int = 0) -> tuple[slice, ...]:
    """Of at least so many values along each axis."""
    starts = [data.draw(st.integers(0, n - least)) for n in shape]
    return tuple(slice(k, data.draw(st.integers(k + least, n))) for k, n in zip(starts, shape, strict=True))


def tiles_of(shape: tuple[int, ...], tile: tuple[int, ...]) -> list[tuple[slice, ...]]:
    index = np.ndindex(*(-(-n // t) for n, t in zip(shape, tile, strict=True)))
    return [
        tuple(slice(k * t, min((k + 1) * t, n)) for k, t, n in zip(at, tile, shape, strict=True))
        for at in index
    ]


@given(st.data())
@settings(max_examples=60)
def test_what_was_written_is_read(data):
    shape = data.draw(shapes)
    tile = tuple(data.draw(st.integers(1, n)) for n in shape)
    dtype = np.dtype(data.draw(st.sampled_from(["f4", "f8"])))
    array = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "_PIECE", data.draw(st.integers(1, 50)))
        patch.setattr(scratch, "_RUN", data.draw(st.integers(1, 50)))
        kept = Scratch(shape, dtype, tile)
        for where in tiles_of(shape, tile)[::-1]:
            kept[where] = array[where]
        for _ in range(5):
            where = some_part(data, shape)
            assert kept[where].tobytes() == array[where].tobytes()
        assert checksum(kept) == checksum(array)


def test_a_part_that_is_no_tile_is_refused():
    kept = Scratch((6, 6), np.dtype("f4"), (3, 3))
    with pytest.raises(ValueError, match="written in tiles"):
        kept[(slice(0, 2), slice(0, 3))] = np.zeros((2, 3))


def test_what_was_never_written_is_no_value():
    kept = Scratch((6, 6), np.dtype("f4"), (3, 3))
    with pytest.raises(OSError, match="lacks"):
        kept[(slice(0, 6), slice(0, 6))]


def test_space_is_memory_as_long_as_that_is_little(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    space = Space(tmp_path)
    first = space.array((100,), np.dtype("f8"), (100,))
    assert isinstance(first, np.ndarray)
    second = space.array((100,), np.dtype("f8"), (100,))
    assert isinstance(second, Scratch)
    second[(slice(0, 100),)] = np.zeros(100)
    assert not os.listdir(tmp_path)  # it has no name
    del first
    assert isinstance(space.array((100,), np.dtype("f8"), (100,)), np.ndarray)


def test_no_room(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    with pytest.raises(OSError, match="No such file"):
        Space(tmp_path / "nowhere").array((9,), np.dtype("f4"), (9,))


@given(st.data())
def test_a_part_on_another_grid(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    steps = [data.draw(st.sampled_from([-1, 0, 1] if n > 4 else [0, int(n == 4)])) for n in shape]
    other = tuple(n + step for n, step in zip(shape, steps, strict=True))
    reference = np.random.default_rng(2).standard_normal(other).astype("f4")
    where = some_part(data, shape)
    found = grid.on_grid(InParts(reference), shape)[where]
    assert found.tobytes() == grid.onto(reference, shape)[where].tobytes()


@given(st.data())
def test_what_is_taken_of_parts(data):
    shape = data.draw(shapes)
    array = np.random.default_rng(3).standard_normal(shape).astype("f4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "TILE_VALUES", data.draw(st.integers(1, 60)))
        patch.setattr(parts, "_SEEN", data.draw(st.integers(1, 60)))
        for source in (array, InParts(array)):
            step = max(1, -(-array.size // parts._SEEN))
            assert np.array_equal(parts.rows_of(source), array.reshape(-1, shape[-1])[::step].reshape(-1))
            assert parts.span_of(source) == (array.min(), array.max())
            flat = np.random.default_rng(4).integers(array.size, size=20)
            assert np.array_equal(parts.values_at(source, flat), array.reshape(-1)[flat])


@given(st.data())
def test_boxes_of_folded_arrays(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=0, max_size=6)))
    full = folded(shape)
    array = np.arange(np.prod(full)).reshape(full)
    number = data.draw(st.integers(0, full[0] - 1))
    box = (slice(number, number + 1), *some_part(data, full[1:], 1))
    found = array.reshape(shape)[unfolded(box, full, shape)]
    assert np.array_equal(found.reshape(array[box].shape), array[box])
    wide, inner = haloed(box, full)
    assert np.array_equal(array[wide][inner], array[box])
    for near, far, n in zip(box[1:], wide[1:], full[1:], strict=True):
        assert (far.start, far.stop) == (max(near.start - 4, 0), min(near.stop + 4, n))


def related(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Two fields of which one follows from the other, and a third between its points."""
    rng = np.random.default_rng(8)
    a = (synthetic.waves(shape, rng, 8) + 0.05 * rng.standard_normal(shape)).astype("f4")
    b = (a * a + 0.01 * rng.standard_normal(shape)).astype("f4")
    return {"b": b, "a": a, "c": (b[..., 1:] + b[..., :-1]).astype("f4")}


@needs_torch
def test_scratch_files_change_no_byte(monkeypatch, tmp_path):
    monkeypatch.setattr(field, "TILE_VALUES", 6000)
    monkeypatch.setattr(scratch, "_PIECE", 500)
    fields, original = related((14, 30, 41)), tmp_path / "original.h5"
    with h5py.File(original, "w") as file:
        for name, values in fields.items():
            file.create_dataset(name, data=values, chunks=(5, 16, 16))
    made: list[list[Scratch]] = []
    honest, written = Scratch.__init__, []

    def noted(self: Scratch, *arguments: object) -> None:
        honest(self, *arguments)
        made[-1].append(self)

    monkeypatch.setattr(Scratch, "__init__", noted)
    for limit, threads in ((scratch.IN_MEMORY, 1), (0, 2)):
        monkeypatch.setattr(scratch, "IN_MEMORY", limit)
        made.append([])
        packed, back = tmp_path / f"packed{limit}.h5", tmp_path / f"back{limit}.h5"
        options = {"learned": True, "train_seconds": 0.2, "enhance": "offsets", "threads": threads}
        report = lz.compress_file(original, packed, {"*": lz.relative(1e-2)}, **options)
        assert any(row.references for row in report.fields)
        assert verify_file(original, packed, threads=threads).passed
        lz.decompress_file(packed, back, threads=threads)
        written.append([_contents(packed), _contents(back)])
    assert written[0] == written[1]
    assert not made[0]
    assert made[1]
    assert len(list(tmp_path.iterdir())) == 5  # scratch files have no name, and are gone


def _contents(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: file[name][...].tobytes() for name in file}
