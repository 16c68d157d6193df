"""Enhancers: values come nearer to the original's, and every one of them stays within the bound."""

from __future__ import annotations

import dataclasses
import importlib.util

import h5py
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from enhanced_fields import (
    FIELDS,
    FILL,
    assert_within,
    compressed,
    forged,
    mean_square,
    needs_torch,
    waves,
    with_specials,
)
from forgery import Parts

import lossyzip as lz
from lossyzip import compressor, enhancing_pass, field, second_pass
from lossyzip.cli import lossyzip as group
from lossyzip.container.frame import unpack_sections
from lossyzip.learned import corrections, observations
from lossyzip.learned import enhancement as training
from lossyzip.learned.enhancer import Enhancer

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_LEAST_SECONDS", 0.5)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kind", ["offsets", pytest.param("network", marks=needs_torch)])
def test_values_are_nearer_and_both_sets_of_them_within_the_bound(name, kind, monkeypatch):
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)  # some are too small for a network
    array = FIELDS[name]
    blob, plainly = compressed(array, kind), compressed(array, False)
    about = lz.inspect(blob)
    assert about.enhancer == kind
    assert about.sections["enhancer"] > 0
    assert about.sections["marks"] > 0
    assert sum(about.sections.values()) == len(blob)
    enhanced, plain = lz.decompress(blob), lz.decompress(blob, enhance=False)
    for decoded in (enhanced, plain):
        assert_within(array, decoded, about.eps)
        assert decoded.dtype == array.dtype
    assert np.ma.getdata(plain).tobytes() == np.ma.getdata(lz.decompress(plainly)).tobytes()
    gain = 10 * np.log10(mean_square(array, plain) / mean_square(array, enhanced))
    assert gain > 0.1
    assert gain == pytest.approx(about.psnr_gain, abs=0.05) or name == "specials"
    assert len(blob) < 1.4 * len(plainly)
    verified = lz.verify(array, blob, fill_value=FILL)
    assert verified.passed
    assert verified.max_error == about.max_error <= about.eps


SMALL = {
    "3d": waves(6, 19, 20),
    "float64": waves(6, 19, 20, dtype="<f8"),
    "big-endian": waves(2, 1, 6, 13, 15, dtype=">f4"),
    "2d": waves(45, 1, 50),
    "1d": np.sin(np.arange(2300) * 0.2 + 0.05 * np.sin(np.arange(2300) * 0.7)).astype("<f4"),
    "specials": with_specials(waves(10, 30, 9)),
    "masked": np.ma.masked_greater(waves(7, 19, 20), 0.5),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", ["offsets", pytest.param("network", marks=needs_torch)])
def test_frames_decode_alike_by_the_format(name, kind, monkeypatch):
    monkeypatch.setattr(corrections.Price, "of", lambda *_: 0.0)  # small fields would have none
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)
    monkeypatch.setattr(training, "FEWEST", 500)
    blob = compressed(SMALL[name], kind)
    assert lz.inspect(blob).enhancer == kind
    for plain in (False, True):
        expected, decoded = lz.decompress(blob, enhance=not plain), reference.decode_frame(blob, plain=plain)
        assert np.ma.getdata(decoded).tobytes() == np.ma.getdata(expected).tobytes()


def test_noise_is_not_enhanced():
    array = np.random.default_rng(0).standard_normal((20, 40, 40)).astype("<f4")
    assert compressed(array, True, 0.001) == compressed(array, False, 0.001)


# What may have one, and how it is asked for


@pytest.mark.parametrize(
    ("array", "bound"),
    [
        (np.arange(4000).reshape(40, 100) % 77, lz.absolute(3)),
        (waves(40, 100).astype("<f2"), lz.absolute(0.02)),
        (waves(40, 100) + 1j * waves(40, 100, seed=4), lz.absolute(0.02)),
        (waves(40, 100), lz.lossless()),
        (waves(40, 100), lz.absolute(0.0)),
        (np.exp(waves(40, 100)), lz.pointwise_relative(0.02)),
        (waves(40, 100), lz.absolute(np.where(np.arange(100) < 50, 0.02, 0.1))),
        (np.full((40, 100), 2.5), lz.absolute(0.1)),
        (np.full((40, 100), np.nan), lz.absolute(0.1)),
        (waves(3, 5), lz.relative(0.1)),
        (np.zeros((0, 4)), lz.absolute(0.1)),
        (np.array(2.5), lz.absolute(0.1)),
        (waves(40, 100), lz.absolute(5e-324)),
    ],
)
def test_where_there_is_none_the_bytes_are_the_same(array, bound):
    blob = lz.compress(array, bound, enhance=True, threads=1)
    assert blob == lz.compress(array, bound, threads=1)
    assert lz.inspect(blob).enhancer == ""
    assert lz.inspect(blob).psnr_gain == 0.0


