"""Fields that help one another: archives and files, only what is needed, and no help where there is none."""

from __future__ import annotations

import importlib.util
import json

import exact
import h5py
import numpy as np
import pytest

import lossyzip as lz
from datasets import synthetic
from lossyzip import scratch, trial
from lossyzip.container.archive import pack_archive, unpack_archive, unpack_related
from lossyzip.dataset import Learning, compress_related, needed_by
from lossyzip.decompressor import Frame
from lossyzip.io.verify import verify_file
from lossyzip.sample import Sample

SHAPE = (16, 40, 40)
BOUND = lz.relative(1e-3)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: nothing can be trained"
)


def state() -> dict[str, np.ndarray]:
    """Two fields that a third follows from, point by point, and noise."""
    rng = np.random.default_rng(5)
    a, b = (synthetic.waves(SHAPE, rng, 8) + 0.05 * rng.standard_normal(SHAPE) for _ in range(2))
    fields = {"c": a * a + np.abs(b), "a": a, "b": b, "noise": rng.standard_normal(SHAPE)}
    return {name: field.astype(np.float32) for name, field in fields.items()}


@pytest.fixture(scope="module")
def archive() -> bytes:
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    return lz.compress_fields(state(), {"*": BOUND}, learned=True, train_seconds=2.0)


def test_what_follows_from_others_is_smaller(archive):
    fields = state()
    frames, graph = unpack_related(archive)
    assert list(frames) == list(fields)
    helped = {name for name, references in graph.items() if references}
    assert helped
    assert "noise" not in helped
    assert all("noise" not in references for references in graph.values())
    alone = {name: len(lz.compress(field, BOUND)) for name, field in fields.items()}
    for name, frame in frames.items():
        assert len(frame) < alone[name] if name in helped else len(frame) == alone[name]
    assert min(len(frames[name]) / alone[name] for name in helped) < 0.8
    assert len(archive) < 0.95 * sum(alone.values())


def test_every_value_is_within_its_bound(archive):
    fields, decoded = state(), lz.decompress_fields(archive)
    for name, field in fields.items():
        eps = exact.tolerance(field, "relative", BOUND.value)
        assert not exact.violations(field, decoded[name], eps).size


@pytest.mark.parametrize("limit", [0, 1 << 28])
def test_only_what_a_field_depends_on_is_decoded(archive, monkeypatch, limit):
    graph = unpack_related(archive)[1]
    everything, calls, honest = lz.decompress_fields(archive), [], Frame.tiles
    monkeypatch.setattr(scratch, "IN_MEMORY", limit)
    monkeypatch.setattr(Frame, "tiles", lambda *a, **k: calls.append(a) or honest(*a, **k))
    for name in everything:
        calls.clear()
        (found,) = lz.decompress_fields(archive, only=[name]).values()
        assert found.tobytes() == everything[name].tobytes()
        assert len(calls) == len(needed_by([name], graph))


def test_a_region_decodes_what_it_needs(monkeypatch):
    monkeypatch.setattr("lossyzip.field.TILE_VALUES", 1500)
    a = state()["a"]
    fields = {"b": (2 * a + 0.01 * state()["b"]).astype("f4"), "a": a, "counts": np.arange(5)}
    options = {"learned": True, "train_seconds": 0, "enhance": "offsets"}
    blob = lz.compress_fields(fields, {"*": lz.absolute(0.02)}, **options)
    frames, graph = unpack_related(blob)
    ((name, _),) = ((name, needs) for name, needs in graph.items() if needs)
    whole, calls, honest = lz.decompress_fields(blob), [], Frame._decode
    monkeypatch.setattr(Frame, "_decode", lambda *a: calls.append(a) or honest(*a))
    del whole["counts"]
    for region in (np.s_[3:5, 7, ::-3], np.s_[-1], np.s_[..., 2:2], np.s_[5, 6, 7]):
        for threads in (1, 2):
            found = lz.decompress_fields(blob, only=whole, region=region, threads=threads)
            for key, values in found.items():
                assert np.array_equal(values, whole[key][region])
    calls.clear()
    lz.decompress_fields(blob, only=[name], region=np.s_[5, 6, 7])
    assert len(calls) == 2  # a tile of each
    assert Frame.of_bytes(bytes(frames[name])).tile_count > 10
    twice = {**graph, name: graph[name] * 2}  # as no archive of ours says it
    again = pack_archive({key: bytes(frame) for key, frame in frames.items()}, twice)
    part = lz.decompress_fields(again, only=[name], region=np.s_[3:5, 7])[name]
    assert np.array_equal(part, whole[name][3:5, 7])


