"""Enhancers in models: trained once, taken for further snapshots, named by frames or in them."""

from __future__ import annotations

import importlib.util

import exact
import h5py
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from forgery import Parts

import lossyzip as lz
from datasets import synthetic
from lossyzip import second_pass
from lossyzip.cli import lossyzip as group
from lossyzip.container.archive import unpack_archive
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.learned import corrections
from lossyzip.learned import enhancement as training
from lossyzip.learned.model import Enhanced, Model

BOUNDS = {"*": lz.relative(0.02)}
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="models are trained with torch, which is not installed"
)


def field(seed: int) -> np.ndarray:
    """Alike for all seeds, but for noise."""
    rng, shape = np.random.default_rng(seed), (14, 40, 45)
    waves = synthetic.waves(shape, np.random.default_rng(3), 6)
    return (np.roll(waves, seed, 1) + 0.02 * rng.standard_normal(shape)).astype("<f4")


@pytest.fixture(scope="module")
def model() -> Model:
    """Of an enhancer for "a", and no networks."""
    blob = lz.compress(field(3), BOUNDS["*"], enhance="offsets", threads=1)
    own = unpack_sections(Parts.of(blob).header, "ABRSMLGNEKP")["E"]
    return Model((), (Enhanced("a", 0.02, own),))


def frame_of(fields: dict[str, np.ndarray], name: str, **options: object) -> bytes:
    return bytes(unpack_archive(lz.compress_fields(fields, BOUNDS, threads=1, **options))[name])


def test_a_frame_names_the_model_of_its_enhancer(model, monkeypatch):
    monkeypatch.setattr(training, "trained", lambda *_: pytest.fail("nothing is to be trained"))
    array = field(4)
    blob = frame_of({"a": array}, "a", model=model, enhance=True)
    about = lz.inspect(blob)
    assert (about.enhancer, about.model) == ("model", f"{model.checksum:016x}")
    assert about.sections["enhancer"] == 0
    enhanced, plain = lz.decompress(blob, model=model), lz.decompress(blob, enhance=False)
    squares = [np.square(array.astype(float) - some).mean() for some in (enhanced, plain)]
    assert squares[0] < 0.9 * squares[1]
    for decoded in (enhanced, plain):
        assert not exact.violations(array, decoded, about.eps).size
    assert plain.tobytes() == lz.decompress(lz.compress(array, BOUNDS["*"], threads=1)).tobytes()
    part = lz.decompress(blob, model=model, region=np.s_[3:5, ::2])
    assert part.tobytes() == enhanced[3:5, ::2].tobytes()
    assert lz.verify(array, blob, model=model).passed


def test_without_its_model_there_are_plain_values_alone(model):
    blob = frame_of({"a": field(4)}, "a", model=model, enhance=True)
    other = Model((), (model.enhanced[0]._replace(relative_eps=0.5),))
    for wrong in (None, other):
        with pytest.raises(lz.MissingModelError, match=f"{model.checksum:016x}"):
            lz.decompress(blob, model=wrong)
        assert lz.decompress(blob, model=wrong, enhance=False).shape == (14, 40, 45)
    with pytest.raises(lz.MissingModelError):
        lz.decompress(blob, region=np.s_[2])


def test_an_enhancer_is_put_into_the_frame(model):
    array = field(4)
    blob = frame_of({"a": array}, "a", model=model, enhance=True, embed_model=True)
    named = frame_of({"a": array}, "a", model=model, enhance=True)
    assert (lz.inspect(blob).enhancer, lz.inspect(blob).model) == ("offsets", "")
    assert lz.decompress(blob).tobytes() == lz.decompress(named, model=model).tobytes()
    assert len(blob) > len(named)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_frames_decode_alike_by_the_format(model, monkeypatch):
    monkeypatch.setattr(corrections.Price, "of", lambda *_: 0.0)  # a small field would have none
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)
    blob = frame_of({"a": field(4)[:6, :19, :20]}, "a", model=model, enhance=True)
    assert lz.inspect(blob).enhancer == "model"
    decoded = reference.decode_frame(blob, model=model.to_bytes())
    assert decoded.tobytes() == lz.decompress(blob, model=model).tobytes()


