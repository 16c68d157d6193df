"""The families of decomposition: array -> codes and outliers, and back. One more family is one more entry.

A plan is what a family needs to know beside the quantizer: it is made by tuning, written in the
header, and the same for all tiles of a field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossyzip.decompose import interpolation, lattice, multiples, regression, wavelet
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.fold import fold, unwalked, walked
from lossyzip.decompose.guide_taps import GuideWeights
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.mixed import mixed_pass
from lossyzip.decompose.passes import decode_passes, encode_passes, rows_in_turn
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.rows import CELLS, Quantizer
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy import stream
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.entropy.mixing import check_used_up, decoder, encoder, finish
from lossyzip.entropy.tokens import OUTLIER, Symbols
from lossyzip.errors import CorruptError, SelfCheckError
from lossyzip.kept import apart

PlanOfPasses = Multigrid | Raster | Wavelet
Plan = PlanOfPasses | Lattice
Passes = tuple[Pass, ...]
# Families of passes; the lattice has kernels of its own.
_FAMILIES: dict[str, Any] = {Multigrid.name: interpolation, Raster.name: regression, Wavelet.name: wavelet}


@dataclass(frozen=True)
class Codes:
    """A tile, decomposed: ``symbols`` and ``outliers``, both in the order of decoding.

    ``outliers`` is None when there were more than a quarter of all values: this is not worth it.
    """

    symbols: Symbols
    outliers: np.ndarray | None
    groups: int

    def not_zero(self) -> int:
        """How many codes are not 0."""
        symbols = self.symbols
        return int(np.count_nonzero(symbols.tokens) - np.count_nonzero(symbols.batches > 0))

    def to_bytes(self) -> bytes:
        """The symbols, whose tokens may be overwritten; the outliers are stored beside them."""
        return stream.encode_codes(self.symbols, self.groups, CELLS)


@dataclass(frozen=True)
class MixedCodes:
    """A tile's codes, mixed, and its ``outliers`` in the order in which these codes are decoded."""

    data: bytes
    outliers: np.ndarray


def estimated_size(parts: Sequence[Codes], scale: float = 1.0) -> float:
    """About how many bytes the codes of ``parts``, of one plan, make together; or ``scale`` times as many
    codes of their kind, whose tables are written once all the same."""
    return stream.estimated_size([part.symbols for part in parts], parts[0].groups, CELLS, scale)


def write_plan(plan: Plan) -> bytes:
    writer = BitWriter()
    plan.write(writer)
    return writer.finish()


def plan_of(family: str, data: bytes, guides: int = 0) -> Plan | None:
    """None for the family "lossless", which has no plan; else as `read_plan`."""
    return None if family == "lossless" else read_plan(family, data, guides)


def read_plan(family: str, data: bytes, guides: int = 0) -> Plan:
    """A plan that may have taps into so many ``guides``.

    Raises DecodeError when ``data`` is no plan of ``family``.
    """
    reader = BitReader(data)
    kinds: dict[str, type[Plan]] = {kind.name: kind for kind in (Multigrid, Raster, Wavelet, Lattice)}
    return kinds[family].read(reader, guides)


def used_guides(plan: Plan | None) -> list[int]:
    """The numbers of the guides that taps of ``plan`` reach into."""
    if isinstance(plan, Multigrid):
        entries = [entry for level in plan.beside for entry in level]
    else:
        entries = list(plan.beside) if isinstance(plan, Raster | Wavelet) else []
    rows = [entry.parameters for entry in entries if entry is not None]
    return [k for k, weights in enumerate(zip(*rows, strict=True)) if any(weights)]


def used_alone(plan: Plan) -> Plan:
    """``plan`` for those guides alone that its taps reach into."""
    if isinstance(plan, Lattice) or not plan.guides:
        return plan
    kept = used_guides(plan)

    def fewer(entries: tuple[GuideWeights | None, ...]) -> tuple[GuideWeights | None, ...]:
        return tuple(None if entry is None or not kept else entry.keep(kept) for entry in entries)

    if isinstance(plan, Multigrid):
        return replace(plan, guides=len(kept), beside=tuple(map(fewer, plan.beside)) if kept else ())
    return replace(plan, guides=len(kept), beside=fewer(plan.beside))


def quantizer(dtype: np.dtype, eps: float, low: float, high: float) -> Quantizer | None:
    """The quantizer for a field of ``dtype`` whose coded values span ``low`` to ``high``.

    Its step is an ulp or so short of 2 eps, so that rounding a reconstructed value to the field's dtype
    does not carry it over the bound. None when eps is too small for the dtype's arithmetic.
    """
    number = dtype.type
    largest = number(np.finfo(dtype).max / 64)
    with np.errstate(over="ignore"):
        rounded = number(min(eps, float(largest)))
    if float(rounded) > eps:
        rounded = np.nextafter(rounded, number(0))
    margin = np.spacing(number(max(abs(low), abs(high))))
    step = number(2) * (rounded - margin) if rounded > number(8) * margin else number(2) * rounded
    if not step > np.finfo(dtype).tiny:
        return None
    return Quantizer(step, number(1) / step, rounded, number(low), number(high))


