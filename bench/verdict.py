"""What became of an array: whether what came back is what was asked for. Knows no compressor.

Shares no code with lossyzip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from bench.exact import bits, native, outside
from bench.situations import Ask

OUTCOMES: tuple[str, ...] = (
    *("crash", "hang", "silent", "changed", "missed", "lost", "accepted", "rounded", "inexact", "drifts"),
    *("harmless", "refused", "detected", "same", "kept"),
)
"""Worst first. What each means is written in docs/GUARANTEES.md."""


def judge(original: np.ndarray, decoded: np.ndarray, ask: Ask) -> tuple[str, str]:
    """("changed" | "missed" | "rounded" | "inexact" | "kept", what is wrong with it)."""
    if decoded.shape != original.shape:
        return "changed", f"shape {decoded.shape}"
    if decoded.dtype.newbyteorder("=") != original.dtype.newbyteorder("="):
        return "changed", f"dtype {decoded.dtype}"
    if isinstance(original, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(original)
        if not np.array_equal(mask, np.ma.getmaskarray(decoded)):
            return "changed", "the mask is dropped"
        original, decoded = np.ma.getdata(original)[~mask], np.ma.getdata(decoded)[~mask]
    if ask.kind == "psnr":
        reached = psnr(original, decoded)
        return ("kept" if reached >= ask.value else "missed"), f"{reached:.4f} dB"
    found = [_judge_real(a, b, ask) for a, b in _parts(original, decoded)]
    return min(found, key=lambda one: OUTCOMES.index(one[0]))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit, byte order apart."""
    return a.shape == b.shape and a.dtype.kind == b.dtype.kind and native(a).tobytes() == native(b).tobytes()


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """20 log10((max - min) / rmse) over all values, infinite without an error."""
    a, b = original.astype(np.float64).ravel(), decoded.astype(np.float64).ravel()
    mean_square = math.fsum(((a - b) ** 2).tolist()) / a.size
    return 10 * math.log10((a.max() - a.min()) ** 2 / mean_square) if mean_square else math.inf


def _parts(original: np.ndarray, decoded: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if original.dtype.kind == "c":
        yield original.real, decoded.real
        yield original.imag, decoded.imag
    else:
        yield original, decoded


def _judge_real(original: np.ndarray, decoded: np.ndarray, ask: Ask) -> tuple[str, str]:
    a, b = native(original), native(decoded)
    if ask.kind == "pointwise":
        broken = _outside_pointwise(a, b, ask.value)
    elif ask.kind == "lossless":
        broken = bits(a) != bits(b)
    else:
        broken = outside(a, b, ask.value)
    if a.dtype.kind != "f":
        return ("changed" if broken.any() else "kept"), _count(broken, "outside")
    other_nan = broken & np.isnan(a) & np.isnan(b) if ask.kind != "lossless" else np.zeros_like(broken)
    broken &= ~other_nan
    rounded = broken & _by_rounding(a, b, ask)
    fills = np.isin(a, np.array(ask.fills, a.dtype))
    named = ((a == 0) & np.signbit(a)) | fills
    inexact = other_nan | (named & ~broken & (bits(a) != bits(b)))
    not_finite = broken & ~np.isfinite(a)
    told = ", ".join(
        text
        for text in (
            _count(broken & ~rounded & ~not_finite & ~fills, f"outside{_worst(a, b, ask)}"),
            _count(not_finite, "NaN or inf became others"),
            _count(broken & ~rounded & fills, "fills outside"),
            _count(rounded, "outside by rounding"),
            _count(inexact, "-0.0, fills or NaN became neighbours"),
        )
        if text
    )
    if (broken & ~rounded).any():
        return "changed", told
    return ("rounded" if rounded.any() else "inexact" if inexact.any() else "kept"), told


def _outside_pointwise(a: np.ndarray, b: np.ndarray, r: float) -> np.ndarray:
    finite = np.isfinite(a) & np.isfinite(b)
    result = bits(a) != bits(b)
    for index in np.flatnonzero(result & finite):
        exact = Fraction(float(a[index]))
        result[index] = abs(exact - Fraction(float(b[index]))) > Fraction(r) * abs(exact)
    return result


def _by_rounding(a: np.ndarray, b: np.ndarray, ask: Ask) -> np.ndarray:
    """Where the error is above eps by half an ulp of the value at most."""
    if ask.kind != "absolute":
        return np.zeros(a.shape, bool)
    with np.errstate(all="ignore"):
        error = np.abs(a.astype(np.float64) - b.astype(np.float64))
        half = np.spacing(np.maximum(np.abs(a), np.abs(b))).astype(np.float64) / 2
        return error - ask.value <= half  # False for NaN


def _worst(a: np.ndarray, b: np.ndarray, ask: Ask) -> str:
    if ask.kind != "absolute" or not 0 < ask.value < math.inf:
        return ""
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(all="ignore"):
        error = np.abs(a[finite].astype(np.float64) - b[finite].astype(np.float64))
        return f", worst {error.max(initial=0.0) / ask.value:.3g} eps"


def _count(which: np.ndarray, text: str) -> str:
    number = np.count_nonzero(which)
    return f"{number} of {which.size} {text}" if number else ""