def test_a_region_where_references_are_in_another_order():
    a, b = state()["a"], state()["b"]
    fields = {"sum": (a + b).astype("f4"), "a": a, "b": b}
    blob = lz.compress_fields(fields, {"*": lz.absolute(0.02)}, learned=True, train_seconds=0)
    frames, graph = unpack_related(blob)
    assert max(map(len, graph.values())) == 2
    turned = {name: needs[::-1] for name, needs in graph.items()}
    again = pack_archive({name: bytes(frame) for name, frame in frames.items()}, turned)
    whole = lz.decompress_fields(blob)
    for name, part in lz.decompress_fields(again, region=np.s_[2:9, 4]).items():
        assert np.array_equal(part, whole[name][2:9, 4])


def test_the_same_seed_gives_the_same_bytes(archive):
    again = [
        lz.compress_fields(state(), {"*": BOUND}, learned=True, train_seconds=2.0, threads=threads)
        for threads in (1, 2)
    ]
    assert again == [archive, archive]


@needs_torch
def test_one_field_with_references():
    fields = state()
    references = [lz.decompress(lz.compress(fields[name], BOUND)) for name in ("a", "b")]
    blob = lz.compress(fields["c"], BOUND, references=references, train_seconds=2.0)
    assert len(blob) < 0.8 * len(lz.compress(fields["c"], BOUND))
    decoded = lz.decompress(blob, references=references[::-1])
    assert lz.verify(fields["c"], blob, references=references).passed
    part = lz.decompress(blob, references=references, region=np.s_[3:9, 7, ::-3])
    assert part.tobytes() == decoded[3:9, 7, ::-3].tobytes()
    with pytest.raises(lz.MissingReferenceError):
        lz.decompress(blob, references=references[:1])
    with pytest.raises(lz.InvalidArgumentError, match="references are"):
        lz.compress(fields["c"], BOUND, references=[references[0][2:]])


@needs_torch
def test_a_single_value_with_a_reference():
    value, known = np.float32(3.5), np.array(3.0, np.float32)
    blob = lz.compress(value, lz.absolute(0.1), references=[known], train_seconds=0.1)
    assert abs(float(lz.decompress(blob, references=[known])) - 3.5) <= 0.1


@needs_torch
@pytest.mark.parametrize("what", ["noise", "zero", "constant", "nan", "itself negated"])
def test_references_that_are_of_no_use_cost_nothing(what):
    field = state()["a"]
    rng = np.random.default_rng(1)
    reference = {
        "noise": rng.standard_normal(SHAPE).astype("f4"),
        "zero": np.zeros(SHAPE, "f4"),
        "constant": np.full(SHAPE, 3e38, "f4"),
        "nan": np.full(SHAPE, np.nan, "f4"),
        "itself negated": -field,
    }[what]
    blob = lz.compress(field, BOUND, references=[reference], train_seconds=0.2)
    assert len(blob) <= len(lz.compress(field, BOUND))
    assert lz.verify(field, blob, references=[reference]).passed


@needs_torch
def test_fields_that_cannot_help_are_left_alone(rng):
    fields = {
        "a": state()["a"],
        "counts": np.arange(16 * 1600).reshape(SHAPE),
        "half": state()["b"].astype(np.float16),
        "other shape": state()["b"][1:],
        "tiny": np.arange(5.0),
        "exact": state()["b"],
        "masked": np.ma.masked_greater(state()["c"], 1.0),
    }
    bounds = {"exact": lz.lossless(), "*": BOUND}
    blob = lz.compress_fields(fields, bounds, learned=True, train_seconds=0.5)
    decoded = lz.decompress_fields(blob)
    assert np.array_equal(decoded["masked"].mask, fields["masked"].mask)
    for name, field in fields.items():
        assert (decoded[name].dtype, decoded[name].shape) == (field.dtype, field.shape)
    assert not any(
        unpack_related(blob)[1].get(name) for name in ("counts", "half", "other shape", "tiny", "exact")
    )


@needs_torch
def test_bounds_that_nothing_helps():
    fields = {**state(), "constant": np.full(SHAPE, 3.0, np.float32)}
    with pytest.raises(lz.InvalidArgumentError, match="idempotent"):
        lz.compress_fields(fields, {"*": BOUND}, learned=True, idempotent=True)
    bounds = {"a": lz.absolute(0), "constant": BOUND, "b": lz.pointwise_relative(0.1), "*": BOUND}
    decoded = lz.decompress_fields(lz.compress_fields(fields, bounds, learned=True, train_seconds=0.2))
    assert decoded["a"].tobytes() == fields["a"].tobytes()
    for bound in (lz.lossless(), lz.absolute(0)):
        blob = lz.compress(fields["c"], bound, references=[fields["a"]])
        assert lz.decompress(blob).tobytes() == fields["c"].tobytes()
    with pytest.raises(lz.InvalidArgumentError, match="pointwise"):
        lz.compress(fields["c"], lz.pointwise_relative(0.1), references=[fields["a"]])