def decompose(
    coded: np.ndarray,
    shape: tuple[int, ...],
    plan: Plan,
    quantizer: Quantizer,
    fitter: interpolation.Fitter | None = None,
    guides: np.ndarray | None = None,
    kept: bool = False,
) -> Codes:
    """Codes of the flat array ``coded`` (native order, NaN where nobody will look), a tile of ``shape``.

    ``coded`` may be several such tiles, one after the other, for a family that keeps them apart.
    ``guides`` (guides, values) in its dtype, finite: what the plan's taps may reach into. ``kept``: the
    symbols are in memory that this thread's next kept ones will be in.
    """
    if isinstance(plan, Lattice):
        return Codes(*lattice.decompose(coded, shape, plan, quantizer, kept), lattice.GROUPS)
    return _swept(coded, shape, plan, quantizer, fitter, guides, unseen=True, kept=kept)[0]


def decompose_and_see(
    coded: np.ndarray,
    shape: tuple[int, ...],
    plan: Plan,
    quantizer: Quantizer,
    guides: np.ndarray | None = None,
) -> tuple[Codes, np.ndarray]:
    """What `decompose` gives, and the flat values that a decoder will see, without decoding."""
    if isinstance(plan, Lattice):
        return decompose(coded, shape, plan, quantizer), multiples.snapped(coded, coded, quantizer)
    codes, seen = _swept(coded, shape, plan, quantizer, None, guides)
    return codes, unwalked(seen, shape, plan.fold)


