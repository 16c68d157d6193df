"""Plans as tuning might make them, and as it never would; frames made with them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import lossyzip as lz
from lossyzip import tile
from lossyzip.carrier import NO_GUIDE
from lossyzip.container import frame
from lossyzip.container.guided import Guided
from lossyzip.container.header import Header
from lossyzip.decompose import families, interpolation, regression
from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.guide_taps import GuideWeights
from lossyzip.decompose.interpolation import PHASES, Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import CLASSES, Raster
from lossyzip.decompose.stencil import SHIFTS, Weights
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.decompressor import content_checksum
from lossyzip.effort import EFFORTS, NO_MIXING, Mixing
from lossyzip.guide import FieldGuide

# small tiles would be mixed
STATIC = replace(EFFORTS["balanced"], mixed=0, mixed_if_few=0, mixed_if_rare=0.0)
MIXED, WITH_FLAGS = Mixing(math.inf), Mixing(rare=math.inf)
WAYS = (NO_MIXING, MIXED, WITH_FLAGS)
FAMILIES = ("multigrid", "raster", "wavelet", "lattice")


def random_plan(family: str, shape: tuple[int, ...], how: Fold, seed: int, guides: int = 0) -> families.Plan:
    """A plan for tiles of ``shape`` that has weights, sensible or huge, for most stencils, and for taps into
    so many ``guides``."""
    rng = np.random.default_rng(seed)
    largest = rng.choice([4, 40, 2**20])

    def entries(count: int) -> tuple[GuideWeights | None, ...]:
        return tuple(taps() if guides and rng.random() < 0.7 else None for _ in range(count))

    def taps() -> GuideWeights:
        rows = []
        for _ in range(guides):
            kinds = sorted(rng.choice(70, int(rng.integers(6)), replace=False).tolist())
            kinds = [0, *kinds] if kinds and kinds[0] and rng.random() < 0.5 else kinds
            rows.append(tuple((kind, int(rng.integers(-largest, largest, endpoint=True))) for kind in kinds))
        return GuideWeights(int(rng.integers(len(SHIFTS))), tuple(rows))

    def weights(parameters: int) -> Weights | None:
        if not parameters or rng.random() < 0.2:
            return None
        values = rng.integers(-largest, largest, parameters, endpoint=True)
        return Weights(int(rng.integers(len(SHIFTS))), tuple(int(value) for value in values))

    if family == "lattice":
        centred = rng.random() < 0.4
        levels = bool(rng.integers(2))
        of_lattice = Fold.COMPONENTS if how == Fold.COMPONENTS else Fold.VOLUMES
        if centred:
            return Lattice(0, int(rng.integers(-50, 99)), levels, of_lattice)
        return Lattice(int(rng.integers(16)), fold=of_lattice)
    folded = fold(shape, how)
    if family == "wavelet":
        step = int(rng.integers(1, 256))
        return Wavelet(how, step, guides, entries(7)) if guides else Wavelet(how, step)
    if family == "raster":
        several = [[len(taps.offsets) for taps in regression.class_taps(c, folded)] for c in range(CLASSES)]
        counts = [int(rng.choice(lengths)) for lengths in several]
        plain = Raster(how, tuple(weights(count - 1) for count in counts), still=bool(rng.random() < 0.2))
        return replace(plain, still=False, guides=guides, beside=entries(CLASSES)) if guides else plain
    levels = int(rng.integers(1, 5))
    fitted = [
        tuple(weights(parameters) for parameters in parameters_of_level(folded[1:], level))
        for level in range(1, int(rng.integers(levels + 2)))
    ]
    beside = tuple(entries(len(PHASES)) for _ in range(int(rng.integers(levels + 1)))) if guides else ()
    return Multigrid(how, levels, tuple(fitted), guides, beside)


def parameters_of_level(lengths: tuple[int, ...], level: int) -> list[int]:
    """How many the weights of each phase have; 0 for a phase that has no points."""
    stride = 1 << (level - 1)
    points = [-(-n // stride) for n in lengths]
    known: tuple[interpolation.Axes3, ...] = ((0, 0, 0),)
    counts = []
    for phase, parity in enumerate(PHASES):
        if all(n > p for n, p in zip(points, parity, strict=True)):
            flat = (points[0] == 1, points[1] == 1, points[2] == 1)
            counts.append(int(interpolation.phase_taps(phase, known, flat).groups.max()))
            known = (*known, parity)
        else:
            counts.append(0)
    return counts


def header_of(array: np.ndarray, eps: float, plan: families.Plan, guide: FieldGuide | None = None) -> Header:
    """For a frame of one tile."""
    valid = array[np.isfinite(array)]
    low, high = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
    return Header(
        array.dtype,
        array.shape,
        array.shape,
        lz.absolute(eps),
        eps,
        low,
        high,
        (),
        plan.name,
        families.write_plan(plan),
        (0, 1, 0),
        guided=None
        if guide is None
        else Guided(0.0, 0.0, guide.references, b"", False, guide.taps, guide.mask),
    )


def frame_with(
    array: np.ndarray,
    eps: float,
    plan: families.Plan,
    mixing: Mixing = NO_MIXING,
    guide: FieldGuide | None = None,
) -> bytes:
    """``array`` coded with ``plan``, not with what tuning would choose; mixed even if that is larger."""
    header = header_of(array, eps, plan, guide)
    whole = tuple(slice(0, n) for n in array.shape)
    told = NO_GUIDE if guide is None else guide.guiding(whole, header.specials)
    with pytest.MonkeyPatch.context() as patch:
        if mixing != NO_MIXING:
            patch.setattr(
                families.Codes, "to_bytes", lambda codes: bytes(200 * codes.symbols.codes().size + 100)
            )
        payload = tile.encode_tile(array, header, plan, mixing, None, told)
    decoded = tile.decode_tile(payload, array.shape, header, plan, None, told)
    record = frame.pack_record(payload, content_checksum(decoded.values))
    return frame.pack_head(header.to_bytes()) + record + frame.pack_end([len(record)], {})
