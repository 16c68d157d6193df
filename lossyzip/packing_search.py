"""Whether the values of a field are whole multiples of a step, found on a sample. For the encoder alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from lossyzip.container.header import Header
from lossyzip.container.packing import Packing, may_be_packed
from lossyzip.field import Number, largest_coded, native, special_patterns
from lossyzip.packing import packed

_SAMPLE, _FIRST_LOOK = 4096, 256  # values
RUN = 4  # of them lie side by side, which memory has at the same time
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly
_MOST_STEPS = 16.0  # within eps: fields with more are coded as well without
_WORTH = 1.05  # how much wider steps must be than 2 eps
_LEAST_STEP = 16.0  # ulps of the largest value: below, numbers are not found reliably
_ROUNDED = 2.0  # ulps that values may be off
_TELLING = 16  # values other than the most frequent one: fewer say nothing
_MOST_RAW = 1e-3
_GAPS = 64
_DOUBTFUL = 0.2  # steps
_MOST_BESIDE = 0.05  # share of values that are farther from the scale: no need to look closer
_MOST_DIGITS = 9
_EXACT_POWER = 22  # of ten, that float64 holds
_MOST_PARTS = 2.0**24
_LARGEST = 1e280  # below which no sum here overflows


class Sampler:
    """Takes about `_SAMPLE` values of a field of ``size`` values from its tiles: a `field.Watcher`."""

    def __init__(self, size: int, dtype: np.dtype, fill_values: Iterable[Number]) -> None:
        self._size, self._fills = size, special_patterns(dtype.newbyteorder("="), fill_values)
        self._taken: list[np.ndarray] = []

    def look(self, tile: np.ndarray) -> np.ndarray:
        """Some of its valid values."""
        count = min(max(math.ceil(_SAMPLE * tile.size / self._size), RUN), tile.size)
        places = np.arange(count)
        if count < tile.size:
            runs = places[: -(-count // RUN)] * _GOLDEN % 1.0 * (tile.size - RUN)
            places = (runs.astype(np.int64)[:, None] + np.arange(RUN)).reshape(-1)
        taken = native(_at(np.ma.getdata(tile), places))
        valid = np.abs(taken) <= largest_coded(taken.dtype)  # False for NaN
        if isinstance(tile, np.ma.MaskedArray):
            valid &= ~_at(np.ma.getmaskarray(tile), places)
        if self._fills.size:
            valid &= ~np.isin(taken.view(f"u{taken.itemsize}"), self._fills)
        return taken[valid]

    def note(self, seen: np.ndarray) -> None:
        self._taken.append(seen)

    def values(self) -> np.ndarray:
        """Valid ones that are coded with loss, in native order."""
        return np.concatenate(self._taken) if self._taken else np.empty(0)


def _at(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Its values at flat ``places``, without a copy of all."""
    if array.flags.c_contiguous:
        return array.reshape(-1)[places]
    return array[np.unravel_index(places, array.shape)]


