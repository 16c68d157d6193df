"""Enhancers that lie, and damaged ones: the bound holds, or an error is raised."""

from __future__ import annotations

import exact
import numpy as np
import pytest
from enhanced_fields import (
    FIELDS,
    FILL,
    compressed,
    forged,
)
from forgery import Parts
from hypothesis import given, settings
from hypothesis import strategies as st

import lossyzip as lz
from lossyzip import enhancement, field
from lossyzip.container.enhanced import Part, join, split
from lossyzip.container.frame import unpack_sections
from lossyzip.container.header import Header
from lossyzip.learned import corrections
from lossyzip.learned import enhancement as training
from lossyzip.learned.classify import CLASSES
from lossyzip.learned.enhancer import Enhancer
from lossyzip.learned.network import Layer
from lossyzip.learned.terms import KINDS, LIMITS, Feature

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def random_enhancer(rng: np.random.Generator, layers: int) -> Enhancer:
    kinds = tuple(Feature(0, kind) for kind in np.flatnonzero(rng.random(KINDS) < 0.4).tolist())
    width, hidden = len(kinds), []
    for channels in rng.integers(1, 5, layers).tolist():
        shape = (channels, width)
        weights, biases = rng.integers(-9, 10, shape), rng.integers(-50, 50, channels)
        hidden.append(Layer(weights, biases, rng.integers(0, 6, channels)))
        width = channels
    inputs = (width if hidden else 0) + len(LIMITS) * len(kinds)
    zero = np.zeros(1, np.int64)
    output = Layer(rng.integers(-9, 10, (1, inputs)), rng.integers(-50, 50, 1), zero)
    corrections = tuple(rng.integers(0, 33, CLASSES).tolist())
    zoom = int(rng.choice([0, 0, 0, 1, 5, 15]))
    return Enhancer(kinds, tuple(hidden), output, 7, int(rng.integers(0, 9)), corrections, zoom)


