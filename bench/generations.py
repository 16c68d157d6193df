"""Loss over generations: what was decoded is compressed again, as a whole or in parts that shift.

The largest error against the first values, in units of eps, which every compressor gets again each time.
In the peers' default settings, a 4-D field with its leading axes merged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from bench.fields import Field, prepared_fields
from bench.peers import PEERS
from bench.rows import Row, write
from bench.worker import CODERS
from lossyzip import absolute, compress, decompress

AFTER = (1, 2, 4, 16)  # generations
PARTS = 5  # the share of a field that is rewritten at a time, along its first axis
COLUMNS = (
    *("file", "field", "rel", "compressor", *(f"after_{count}" for count in AFTER)),
    f"in_parts_{AFTER[-1]}",
)

Again = Callable[[np.ndarray, float], np.ndarray]  # (values, eps) -> decoded


def ours(values: np.ndarray, eps: float, effort: str, idempotent: bool) -> np.ndarray:
    return decompress(compress(values, absolute(eps), effort=effort, idempotent=idempotent))


def peers() -> dict[str, Again]:
    """Of each peer with its default settings."""
    found: dict[str, Again] = {}
    for peer in PEERS:
        encode, decode = CODERS[peer.name]()

        def again(values: np.ndarray, eps: float, encode=encode, decode=decode, peer=peer) -> np.ndarray:
            own = values.shape if values.ndim <= 3 else (prod(values.shape[:-2]), *values.shape[-2:])
            folded = np.ascontiguousarray(values.reshape(own))
            encoded, _ = encode(folded, peer.algorithms[0], eps, 1)
            return np.array(decode(encoded, folded, 1)).reshape(values.shape)

        found[peer.name] = again
    return found


def lossyzips() -> dict[str, Again]:
    return {
        "idempotent": partial(ours, effort="balanced", idempotent=True),
        "fast": partial(ours, effort="fast", idempotent=False),
        "balanced": partial(ours, effort="balanced", idempotent=False),
    }


def run(
    fields: list[Field],
    rel: float,
    contestants: dict[str, Again],
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """One row a field and compressor."""
    rows: list[Row] = []
    for field, prepared in prepared_fields(fields):
        eps = prepared.eps(rel)
        for name, again in contestants.items():
            row = {"file": field.file, "field": field.name, "rel": f"{rel:g}", "compressor": name}
            for count, error in enumerate(whole(prepared.values, eps, again), start=1):
                if count in AFTER:
                    row[f"after_{count}"] = f"{error:.4f}"
            row[f"in_parts_{AFTER[-1]}"] = f"{in_parts(prepared.values, eps, again):.4f}"
            rows.append(row)
            tell(row)
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def whole(values: np.ndarray, eps: float, again: Again) -> list[float]:
    """Error / eps after each generation."""
    errors, decoded = [], values
    for _ in range(AFTER[-1]):
        decoded = again(decoded, eps)
        errors.append(_error(values, decoded, eps))
    return errors


def in_parts(values: np.ndarray, eps: float, again: Again) -> float:
    """Error / eps after as many rewrites of a part, which moves on by a third of its length each time."""
    decoded = again(values, eps)
    length = -(-values.shape[0] // PARTS)
    for number in range(AFTER[-1]):
        start = (number * max(length // 3, 1)) % (values.shape[0] - length + 1)
        decoded[start : start + length] = again(decoded[start : start + length], eps)
    return _error(values, decoded, eps)


def _error(values: np.ndarray, decoded: np.ndarray, eps: float) -> float:
    return float(np.abs(values.astype(np.float64) - decoded).max()) / eps