@needs_torch
def test_masked_references():
    fields = state()
    sea = np.ma.masked_less(fields["a"], -1.0)
    reference = lz.decompress(lz.compress(sea, BOUND))
    blob = lz.compress(sea * 2 + 1, BOUND, references=[reference], train_seconds=0.5)
    assert len(blob) < 0.8 * len(lz.compress(sea, BOUND))
    decoded = lz.decompress(blob, references=[reference])
    assert np.array_equal(decoded.mask, sea.mask)
    assert lz.verify(sea * 2 + 1, blob, references=[reference]).passed


def test_seconds_that_are_none():
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(lz.InvalidArgumentError, match="seconds"):
            compress_related(state(), dict.fromkeys(state(), BOUND), Learning(seconds))


# Graphs


def test_an_order_in_which_all_can_be_decoded():
    graph = {"d": ("b", "c"), "b": ("a",), "c": ("a", "b")}
    assert needed_by(["d"], graph) == ["a", "b", "c", "d"]
    assert needed_by(["c", "a", "x"], graph) == ["a", "b", "c", "x"]
    chain = {str(k): (str(k + 1),) for k in range(5000)}
    assert needed_by(["0"], chain)[0] == "5000"
    for circle in ({"a": ("a",)}, {"a": ("b",), "b": ("c",), "c": ("a",)}):
        with pytest.raises(lz.CorruptError, match="refers to itself"):
            needed_by(["a"], circle)


def test_forged_graphs(archive):
    frames = {name: bytes(frame) for name, frame in unpack_archive(archive).items()}
    names = list(frames)
    circle = {names[0]: (names[1],), names[1]: (names[0],)}
    with pytest.raises(lz.CorruptError, match="itself"):
        lz.decompress_fields(pack_archive(frames, circle))
    with pytest.raises(lz.MissingReferenceError):
        lz.decompress_fields(pack_archive(frames, {}))


# Files


@needs_torch
def test_files(tmp_path):
    original, packed, back = (tmp_path / name for name in ("in.h5", "packed.h5", "back.h5"))
    with h5py.File(original, "w") as file:
        for name, field in state().items():
            file[f"run/{name}"] = field
    options = {"learned": True, "train_seconds": 2.0}
    report = lz.compress_file(original, packed, {"*": BOUND}, **options)
    (row,) = (row for row in report.fields if row.references)
    assert "smaller with the help of" in row.note
    with h5py.File(packed) as file:
        needs = json.loads(file[row.name].attrs["lossyzip_references"])
    assert tuple(needs) == row.references
    assert verify_file(original, packed).passed
    lz.decompress_file(packed, back)
    with h5py.File(back) as restored:
        assert "lossyzip_references" not in restored[row.name].attrs
        for name, field in state().items():
            eps = exact.tolerance(field, "relative", BOUND.value)
            assert not exact.violations(field, restored[f"run/{name}"][...], eps).size
    lz.decompress_file(packed, back, only=[row.name], force=True)
    lz.decompress_file(packed, back, only=[row.references[0]], force=True)
    again = tmp_path / "again.h5"  # now the reference is no frame, but the values it had
    lz.decompress_file(back, again)
    with h5py.File(again) as restored:
        field = state()[row.name.removeprefix("run/")]
        assert not exact.violations(
            field, restored[row.name][...], exact.tolerance(field, "relative", 1e-3)
        ).size
    with h5py.File(back, "a") as file:
        del file[row.references[0]]
    with pytest.raises(lz.MissingReferenceError):
        lz.decompress_file(back, again, force=True)


@needs_torch
@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_samples_say_about_what_whole_fields_take(rng, seconds):
    shape = (70, 70, 70)  # of which a sample is a part
    a, noise = (rng.standard_normal(shape).cumsum(axis).astype("f4") for axis in (0, 1))
    fields = {"a": a, "noise": noise, "b": (2 * a + 0.01 * noise).astype("f4")}
    bounds = dict.fromkeys(fields, lz.relative(1e-2))
    sample = Sample(fields, bounds, 0, seconds, {"effort": "max"})
    alone = sample.given(2, frozenset())
    assert not alone.used
    assert alone.bytes == pytest.approx(len(lz.compress(fields["b"], bounds["b"])), rel=0.3)
    told = sample.given(2, frozenset({0, 1}))
    assert 0 in told.used
    assert told.bytes < 0.9 * alone.bytes
    assert sample.given(2, frozenset({1})) == alone


@needs_torch
def test_a_network_that_is_not_subtracted_is_decoded():
    fields = state()
    reference = lz.decompress(lz.compress(fields["a"], BOUND))
    told = trial.told_by(fields["b"], BOUND, [reference], range(1), {})
    found = trial.guided(fields["b"], BOUND, [reference], told, 0.2, 0, {}, subtracted=False)
    guided = Frame.of_bytes(found.frame).guided
    assert guided is None or not guided.subtracted
    assert lz.verify(fields["b"], found.frame, references=[reference]).passed