def test_what_cannot_be_is_refused():
    for kind in ("spectra", "", None, 1):
        with pytest.raises(lz.InvalidArgumentError):
            compressed(FIELDS["3d"], kind)
    with pytest.raises(lz.InvalidArgumentError):
        compressed(FIELDS["3d"], True, idempotent=True)
    with pytest.raises(lz.InvalidArgumentError):
        compressed(FIELDS["3d"], True, train_seconds=-1)


def test_without_torch_there_are_offsets(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert lz.inspect(compressed(FIELDS["3d"], True)).enhancer == "offsets"
    assert compressed(FIELDS["3d"], "network") == compressed(FIELDS["3d"], False)


@needs_torch
def test_the_seed_decides_and_threads_do_not(monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 6000)
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)  # it is too small for a network
    array = waves(20, 44, 48)
    blob = compressed(array, "network", seed=1)
    assert lz.inspect(blob).tile_count > 3
    assert blob == compressed(array, "network", seed=1, threads=2)
    assert blob != compressed(array, "network", seed=2)
    whole = lz.decompress(blob, threads=2)
    for region in (np.s_[2:9, 7:30], np.s_[..., 44], np.s_[::-3, 5, ::2]):
        assert lz.decompress(blob, region=region).tobytes() == whole[region].tobytes()
        plain = lz.decompress(blob, enhance=False)[region]
        assert lz.decompress(blob, region=region, enhance=False).tobytes() == plain.tobytes()


def test_a_guided_field_may_be_enhanced():
    array = FIELDS["3d"]
    other = array + waves(14, 40, 45, noise=0.3, seed=9)
    blob = compressed(array, references=[other])
    enhanced = lz.decompress(blob, references=[other])
    assert lz.inspect(blob).enhancer == "offsets"
    assert_within(array, enhanced, lz.inspect(blob).eps)
    assert_within(array, lz.decompress(blob, references=[other], enhance=False), lz.inspect(blob).eps)


def guided(train_seconds: float) -> tuple[np.ndarray, np.ndarray, bytes, bytes]:
    """(a field, what it refers to, its frame, and that of an enhancer that sees no guides)"""
    array = waves(8, 22, 24, noise=0.1)
    other = (array + waves(8, 22, 24, noise=0.02, seed=9) / 9).astype(array.dtype)
    options = {"references": [other], "rel": 0.05, "train_seconds": train_seconds}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrections.Price, "of", lambda *_: 0.0)  # a small field would have none
        patch.setattr(second_pass, "_cheaper", lambda *_: True)
        seen = compressed(array, "offsets", **options)
        patch.setattr(observations, "view_of", lambda *_: observations.View())
        return array, other, seen, compressed(array, "offsets", **options)


@pytest.mark.parametrize("train_seconds", [0, pytest.param(2, marks=needs_torch)])
def test_guides_tell_an_enhancer_more(train_seconds):
    array, other, blob, blind = guided(train_seconds)
    sections = (unpack_sections(Parts.of(some).header, "ABRSMLGEP") for some in (blob, blind))
    seen, unseen = (Enhancer.from_bytes(some["E"]) for some in sections)
    assert seen.guides
    assert not unseen.guides
    squares = []
    for some in (blob, blind):
        enhanced = lz.decompress(some, references=[other])
        assert_within(array, enhanced, lz.inspect(some).eps)
        squares.append(mean_square(array, enhanced))
    assert squares[0] < 0.95 * squares[1]


@pytest.mark.parametrize("train_seconds", [0, pytest.param(2, marks=needs_torch)])
def test_enhancers_that_see_guides_decode_alike_by_the_format(train_seconds):
    _, other, blob, _ = guided(train_seconds)
    for plain in (False, True):
        expected = lz.decompress(blob, enhance=not plain, references=[other])
        decoded = reference.decode_frame(blob, [other], plain=plain)
        assert decoded.tobytes() == expected.tobytes()


def test_guides_that_are_not_there_are_an_error():
    own = unpack_sections(Parts.of(guided(0)[2]).header, "ABRSMLGEP")["E"]
    assert Enhancer.from_bytes(own).guides
    with pytest.raises(lz.CorruptError, match="guide"):
        lz.decompress(forged(compressed(FIELDS["3d"]), E=own))


