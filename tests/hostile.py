"""Parts that lie: stand-ins for pieces of lossyzip whose output is anything but what was asked for.

A lie changes one array; `lying` and its kin put it behind a function that lossyzip calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lossyzip.entropy.tokens import Symbols
from lossyzip.tile import Decoded

Lie = Callable[[np.ndarray], np.ndarray]


def _noise(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(values.shape).astype(values.dtype)


def _one_value(change: Callable[[Any], Any]) -> Lie:
    """Change nothing but the middle value."""

    def lie(values: np.ndarray) -> np.ndarray:
        changed = np.array(values)
        if changed.size:
            middle = np.unravel_index(changed.size // 2, changed.shape)
            with np.errstate(all="ignore"):
                changed[middle] = change(changed[middle])
        return changed

    return lie


LIES: dict[str, Lie] = {
    "zero": np.zeros_like,
    "negative": np.negative,
    "noise": _noise,
    "nan": lambda values: np.full_like(values, np.nan),
    "infinity": lambda values: np.full_like(values, np.inf),
    "huge": lambda values: np.full_like(values, 1e30),
    "doubled": lambda values: values * 2,
    "reversed": lambda values: values[..., ::-1].copy(),
    "one ulp up": lambda values: np.nextafter(values, values.dtype.type(np.inf)),
    "one value an ulp up": _one_value(lambda value: np.nextafter(value, np.inf)),
    "one value nan": _one_value(lambda value: np.nan),
    "one value huge": _one_value(lambda value: 1e30),
    "one zero negated": _one_value(lambda value: -0.0),
}

SHAPES: dict[str, Lie] = {
    "flat": lambda values: values.reshape(-1),
    "transposed": lambda values: np.ascontiguousarray(values.T),
    "one row less": lambda values: values[:-1],
    "an axis more": lambda values: values[None],
    "empty": lambda values: values[:0],
    "other type": lambda values: values.astype(np.float64 if values.dtype == np.float32 else np.float32),
    "integers": lambda values: np.nan_to_num(values).astype(np.int32),
}

CODES: dict[str, Lie] = {
    "zero": np.zeros_like,
    "negative": lambda codes: np.where(codes > -(2**30), -codes, codes),
    "noise": lambda codes: np.random.default_rng(7).integers(-9, 9, codes.shape).astype(codes.dtype),
    "huge": lambda codes: np.full_like(codes, 2**28 - 1),
    "all outliers": lambda codes: np.full_like(codes, -(2**31)),
    "one more": lambda codes: codes + (codes > -(2**30)).astype(codes.dtype),
    "one value off by one": _one_value(lambda code: code + 1),
    "one less": lambda codes: codes[:-1],
}


def lying(function: Callable[..., Any], lie: Lie) -> Callable[..., Any]:
    """``function``; where it returns an array of floats, or a tile, that goes through ``lie`` first."""

    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        if isinstance(result, Decoded):
            return result._replace(values=lie(result.values))
        return lie(result) if result.dtype.kind == "f" else result

    return call


def lying_codes(function: Callable[..., Any], lie: Lie) -> Callable[..., Any]:
    """A decomposition whose codes go through ``lie``."""

    def decompose(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        symbols = result.symbols
        told = lie(symbols._replace(batches=symbols.batches[:0]).codes())  # flags are codes, too
        lied = Symbols.of(told, symbols.cells[: told.size])
        return replace(result, symbols=lied._replace(batches=symbols.batches))

    return decompose


def lying_bytes(function: Callable[..., bytes], seed: int) -> Callable[..., bytes]:
    """An encoder that changes one byte of its output, or forgets or adds some."""

    def encode(*args: Any, **options: Any) -> bytes:
        data = bytearray(function(*args, **options))
        rng = np.random.default_rng(seed)
        at = int(rng.integers(max(len(data), 1)))
        kind = seed % 4
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.bytes(3)
        else:
            data[at:] = rng.bytes(len(data) - at)
        return bytes(data)

    return encode