def packing_of(sample: np.ndarray, header: Header) -> Packing | None:
    """By which the field with this ``header``, of which ``sample`` are valid values, is coded in fewer bytes.

    None where there is no step, where steps of 2 eps are as good, or where more than a few values have none.
    """
    if not may_be_packed(header.dtype, header.bound) or header.levels:
        return None
    for part in (sample[:: max(sample.size // _FIRST_LOOK, 1)], sample):
        points, counts = np.unique(part.astype(np.float64), return_counts=True)
        if points.size < 2 or part.size - counts.max() < _TELLING:
            continue
        largest = float(np.abs(points[[0, -1]]).max())
        if largest > _LARGEST:
            return None
        ulp = float(np.spacing(header.part.type(largest)))
        off, least = _ROUNDED * ulp, max(header.eps / _MOST_STEPS, _LEAST_STEP * ulp)
        gaps = np.diff(points)
        gaps = np.sort(gaps[gaps > 2.0 * off])[:_GAPS]
        if gaps.size and gaps[0] < least:
            return None
        step = (
            _fitted(points - points[points.size // 2], _common_step(gaps, off, least), off)
            if gaps.size
            else None
        )
        if step is None or step < least:
            continue
        most = math.floor(header.eps / step * (1.0 + 1e-9))  # where it is one too many, values will be RAW
        if (most + 0.5) * step <= _WORTH * header.eps:
            return None
        tried = [
            (_raw(sample, header, packing), packing)
            for packing in _candidates(points, step, off, most)
            if packing.suits(header.low, header.high)
        ]
        raw, packing = min(tried, key=lambda pair: pair[0], default=(sample.size, None))
        if raw <= _MOST_RAW * sample.size:
            return packing
    return None


def _common_step(gaps: np.ndarray, off: float, least: float) -> float:
    """What ``gaps``, each of which may be ``off``, are multiples of: Euclid's algorithm, as far as roundings
    let it tell steps from ``least`` on; 0.0 if that is less."""
    step, step_off = float(gaps[0]), off
    for gap in gaps[1:].tolist():
        larger, larger_off, smaller, smaller_off = gap, off, step, step_off
        while smaller >= least:
            times = max(round(larger / smaller), 1)
            rest, rest_off = abs(larger - smaller * times), larger_off + smaller_off * times
            if rest_off > least / 2.0:
                break
            if rest <= rest_off:
                step, step_off = smaller, smaller_off
                if larger_off < times * smaller_off:
                    step, step_off = larger / times, larger_off / times
                break
            larger, larger_off, smaller, smaller_off = smaller, smaller_off, rest, rest_off
        else:
            return 0.0
    return step


def _fitted(spans: np.ndarray, step: float, off: float) -> float | None:
    """The ``step`` that ``spans`` are multiples of by least squares, over a part of them that grows as it
    becomes known better; None where many are beside the scale, or it is 0."""
    if not step:
        return None
    known, before = 1.0, 0.0
    while known > before:
        before, numbers = known, np.rint(spans / step)
        near = np.abs(spans - step * numbers) < _DOUBTFUL * step
        near &= (numbers != 0) & (np.abs(numbers) * (off / known) < _DOUBTFUL * step)
        if not near.any():
            return None
        few = numbers[near]
        step, known = float(few @ spans[near] / (few @ few)), float(np.abs(few).max())
    rests = np.abs(spans - step * np.rint(spans / step))
    return step if np.mean(rests > _DOUBTFUL * step) < _MOST_BESIDE else None


def _candidates(points: np.ndarray, step: float, off: float, most: int) -> Iterator[Packing]:
    """With short decimals or quotients as ``step`` and as offset, where these fit as well; the best first."""
    middle = float(points[points.size // 2])
    spans = points - middle

    def offset_with(step: float) -> float:
        return float(middle + np.median(spans - np.rint(spans / step) * step))

    near = off / max(round(float(points[-1] - points[0]) / step), 1)
    quotients = [_decimal(step, near)]
    parts = max(round(1.0 / step), 1) if step * _MOST_PARTS > 1.0 else 1
    if abs(1.0 / parts - step) <= near:
        quotients.append((1.0, float(parts)))
    for numerator, denominator in filter(None, quotients):
        exact = numerator / denominator
        offset = offset_with(exact)
        offset -= round(offset / exact) * exact
        decimal = _decimal(abs(offset), off)
        if abs(offset) <= off:
            yield Packing(0.0, numerator, denominator, most)
        elif decimal is not None:
            yield Packing(math.copysign(decimal[0] / decimal[1], offset), numerator, denominator, most)
        yield Packing(offset, numerator, denominator, most)
    yield Packing(offset_with(step), step, 1.0, most)


def _decimal(number: float, near: float) -> tuple[float, float] | None:
    """The shortest decimal within ``near`` of ``number``, as a quotient of whole numbers."""
    for digits in range(_MOST_DIGITS):
        text = f"{number:.{digits}e}"
        if abs(float(text) - number) <= near:
            mantissa, exponent = text.split("e")
            power = int(exponent) - digits
            if abs(power) > _EXACT_POWER:
                return None
            whole = float(mantissa.replace(".", ""))
            return (whole * 10.0**power, 1.0) if power >= 0 else (whole, 10.0**-power)
    return None


def _raw(sample: np.ndarray, header: Header, packing: Packing) -> int:
    """How many values are not on the scale."""
    return packed(sample, replace(header, packing=packing), packing)[3]
