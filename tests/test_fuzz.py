"""The fuzzer's mutator, without a fuzzer: what it makes gets as far as it should, and does no harm.

How to run it under one: fuzz.py; what came of that: docs/GUARANTEES.md.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import forgery
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutator import mutate, read
from small_frames import ARCHIVE, FRAMES

import lossyzip as lz
from lossyzip.container import archive

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
GOLDEN = Path(__file__).parent / "golden"
GUIDED, LATENTS = ((GOLDEN / name).read_bytes() for name in ("guided.lza", "latents.lz"))
SEEDS = [*FRAMES.values(), ARCHIVE, GUIDED, LATENTS]
CASES = 2000


def mutant(number: int) -> bytes:
    rng = random.Random(number)
    data = rng.choice(SEEDS)
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = mutate(data, rng, SEEDS)
    return data


def outcome(data: bytes) -> str:
    """Where a decoder stops: the message without its numbers."""
    decode = lz.decompress_fields if data[:4] == archive.MAGIC else lz.decompress
    try:
        decode(data, threads=1)
    except lz.DecodeError as error:
        words = str(error).split()
        return " ".join([type(error).__name__, *(word for word in words if word.isalpha())])
    return "decoded"


@given(st.integers(0, 1 << 40))
@settings(max_examples=1000)
def test_whatever_the_mutator_makes_raises_a_decode_error_or_is_decoded(number):
    read(mutant(number))


def test_mutants_are_stopped_everywhere():
    """Neither most of them by a checksum, nor all by the first check behind it."""
    found = Counter(outcome(mutant(number)) for number in range(CASES))
    damaged = sum(count for name, count in found.items() if "damaged" in name)
    assert damaged < CASES / 5
    assert found["decoded"] < CASES / 5
    assert found["ContentMismatchError tile does not decode to the values that were checked"] > CASES / 50
    assert sum("stream of codes" in name for name in found) > 3
    assert len(found) > 40


def test_a_mutant_can_be_made_again():
    assert [mutant(number) for number in range(20)] == [mutant(number) for number in range(20)]


@pytest.mark.parametrize("name", FRAMES)
def test_parts_fit_together_again(name):
    parts = forgery.Parts.of(FRAMES[name])
    assert parts.forge() == FRAMES[name]
    for tile in parts.tiles:
        payload = forgery.Payload.of(tile.payload)
        assert payload.to_bytes() == tile.payload
        mixed = payload.codes[:1] in (b"\0", b"\1")
        if not payload.flags & (forgery.LOSSLESS | forgery.MARGINS) and not mixed:
            assert forgery.Codes.of(payload.codes).to_bytes() == payload.codes