@st.composite
def hostile_tiles(draw):
    """(original, decoded within eps of it, eps) with values at the bound, spikes, plateaus and specials."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    shape = draw(st.sampled_from([(4, 5, 6), (1, 9, 1), (40,), (3, 2, 4, 5), (1, 1), ()]))
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8"])))
    eps = draw(st.sampled_from([1e-30, 1e-3, 0.5, 1.0, 1e20, 2.0**-20]))
    size = draw(st.sampled_from([0.0, 1.0, 30.0, 1e6]))
    original = (size * eps * rng.standard_normal(shape)).astype(dtype)
    errors = rng.choice([-1.0, 1.0, 0.0, 0.5, *rng.uniform(-1, 1, 4)], shape) * eps
    decoded = (original + errors).astype(dtype)
    original, decoded = np.atleast_1d(original), np.atleast_1d(decoded)
    for special in (np.nan, np.inf, -0.0, FILL, 1e37):
        where = rng.random(original.shape) < 0.05
        original[where] = decoded[where] = special
    bad = exact.violations(original, decoded, eps, (FILL,))
    decoded.reshape(-1)[bad] = original.reshape(-1)[bad]
    return original, decoded, eps


@given(hostile_tiles(), st.integers(0, 1 << 32), st.integers(0, 2))
@settings(max_examples=300)
def test_the_bound_holds_with_any_enhancer(tile, seed, layers):
    original, decoded, eps = tile
    usual = original[np.abs(original) < 1e36]
    low, high = (float(usual.min()) + 0.0, float(usual.max()) + 0.0) if usual.size else (0.0, 0.0)
    patterns = field.special_patterns(original.dtype, (FILL,))
    header = Header(
        *(original.dtype, original.shape, original.shape, lz.absolute(eps), eps, low, high),
        *(tuple(patterns.tolist()), "raster", b"", ()),
    )
    decoded = np.where(np.abs(decoded) < 1e36, np.clip(decoded, low, high), decoded).astype(original.dtype)
    decoded = np.where(original == 0, original, decoded)
    enhancer = Enhancer.from_bytes(random_enhancer(np.random.default_rng(seed), layers).to_bytes())
    moves = enhancement.Moves(decoded, header, enhancer)
    marks = enhancement.mark(moves, original.reshape(-1), eps, patterns)
    part = Part(7, enhancement.pack_marks(moves, marks))
    found, rest = split(join(part, b"plain"))
    assert (found, rest) == (part, b"plain")
    enhanced = enhancement.enhance(decoded, found, header, enhancer)
    plain_bad = exact.violations(original, decoded, eps, (FILL,))
    assert set(exact.violations(original, enhanced, eps, (FILL,))) <= set(plain_bad)


def test_a_lie_does_not_leave(monkeypatch):
    """Marks that say nothing: the door finds what would leave the bound."""
    monkeypatch.setattr(enhancement, "mark", lambda moves, *_: np.zeros(moves.moved.size, np.int32))
    with pytest.raises(lz.BoundViolationError):
        compressed(FIELDS["3d"])


def test_an_enhancer_that_does_not_pay_is_left_out(monkeypatch):
    array = FIELDS["3d"]
    rng = np.random.default_rng(0)
    liar = corrections.Judged(random_enhancer(rng, 1), 9.0, 9.0)
    monkeypatch.setattr(training, "train", lambda *_: liar)
    assert compressed(array) == compressed(array, False)


# Damage


def test_cut_and_flipped_frames_raise():
    blob = compressed(FIELDS["3d"])
    for size in range(0, len(blob), 7):
        with pytest.raises(lz.DecodeError):
            lz.decompress(blob[:size])
    for at in range(0, len(blob), 5):
        flipped = bytearray(blob)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(lz.DecodeError):
            lz.decompress(bytes(flipped))


def test_forged_enhancers_raise():
    blob = compressed(FIELDS["3d"])
    own = unpack_sections(Parts.of(blob).header, "ABRSMLGEP")["E"]
    wrong = [b"", own[:-1], own + b"\0", b"\x0f" + own[1:], bytes([own[0] | 0x30]) + own[1:], own[:9] * 50]
    for data in wrong:
        with pytest.raises(lz.DecodeError):
            lz.decompress(forged(blob, E=data))
    with pytest.raises(lz.DecodeError):
        lz.decompress(forged(blob, E=None))
    zero = b"\0" + bytes(8)
    with pytest.raises(lz.DecodeError):
        lz.decompress(forged(blob, B=zero))
    with pytest.raises(lz.DecodeError):
        lz.decompress(forged(compressed(FIELDS["3d"], False), E=own))


def test_sums_that_may_not_be_exact_are_refused():
    one = Layer(np.array([[1 << 20, 0, 0]]), np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(lz.CorruptError, match="exact"):
        Enhancer((Feature(0, 0),), (), one, 7, 0, (0,) * CLASSES)


def test_forged_marks_raise():
    blob = compressed(FIELDS["3d"])
    parts = Parts.of(blob)
    part, plain = split(parts.tiles[0].payload)
    assert part.content is not None
    for marks in (b"", part.marks[:-2], part.marks + b"\0\0", part.marks[:9] + part.marks[12:], b"\1" * 99):
        with pytest.raises(lz.DecodeError):
            lz.decompress(parts.with_payload(join(Part(part.content, marks), plain)))
    with pytest.raises(lz.ContentMismatchError):
        lz.decompress(parts.with_payload(join(Part(None, b""), plain)))
    with pytest.raises(lz.ContentMismatchError):
        lz.decompress(parts.with_payload(join(Part(1, part.marks), plain)), enhance=False)
    for payload in (b"", b"\xff\x7f", b"\3abc" + plain):
        with pytest.raises(lz.DecodeError):
            lz.decompress(parts.with_payload(payload))