def _swept(
    coded: np.ndarray,
    shape: tuple[int, ...],
    plan: PlanOfPasses,
    quantizer: Quantizer,
    fitter: interpolation.Fitter | None,
    guides: np.ndarray | None,
    unseen: bool = False,
    kept: bool = False,
) -> tuple[Codes, np.ndarray]:
    """Codes, and what a decoder will see, folded; that is something else if it is ``unseen``."""
    family = _FAMILIES[plan.name]
    symbols = Symbols.room(coded.size * family.CODES, kept)
    outliers = np.empty(coded.size // 4 + 1, coded.dtype)
    cursor = apart(6, np.int64)

    def visit(buffer: Buffer, passes: Passes, rule: Quantizer, source: np.ndarray | None) -> None:
        assert source is not None
        encode_passes(passes, buffer, rule, source, symbols, outliers, cursor)

    field = fold(shape, plan.fold)
    field = field._replace(t=field.t * (coded.size // max(math.prod(shape), 1)))
    beside, coded = _folded(guides, shape, plan), walked(coded, shape, plan.fold)
    seen = family.sweep(plan, field, quantizer, visit, coded, fitter, guides=beside, unseen=unseen)
    count = int(cursor[1])
    found = outliers[:count].copy() if count <= outliers.size else None
    return Codes(symbols.filled(cursor), found, family.GROUPS), seen


def _folded(guides: np.ndarray | None, shape: tuple[int, ...], plan: PlanOfPasses) -> np.ndarray | None:
    """Those that the plan's taps reach into, of one tile or several; raises CorruptError where they are not
    there."""
    if not plan.guides:
        return None
    if guides is None or len(guides) != plan.guides:
        raise CorruptError(f"a plan has taps into {plan.guides} guides, which are not there")
    _, z, y, x = fold(shape, plan.fold)
    return walked(guides.reshape(-1), shape, plan.fold).reshape(len(guides), -1, z, y, x)


def lossless_stand_in(values: np.ndarray, coded: np.ndarray, plan: Plan, quantizer: Quantizer) -> np.ndarray:
    """What to store where a tile of ``values`` is better stored as it is: for most families just that.

    A lattice moves each value as it does everywhere: what becomes of it must not depend on the tile it is in.
    ``coded`` are the values that `decompose` was given.
    """
    return multiples.snapped(values, coded, quantizer) if isinstance(plan, Lattice) else values


def stands_for(
    least: np.floating, middle: np.floating, largest: np.floating, plan: Plan, quantizer: Quantizer
) -> np.floating | None:
    """What may be decoded for all values from ``least`` to ``largest``, eps apart at most; None if nothing.

    That is ``middle`` for most families; a lattice moves each value as it does everywhere, and the larger one
    never below the smaller one.
    """
    if not isinstance(plan, Lattice) or not least <= largest:
        return middle
    ends, points = np.array([least, largest], quantizer.eps.dtype), np.empty(2, quantizer.eps.dtype)
    multiples.snap(ends, multiples.spacing(quantizer), points)
    point: np.floating = points[0]
    return point if points[1] == point else None


def recompose(
    data: bytes | memoryview,
    outliers: np.ndarray,
    shape: tuple[int, ...],
    plan: Plan,
    quantizer: Quantizer,
    into: np.ndarray | None = None,
    guides: np.ndarray | None = None,
) -> np.ndarray:
    """The tile of ``shape`` whose codes are ``data``; it may be in the flat array ``into``, if there is one.

    ``guides``: as for `decompose`.

    Raises DecodeError when they are not just that.
    """
    if isinstance(plan, Lattice):
        lattice_stream = stream.CodeStream(data, lattice.GROUPS, CELLS)
        values = lattice.recompose(lattice_stream, outliers, shape, plan, quantizer, into)
        lattice_stream.check_used_up(outliers.size)
        return values
    mixed = stream.mixed_part(data)
    if mixed is not None:
        values = _unmix(*mixed, outliers, shape, plan, quantizer, guides)
        return unwalked(values, shape, plan.fold).reshape(shape)
    family = _FAMILIES[plan.name]
    opened = stream.CodeStream(data, family.GROUPS, CELLS)

    def visit(buffer: Buffer, passes: Passes, rule: Quantizer, _source: np.ndarray | None) -> None:
        decode_passes(passes, buffer, rule, opened, outliers)

    field, beside = fold(shape, plan.fold), _folded(guides, shape, plan)
    values = family.sweep(plan, field, quantizer, visit, into=into, guides=beside)
    opened.check_used_up(outliers.size)
    return unwalked(values, shape, plan.fold).reshape(shape)


def mix(
    codes: Codes,
    shape: tuple[int, ...],
    plan: Plan,
    quantizer: Quantizer,
    guides: np.ndarray | None = None,
    flags: bool = False,
) -> MixedCodes | None:
    """``codes`` by context mixing: slower by far, mostly smaller. None: it is larger than the codes are.

    ``flags``: stretches of zeros are behind flags, which is several times faster where there is little else.
    A lattice is never mixed: it is there for speed.
    """
    if codes.outliers is None or isinstance(plan, Lattice):
        return None
    all_codes = codes.symbols.codes()
    mixer = encoder(all_codes.size)
    outliers = [codes.outliers[:0]]
    done = np.zeros(2, np.int64)  # codes and outliers

    def mix_one(buffer: Buffer, here: Pass, rule: Quantizer) -> None:
        points = math.prod(here.lattice[:4])
        part = all_codes[done[0] : done[0] + points]
        count = np.count_nonzero(part == OUTLIER)
        assert codes.outliers is not None
        own = codes.outliers[done[1] : done[1] + count]
        if part.size < points or own.size < count:
            raise SelfCheckError(f"a pass of {points} points has {part.size} codes. Please report this")
        if here.around is not None:
            part, own = rows_in_turn(part, own, here.lattice)
        mixed_pass(here, buffer, rule, mixer, part, own, apart(5, np.int64), True, flags)
        outliers.append(own)
        done[0] += part.size
        done[1] += count

    def visit(buffer: Buffer, passes: Passes, rule: Quantizer, _source: np.ndarray | None) -> None:
        for here in passes:
            mix_one(buffer, here, rule)

    field, beside = fold(shape, plan.fold), _folded(guides, shape, plan)
    _FAMILIES[plan.name].sweep(plan, field, quantizer, visit, mixed=True, guides=beside)
    data = finish(mixer)
    return None if data is None else MixedCodes(stream.mixed_stream(data, flags), np.concatenate(outliers))


def _unmix(
    mixed: bytes,
    flags: bool,
    outliers: np.ndarray,
    shape: tuple[int, ...],
    plan: PlanOfPasses,
    quantizer: Quantizer,
    guides: np.ndarray | None,
) -> np.ndarray:
    """The tile, folded, whose codes were mixed."""
    mixer = decoder(mixed)
    cursor, none = apart(5, np.int64), np.empty(0, np.int32)

    def visit(buffer: Buffer, passes: Passes, rule: Quantizer, _source: np.ndarray | None) -> None:
        for here in passes:
            mixed_pass(here, buffer, rule, mixer, none, outliers, cursor, False, flags)

    field, beside = fold(shape, plan.fold), _folded(guides, shape, plan)
    values: np.ndarray = _FAMILIES[plan.name].sweep(plan, field, quantizer, visit, mixed=True, guides=beside)
    if cursor[1] != outliers.size or cursor[4]:
        raise CorruptError(f"a tile of {outliers.size} outliers uses {cursor[1]} and more")
    check_used_up(mixer, len(mixed))
    return values