@pytest.mark.parametrize("objective", ["spectrum", "gradient"])
def test_objectives_judge_enhancers_of_models(model, objective):
    blob = frame_of({"a": field(4)}, "a", model=model, enhance=objective)
    about = lz.inspect(blob)
    assert about.enhancer in ("", "model")
    if about.enhancer:
        assert about.objective_errors is not None
        assert about.objective_errors[1] < about.objective_errors[0]


def test_an_enhancer_that_does_not_suit_is_left_out(model):
    noise = np.random.default_rng(0).standard_normal((14, 40, 45)).astype("<f4")
    tight = {"*": lz.relative(1e-4)}
    plain = lz.compress_fields({"a": noise}, tight, threads=1)
    assert lz.compress_fields({"a": noise}, tight, model=model, enhance=True, threads=1) == plain
    assert lz.compress_fields({"a": noise}, tight, model=model, threads=1) == plain


def test_all_cuts_and_flips_of_a_model_with_enhancers(model):
    data = model.to_bytes()
    assert Model.from_bytes(data) == model
    for size in range(len(data)):
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(data[:size])
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(bytes(flipped))


def test_forged_models_and_frames(model):
    good = model.enhanced[0]
    wrong = [(good, good), (good._replace(relative_eps=-1.0),), (good._replace(enhancer=b""),)]
    for enhanced in wrong:
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(Model((), enhanced).to_bytes())
    blob = frame_of({"a": field(4)}, "a", model=model, enhance=True)
    parts = Parts.of(blob)
    sections = unpack_sections(parts.header, "ABRSMLGNEKP")
    for place in (b"", sections["K"][:-1], sections["K"] + b"\0", sections["K"][:8] + b"\1"):
        forged = Parts(pack_sections(sections | {"K": place}), parts.tiles, parts.index, 0).forge()
        with pytest.raises(lz.DecodeError):
            lz.decompress(forged, model=model)
    both = Parts(pack_sections(sections | {"E": good.enhancer}), parts.tiles, parts.index, 0).forge()
    with pytest.raises(lz.CorruptError, match="two enhancers"):
        lz.inspect(both)


@needs_torch
def test_training_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_LEAST_SECONDS", 0.5)
    paths = [str(tmp_path / f"{seed}.h5") for seed in (3, 4)]
    for seed, path in zip((3, 4), paths, strict=True):
        with h5py.File(path, "w") as file:
            file["a"] = field(seed)
    made, packed, back = (str(tmp_path / name) for name in ("m.lzm", "packed.h5", "back.h5"))
    runner = CliRunner()

    def run(*arguments: str, code: int = 0) -> str:
        done = runner.invoke(group, arguments)
        assert done.exit_code == code, done.output
        return done.output

    bound = ("-b", "a=rel:0.02")
    told = run("train", paths[0], "-o", made, *bound, "--enhance", "--train-seconds", "1")
    assert "enhancers for: a (" in told
    assert "enhancers for: a (" in run("info", made)
    model = lz.train([{"a": field(3)}], BOUNDS, train_seconds=1, enhance=True)
    assert model.to_bytes() == (tmp_path / "m.lzm").read_bytes()
    run("compress", paths[1], "-o", packed, *bound, "--model", made, "--enhance")
    told = run("info", packed)
    assert "enhanced: +" in told
    assert f"needs the model {model.checksum:016x}" in told
    run("verify", paths[1], packed, "--model", made)
    squares = []
    for options in (["--model", made], ["--no-enhance"]):
        run("decompress", packed, "-o", back, "--force", *options)
        with h5py.File(back) as file:
            squares.append(np.square(file["a"][...].astype(float) - field(4)).mean())
    assert squares[0] < squares[1]
    with pytest.raises(lz.MissingModelError):
        lz.decompress_file(packed, back, force=True)
