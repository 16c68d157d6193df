"""Fields on staggered grids: means of neighbours, and fields that help one another across them."""

from __future__ import annotations

import itertools

import exact
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lossyzip as lz
from datasets import synthetic
from lossyzip import grid
from lossyzip.container.archive import unpack_related


def slow(field: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for axis, n in enumerate(shape):
        rows = list(np.moveaxis(field, axis, 0))
        if len(rows) == n:
            continue
        if len(rows) < n:
            rows = [rows[0], *rows, rows[-1]]
        half = field.dtype.type(0.5)
        means = [(a + b) * half for a, b in itertools.pairwise(rows)]
        field = np.moveaxis(np.stack(means), 0, axis)
    return field


@given(st.data())
def test_onto_another_grid(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    steps = [data.draw(st.sampled_from([-1, 0, 1] if n > 4 else [0, int(n == 4)])) for n in shape]
    other = tuple(n + step for n, step in zip(shape, steps, strict=True))
    assert grid.near(shape, other)
    assert grid.near(other, shape)
    dtype = data.draw(st.sampled_from(["f4", "f8", ">f4"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    field = rng.standard_normal(other).astype(dtype)
    found = grid.onto(field, shape)
    assert found.shape == shape
    assert (found == slow(field, shape)).all()


def test_what_is_no_staggered_grid():
    assert not grid.near((3, 4), (3, 6))
    assert not grid.near((3, 4), (3, 4, 1))
    assert not grid.near((3, 5), (4, 5))  # few values are no cells and faces
    assert grid.common([(4, 6), (5, 5)]) == (4, 5)


def test_fields_on_cells_and_faces_help_one_another(rng):
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    waves = synthetic.waves((20, 50, 51), rng, 8) + 0.05 * rng.standard_normal((20, 50, 51))
    faces = waves.astype(np.float32)
    cells = (0.5 * (waves[..., 1:] + waves[..., :-1]) ** 2).astype(np.float32)
    bound = lz.relative(1e-3)
    archive = lz.compress_fields({"u": faces, "energy": cells}, {"*": bound}, learned=True, train_seconds=2.0)
    _, graph = unpack_related(archive)
    assert any(graph.values())
    assert len(archive) < 0.8 * sum(len(lz.compress(field, bound)) for field in (faces, cells))
    for name, field in {"u": faces, "energy": cells}.items():
        decoded = lz.decompress_fields(archive, only=[name])[name]
        assert not exact.violations(field, decoded, exact.tolerance(field, "relative", 1e-3)).size
    known = lz.decompress(lz.compress(faces, bound))
    blob = lz.compress(cells, bound, references=[known], train_seconds=2.0)
    assert lz.verify(cells, blob, references=[known]).passed
    part = lz.decompress(blob, references=[known], region=np.s_[3:9, 7, ::-3])
    assert part.tobytes() == lz.decompress(blob, references=[known])[3:9, 7, ::-3].tobytes()
    with pytest.raises(lz.MissingReferenceError):
        lz.decompress(blob, references=[known[..., 1:]])
    with pytest.raises(lz.InvalidArgumentError, match="references are"):
        lz.compress(cells, bound, references=[known[1:, :-2]])
