"""Whatever lossyzip's parts do, no value outside the bound gets past the door.

Lies of the encoder and the decoder end in an error; lies about predictions, told to both alike, cost bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import exact
import hostile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossyzip as lz
from lossyzip import carrier, field, tile, tuning
from lossyzip.decompose import families, interpolation, passes, regression, wavelet
from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.interpolation import PHASES, Multigrid
from lossyzip.decompose.regression import CLASSES, Raster
from lossyzip.decompose.stencil import SHIFTS, Weights
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy import lossless, stream

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FILL = -9999.0


def make_fields() -> dict[str, tuple[np.ndarray, float]]:
    """Name -> (field, relative bound): both families, with specials and without, few outliers and many."""
    rng = np.random.default_rng(5)
    t = np.linspace(0.0, 6.0, 10 * 12 * 14).reshape(10, 12, 14)
    smooth = (np.sin(t * 40) + np.cos(t * 3)).astype(np.float32)
    special = smooth + 0.01 * rng.standard_normal(t.shape, np.float32)
    special[3:6, 4] = FILL
    special[rng.random(t.shape) < 0.02] = np.nan
    special[rng.random(t.shape) < 0.01] = -0.0
    rough = 300.0 + np.cumsum(rng.standard_normal((30, 40)), axis=1)
    return {
        "smooth": (smooth, 1e-3),
        "special": (special, 1e-2),
        "rough": (rough, 1e-2),
        "exact": (rng.standard_normal((30, 40), np.float32), 0.0),
        "integers": (rng.integers(0, 9, (30, 40)).astype(np.float32), 0.0625),  # eps is 0.5
    }


FIELDS = make_fields()


@pytest.fixture(params=FIELDS)
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, float]:
    return FIELDS[request.param]


def compress(case: tuple[np.ndarray, float]) -> bytes | None:
    """None where lossyzip says that it failed."""
    try:
        return lz.compress(case[0], lz.relative(case[1]), fill_value=FILL, threads=1)
    except lz.LossyZipError:
        return None


def assert_honest(case: tuple[np.ndarray, float], blob: bytes | None) -> None:
    """An honest decoder finds values within the bound in ``blob``, or says that it cannot."""
    if blob is None:
        return
    try:
        decoded = lz.decompress(blob)
    except lz.DecodeError:
        return
    eps = exact.tolerance(case[0], "relative", case[1], (FILL,))
    assert not exact.violations(case[0], decoded, eps, (FILL,)).size


def patched(part: tuple[object, str], make: Callable[[Callable], Callable]) -> pytest.MonkeyPatch:
    """Put ``make(what was there)`` in the place of ``part``; undo it when done."""
    patch = pytest.MonkeyPatch()
    patch.setattr(*part, make(getattr(*part)))
    return patch


def test_without_lies_all_is_well(case):
    blob = compress(case)
    assert blob is not None
    eps = exact.tolerance(case[0], "relative", case[1], (FILL,))
    assert not exact.violations(case[0], lz.decompress(blob), eps, (FILL,)).size


# Lies of the decoder


@pytest.mark.parametrize("lie", hostile.LIES)
@pytest.mark.parametrize(
    "part", [(tile, "decode_tile"), (tile, "recompose"), (lossless, "unpack")], ids=lambda part: part[1]
)
def test_a_decoder_that_lies(case, part, lie):
    patch = patched(part, lambda honest: hostile.lying(honest, hostile.LIES[lie]))
    blob = compress(case)
    patch.undo()
    assert_honest(case, blob)


def test_lies_that_matter_are_found_out():
    case = FIELDS["smooth"]
    for lie in ("zero", "negative", "noise", "nan", "infinity", "huge", "one value nan", "one value huge"):
        patch = patched(
            (tile, "decode_tile"), lambda honest, lie=lie: hostile.lying(honest, hostile.LIES[lie])
        )
        with pytest.raises(lz.BoundViolationError, match="values would come back"):
            lz.compress(case[0], lz.relative(case[1]))
        patch.undo()


@pytest.mark.parametrize("lie", hostile.SHAPES)
def test_a_decoder_that_returns_another_shape_or_type(case, lie):
    patch = patched((tile, "decode_tile"), lambda honest: hostile.lying(honest, hostile.SHAPES[lie]))
    blob = compress(case)
    patch.undo()
    assert blob is None


def test_a_decoder_that_only_seems_right_is_found_out_when_decoding():
    array, rel = FIELDS["smooth"]
    patch = patched((tile, "decode_tile"), lambda honest: lambda *_: tile.Decoded(array.copy(), None))
    blob = lz.compress(array, lz.relative(rel))
    patch.undo()
    with pytest.raises(lz.ContentMismatchError):
        lz.decompress(blob)


# Lies of the encoder


@pytest.mark.parametrize("lie", hostile.CODES)
def test_a_decomposition_that_lies(case, lie):
    patch = patched((tile, "decompose"), lambda honest: hostile.lying_codes(honest, hostile.CODES[lie]))
    blob = compress(case)
    patch.undo()
    assert_honest(case, blob)


@pytest.mark.parametrize("lie", hostile.LIES)
def test_outliers_that_lie(case, lie):
    def make(honest):
        def decompose(*args, **options):
            result = honest(*args, **options)
            return replace(result, outliers=hostile.LIES[lie](result.outliers))

        return decompose

    patch = patched((tile, "decompose"), make)
    blob = compress(case)
    patch.undo()
    assert_honest(case, blob)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "part", [(stream, "encode_codes"), (lossless, "pack"), (tile, "encode_tile")], ids=lambda part: part[1]
)
def test_a_coder_that_writes_wrong_bytes(case, part, seed):
    patch = patched(part, lambda honest: hostile.lying_bytes(honest, seed))
    blob = compress(case)
    patch.undo()
    assert_honest(case, blob)


QUANTIZERS: dict[str, Callable] = {
    "step too wide": lambda rule: rule._replace(step=rule.step * 10),
    "eps too wide": lambda rule: rule._replace(
        eps=rule.eps * 10, step=rule.step * 10, inverse=rule.inverse / 10
    ),
    "no step": lambda rule: rule._replace(step=rule.step * 0),
    "wrong inverse": lambda rule: rule._replace(inverse=-rule.inverse),
    "infinite": lambda rule: rule._replace(inverse=rule.inverse * np.inf),
    "nan": lambda rule: rule._replace(step=rule.step * np.nan),
    "no range": lambda rule: rule._replace(low=rule.high),
    "nan range": lambda rule: rule._replace(low=rule.low * np.nan, high=rule.high * np.nan),
}


@pytest.mark.parametrize("lie", QUANTIZERS)
def test_a_quantizer_that_lies_to_encoder_and_decoder(case, lie):
    patch = patched(
        (tile, "quantizer"), lambda honest: lambda *a: (rule := honest(*a)) and QUANTIZERS[lie](rule)
    )
    blob = compress(case)
    assert_honest(case, blob)
    patch.undo()
    assert_honest(case, blob)


SUMMARIES: dict[str, Callable] = {
    "nothing valid": lambda said: replace(said, low=np.inf, high=-np.inf),
    "nothing coded": lambda said: replace(said, coded_low=np.inf, coded_high=-np.inf),
    "too narrow": lambda said: replace(said, coded_low=0.1, coded_high=0.2),
    "all the same": lambda said: replace(said, coded_high=said.coded_low),
    "infinite": lambda said: replace(said, coded_high=np.inf),
    "no specials": lambda said: replace(said, specials=()),
    "wrong specials": lambda said: replace(said, specials=tuple(s + 1 for s in said.specials)),
    "specials that are not there": lambda said: replace(said, specials=(0, 1, 2)),
}


@pytest.mark.parametrize("lie", SUMMARIES)
def test_a_summary_that_lies(case, lie):
    patch = patched((field, "summarize"), lambda honest: lambda *args: SUMMARIES[lie](honest(*args)))
    blob = compress(case)
    patch.undo()
    if lie != "nothing valid":  # for a relative bound, that is another question
        assert_honest(case, blob)


def test_a_classification_that_finds_no_special_values(case):
    def make(_):
        def classify(values, bits, specials, largest, classes, coded):
            classes[:] = 0
            coded[:] = values
            return 0, 0

        return classify

    patch = patched((carrier, "classify"), make)
    blob = compress(case)
    patch.undo()
    assert_honest(case, blob)


# Lies that encoder and decoder share: the bound holds all the same


@pytest.mark.parametrize("lie", hostile.LIES)
@pytest.mark.parametrize("family", [interpolation, regression], ids=lambda family: family.__name__)
@pytest.mark.parametrize("plan", [Multigrid(Fold.MERGED, 3), Raster(Fold.MERGED)], ids=lambda plan: plan.name)
def test_predictors_that_lie_cost_bytes_only(case, family, plan, lie):
    def make(honest):
        def pack(rows, dtype, of_class=None, running=None):
            changed = [(offsets, hostile.LIES[lie](weights)) for offsets, weights in rows]
            if running is not None:
                running = hostile.LIES[lie](np.array(running, float))
            return honest(changed, dtype, of_class, running)

        return pack

    assert_kept_with(case, plan, (family, "pack_stencils"), make)


@pytest.mark.parametrize("lie", hostile.LIES)
def test_a_transform_that_lies_costs_bytes_only(case, lie):
    def make(honest):
        def transform(grid, *how, **options):
            honest(grid, *how, **options)
            grid[...] = hostile.LIES[lie](grid)

        return transform

    assert_kept_with(case, Wavelet(Fold.MERGED, 32), (wavelet, "transform"), make)


@pytest.mark.parametrize("lie", hostile.LIES)
@pytest.mark.parametrize("name", ["multigrid", "raster"])
def test_fitted_weights_that_are_garbage_cost_bytes_only(case, name, lie):
    plan = plan_for(case[0], name, [1] * 80, 1)
    assert_kept_with(
        case, plan, (Weights, "of_taps"), lambda honest: hostile.lying(honest, hostile.LIES[lie])
    )


@given(
    name=st.sampled_from(["multigrid", "raster", "wavelet"]),
    parameters=st.lists(st.integers(-(2**22), 2**22), min_size=1, max_size=80),
    precision=st.integers(0, len(SHIFTS) - 1),
    field_name=st.sampled_from(sorted(FIELDS)),
)
@settings(max_examples=150)
def test_any_plan_keeps_the_bound(name, parameters, precision, field_name):
    case = FIELDS[field_name]
    plan = plan_for(case[0], name, parameters, precision)
    assert_kept_with(case, plan, (tile, "encode_tile"), lambda honest: honest)


def plan_for(array: np.ndarray, name: str, parameters: list[int], precision: int) -> families.Plan:
    """A plan that has ``parameters``, over and over, as the weights of each stencil of ``array``."""

    def weights(taps: int) -> Weights:
        return Weights(precision, tuple(int(p) for p in np.resize(parameters, taps - 1)))

    flat = array.ndim < 3
    if name == "wavelet":
        return Wavelet(Fold.MERGED, 1 + abs(parameters[0]) % 255)
    if name == "raster":
        field = fold(array.shape, Fold.MERGED)
        taps = [len(regression.class_taps(c, field)[0].offsets) for c in range(CLASSES)]
        return Raster(Fold.MERGED, tuple(weights(count) for count in taps))
    level = []
    known: tuple[interpolation.Axes3, ...] = ((0, 0, 0),)
    for phase, parity in enumerate(PHASES):
        if flat and parity[0]:
            level.append(None)
            continue
        groups = interpolation.phase_taps(phase, known, (flat, False, False)).groups
        level.append(weights(int(groups.max()) + 1))
        known = (*known, parity)
    return Multigrid(Fold.MERGED, 3, (tuple(level),) * 2)


def assert_kept_with(
    case: tuple[np.ndarray, float], plan: families.Plan, part: tuple[object, str], make: Callable
) -> None:
    """With ``plan`` and a changed part, alike in encoder and decoder, every value is within the bound."""
    array, rel = case
    patches = patched((tuning.Search, "choice"), lambda _: tuning.Choice(plan)), patched(part, make)
    forget_passes()
    try:
        blob = lz.compress(array, lz.relative(rel), fill_value=FILL, threads=1)
        decoded = lz.decompress(blob)
    finally:
        for patch in patches:
            patch.undo()
        forget_passes()
    eps = exact.tolerance(array, "relative", rel, (FILL,))
    assert not exact.violations(array, decoded, eps, (FILL,)).size


def forget_passes() -> None:
    """Passes are kept for a plan and a shape: those of a lie must not outlive it, nor honest ones hide it."""
    for made in (interpolation._passes, interpolation._anchors, regression._passes, wavelet._correction):
        made.cache_clear()
    wavelet._band_passes.cache_clear()


@pytest.mark.slow
def test_no_kernel_reaches_outside_its_arrays(tmp_path):
    """Compiled without checks, it would read or overwrite what lies there."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    here = Path(__file__)
    names = ("inputs", "shapes", "damage", "forgery", "guarantee", "checkers")
    files = [str(here.with_name(f"test_{name}.py")) for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-x", *files]
    done = subprocess.run(command, cwd=here.parents[1], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_what_the_encoder_left_is_no_decoded_value(monkeypatch):
    """Multigrid decodes in memory in which the encoder left the same tile: idle decoders must not pass."""
    field_ = np.random.default_rng(0).standard_normal((20, 20, 20)).cumsum(axis=0)
    monkeypatch.setattr(tuning.Search, "choice", tuning.Choice(Multigrid(Fold.MERGED, 2)))
    lz.compress(field_, lz.absolute(0.1), effort="fast", threads=1)  # all is well
    honest = passes.decode_planes

    def elsewhere(here, buffer, *rest):
        values, finest = buffer.values, here[0].lattice.fx == 2
        buffer.values = values.copy() if finest else values
        honest(here, buffer, *rest)
        buffer.values = values

    monkeypatch.setattr(passes, "decode_planes", elsewhere)
    with pytest.raises(lz.BoundViolationError):
        lz.compress(field_, lz.absolute(0.1), effort="fast", threads=1)


def test_what_the_tile_before_left_is_no_decoded_value(monkeypatch):
    """The door decodes tile after tile into the same room: a decoder that writes nothing must not pass."""
    monkeypatch.setattr(field, "TILE_VALUES", 1000)
    half = np.random.default_rng(0).standard_normal((10, 10, 10)).astype(np.float32)
    honest, calls = tile.decode_tile, []

    def idle(payload, shape, header, plan, into, guide):
        calls.append(shape)
        return (
            honest(payload, shape, header, plan, into)
            if len(calls) == 1
            else tile.Decoded(into.reshape(shape), None)
        )

    monkeypatch.setattr(tile, "decode_tile", idle)
    with pytest.raises(lz.BoundViolationError):
        lz.compress(np.concatenate([half, half]), lz.absolute(0.1), effort="fast", threads=1)
    assert len(calls) == 2