@pytest.mark.parametrize("name", ["3d", "masked"])
@pytest.mark.parametrize("db", [34, 50])
def test_a_psnr_is_reached_in_fewer_bytes(name, db):
    array = FIELDS[name]
    blob = lz.compress(array, lz.psnr(db), enhance="offsets", threads=1)
    about = lz.inspect(blob)
    assert about.enhancer == "offsets"
    assert "marks" not in about.sections or about.sections["marks"] <= 5 * about.tile_count
    assert len(blob) < len(lz.compress(array, lz.psnr(db), threads=1))
    kept = ~np.ma.getmaskarray(array)
    values, decoded = (np.ma.getdata(some)[kept].astype(float) for some in (array, lz.decompress(blob)))
    assert 10 * np.log10(np.ptp(values) ** 2 / np.square(values - decoded).mean()) >= db
    assert np.abs(values - decoded).max() <= about.eps
    assert lz.verify(array, blob).passed


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("db", [34, 44])
def test_enhanced_to_a_psnr_decodes_alike_by_the_format(db, monkeypatch):
    monkeypatch.setattr(corrections.Price, "of", lambda *_: 0.0)
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)
    array = waves(8, 24, 25)
    judged = second_pass.enhanced
    monkeypatch.setattr(second_pass, "enhanced", lambda *arguments: judged(*arguments[:5]))
    blob = lz.compress(array, lz.psnr(db), enhance="offsets", threads=1)
    assert lz.inspect(blob).enhancer == "offsets"
    for plain in (False, True):
        expected, decoded = lz.decompress(blob, enhance=not plain), reference.decode_frame(blob, plain=plain)
        assert decoded.tobytes() == expected.tobytes()


def test_a_smaller_eps_that_is_cheaper_has_the_last_word(monkeypatch):
    array = FIELDS["3d"]
    assert lz.inspect(compressed(array, "offsets")).enhancer == "offsets"
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: False)
    assert compressed(array, "offsets") == compressed(array, False)


def test_whether_a_smaller_eps_is_cheaper():
    class Checked:
        def __init__(self, psnr):
            self.psnr = psnr

        def report(self):
            return self

    def written(size, psnr, gain=0.0):
        header = dataclasses.make_dataclass("Header", ["eps"])(1.0)
        return compressor.Written(header, size, Checked(psnr), 0.0, 0.0, gain)

    plain = written(1000, 40.0)

    def finer(eps):
        assert eps == pytest.approx(10 ** (-0.1))  # 2 dB
        return written(1210, 44.0)  # 10 % for each 2 dB

    assert second_pass._cheaper(plain, written(1095, 42.0, 2.0), finer)
    assert not second_pass._cheaper(plain, written(1105, 42.0, 2.0), finer)
    assert not second_pass._cheaper(plain, written(1001, 42.0, 2.0), lambda eps: written(990, 44.0))
    # with another plan, whose own values were at 43 and at 38 dB: what is gained over the plain frame counts
    assert second_pass._cheaper(plain, written(1095, 42.0, -1.0), finer)
    assert not second_pass._cheaper(plain, written(900, 40.0, 2.0), finer)


def test_many_fields_and_files(tmp_path):
    arrays = {"a": FIELDS["3d"], "b": FIELDS["float64"], "n": np.arange(5000)}
    bounds = {"n": lz.lossless(), "*": lz.relative(0.02)}
    for learned in (False, True):
        archive = lz.compress_fields(arrays, bounds, enhance="offsets", learned=learned, train_seconds=1)
        for enhance in (True, False):
            back = lz.decompress_fields(archive, enhance=enhance)
            for name in ("a", "b"):
                assert_within(arrays[name], back[name], 0.02 * float(np.ptp(arrays[name])))
            assert back["n"].tobytes() == arrays["n"].tobytes()
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["a"] = arrays["a"]
    source, target, back = (str(tmp_path / name) for name in ("in.h5", "out.h5", "back.h5"))
    runner = CliRunner()

    def run(*arguments: str) -> str:
        done = runner.invoke(group, arguments)
        assert done.exit_code == 0, done.output
        return done.output

    assert "enhanced: +" in run("compress", source, "-o", target, "-b", "a=rel:0.02", "--enhance")
    assert "enhanced: +" in run("info", target)
    run("verify", source, target)
    squares = []
    for options in ([], ["--no-enhance"]):
        run("decompress", target, "-o", back, "--force", *options)
        with h5py.File(back) as file:
            squares.append(mean_square(arrays["a"], file["a"][...]))
    assert squares[0] < squares[1]


def test_prices_are_what_bytes_are_worth():
    """One percent more bytes for 0.1 dB: a gain of less than that is none."""
    price = corrections.Price(0.1, 1000, 80_000, 1)
    assert price.of(10) == pytest.approx(0.1)
    assert enhancing_pass.where_size((slice(2, 5), slice(0, 4))) == 12
