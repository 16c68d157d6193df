"""Guides, whatever they are: the bound holds, and references are found by what they are."""

from __future__ import annotations

from typing import ClassVar

import exact
import numpy as np
import pytest
from forgery import Parts

import lossyzip as lz
from datasets import synthetic
from lossyzip import field, guide
from lossyzip.compressor import compress_field
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.decompressor import Frame

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


class Stub:
    """A network whose bytes are a name."""

    makers: ClassVar = {
        b"zero": lambda first: np.zeros_like(first),
        b"same": lambda first: first,
        b"negated": lambda first: -first,
        b"noise": lambda first: np.random.default_rng(first.size).standard_normal(first.shape),
        b"huge": lambda first: np.full_like(first, 3e38),
        b"doubled": lambda first: 2.0 * first,
    }

    def __init__(self, name: bytes) -> None:
        self._make, self.references = self.makers[name], 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Stub:
        if data not in cls.makers:
            raise lz.CorruptError(f"no network {data!r}")
        return cls(data)

    def guide(self, references: list[np.ndarray], where: tuple[slice, ...], latents: None) -> np.ndarray:
        return self._make(np.nan_to_num(references[0][where].astype(np.float64), posinf=9.0, neginf=-9.0))


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "Network", Stub)


def waves(dtype: str = "<f4", shape: tuple[int, ...] = (12, 40, 50)) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (synthetic.waves(shape, rng, 6) + 0.05 * rng.standard_normal(shape)).astype(dtype)


def guided(
    array: np.ndarray, bound: lz.Bound, name: bytes, reference: np.ndarray, **options: object
) -> bytes:
    parts: list[bytes] = []
    native = array.dtype.newbyteorder("=")
    compress_field(
        array, bound, parts.append, guide=guide.FieldGuide(name, [reference], array.shape, native), **options
    )
    return b"".join(parts)


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
@pytest.mark.parametrize("name", Stub.makers)
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_the_bound_holds_with_any_guide(dtype, name, effort, monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 6000)
    array = waves(dtype)
    array[3, 4, 5:9] = np.nan, np.inf, -0.0, -9999.0
    reference = waves(dtype) * 1.001
    for rel in (1e-2, 1e-6):
        bound = lz.relative(rel)
        blob = guided(array, bound, name, reference, effort=effort, fill_values=(-9999.0,))
        decoded = lz.decompress(blob, references=[reference])
        eps = exact.tolerance(array, "relative", rel, (-9999.0,))
        assert not exact.violations(array, decoded, eps, (-9999.0,)).size
        part = lz.decompress(blob, references=[reference], region=np.s_[2:5, 30:3:-2])
        assert part.tobytes() == decoded[2:5, 30:3:-2].tobytes()
        assert lz.verify(array, blob, fill_value=-9999.0, references=[reference]).passed


def test_a_guide_helps():
    array, reference = waves(), waves() + np.float32(0.001)
    assert len(guided(array, lz.absolute(0.01), b"same", reference)) < 0.1 * len(
        lz.compress(array, lz.absolute(0.01))
    )


def test_references_are_found_by_what_they_are():
    array, reference = waves(), waves() * 2
    blob = guided(array, lz.absolute(0.01), b"doubled", reference)
    right = lz.decompress(blob, references=[array, reference.astype(">f4")])
    assert right.tobytes() == lz.decompress(blob, references=[reference]).tobytes()
    wrong = reference.copy()
    wrong[3, 4, 5] = np.nextafter(wrong[3, 4, 5], 9)
    for references in ([], [array], [wrong], [reference[:5]], [reference.astype("<f8")]):
        with pytest.raises(lz.MissingReferenceError):
            lz.decompress(blob, references=references)
    with pytest.raises(lz.MissingReferenceError):
        lz.verify(array, blob)
    assert lz.inspect(blob).bound == "abs:0.01"


def test_other_bounds_with_a_guide(monkeypatch):
    array, reference = waves(), waves() * np.float32(1.01)
    blob = guided(array, lz.psnr(50), b"same", reference)
    assert lz.verify(array, blob, references=[reference]).psnr >= 50
    eps = np.where(np.arange(50) < 20, 0.1, 0.001)
    decoded = lz.decompress(guided(array, lz.absolute(eps), b"same", reference), references=[reference])
    assert (np.abs(decoded.astype("f8") - array) <= eps).all()
    masked = np.ma.masked_greater(array, 0.5)
    decoded = lz.decompress(guided(masked, lz.absolute(0.01), b"same", reference), references=[reference])
    assert np.array_equal(decoded.mask, masked.mask)
    assert np.abs(decoded.astype("f8") - masked).max() <= 0.01
    assert lz.decompress(guided(array, lz.lossless(), b"same", reference)).tobytes() == array.tobytes()
    for bound, options in ((lz.pointwise_relative(0.1), {}), (lz.absolute(0.1), {"idempotent": True})):
        with pytest.raises(lz.InvalidArgumentError):
            guided(array, bound, b"same", reference, **options)
    with pytest.raises(lz.UnsupportedDataError):
        guided(np.arange(60), lz.absolute(1), b"same", np.arange(60.0))


def test_tolerances_at_the_edge_of_the_type():
    """What is lost by a difference and a sum is taken off eps, whose rest may be nothing."""
    array = (1000 + waves()).astype(np.float32)
    for eps in (1e-5, 3e-5, 6.2e-5, 1.3e-4, 1e-3):
        blob = guided(array, lz.absolute(eps), b"noise", array)
        assert not exact.violations(array, lz.decompress(blob, references=[array]), eps).size


def test_forged_guides():
    array, reference = waves(), waves() * 2
    blob = guided(array, lz.absolute(0.01), b"doubled", reference)
    parts = Parts.of(blob)
    sections = unpack_sections(parts.header, "ABRSMLGNP")
    own = sections["G"]
    for forged in (
        b"",
        own[:7],
        own[:8],
        own[:9],
        own[:12],
        own[:8] + b"\0" + own[9:],
        own[:17],
        own[:17] + b"x",
    ):
        header = pack_sections({**sections, "G": forged})
        with pytest.raises(lz.DecodeError):
            lz.decompress(Parts(header, parts.tiles, parts.index, 0).forge(), references=[reference])
    assert Frame.of_bytes(blob).references == (guide.checksum(reference),)
