"""Steps along a field's leading axis, with the one before each as its reference: what is that worth?

Against steps alone, and against the field in one piece, whose stencils see earlier steps anyway. Every value
that comes back is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.exact import outside
from bench.fields import Field, prepare
from bench.rows import Row, write
from lossyzip import Bound, absolute, compress, decompress

HOW = ("whole", "steps", "taps", "network")  # the field; steps alone; with the one before, two ways
COLUMNS = ("file", "field", "shape", "rel", *(f"{how}_bytes" for how in HOW), "violations")
_SECONDS = 1.0  # of training, for a step


def run(
    fields: list[Field], bounds: list[float], effort: str, output: Path | None, tell: Callable[[Row], None]
) -> list[Row]:
    """A row for each field of three axes or more, and each bound."""
    rows: list[Row] = []
    for field in fields:
        prepared = prepare(field)
        if prepared is None or prepared.values.ndim < 3:
            continue
        for rel in bounds:
            rows.append(_row(field, prepared.values, rel, absolute(prepared.eps(rel)), effort))
            tell(rows[-1])
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def _row(field: Field, values: np.ndarray, rel: float, bound: Bound, effort: str) -> Row:
    whole = compress(values, bound, effort=effort)
    sizes = {"whole": len(whole), "steps": 0, "taps": 0, "network": 0}
    broken = np.count_nonzero(outside(values, decompress(whole), bound.value))
    for how, seconds in (("steps", None), ("taps", 0.0), ("network", _SECONDS)):
        before: list[np.ndarray] = []
        for step in map(np.ascontiguousarray, values):
            blob = compress(step, bound, effort=effort, references=before, train_seconds=seconds)
            decoded = decompress(blob, references=before)
            sizes[how] += len(blob)
            broken += np.count_nonzero(outside(step, decoded, bound.value))
            before = [] if how == "steps" else [decoded]
    row = {"file": field.file, "field": field.name, "shape": "x".join(map(str, values.shape))}
    found = {f"{how}_bytes": str(sizes[how]) for how in HOW}
    return {**row, "rel": f"{rel:g}", **found, "violations": str(broken)}
