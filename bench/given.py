"""Each field of a set given all others, or some, as decoded, whatever an order would allow: how much is
there to tell?

The bytes of the others do not count, networks do. Every value that comes back is checked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.exact import outside
from bench.fields import Field, Prepared, prepare
from bench.rows import Row, write
from lossyzip import absolute, compress, decompress

COLUMNS = (
    "file",
    "field",
    "shape",
    "rel",
    "others_rel",
    "raw_bytes",
    "plain_bytes",
    "given_bytes",
    "latents_bytes",
    "violations",
)


def run(
    fields: list[Field],
    targets: list[str],
    bounds: list[float],
    others_rel: float | None,
    effort: str,
    output: Path | None,
    tell: Callable[[Row], None],
    named: list[str] | None = None,
    autoencoder: bool = False,
) -> list[Row]:
    """A row for each of ``targets`` (names; all fields if there are none) of each file, and each bound. The
    others, or those ``named``, are decoded from frames at ``others_rel``, or at the same bound.
    ``autoencoder``: with latents, too."""
    sets: dict[str, list[tuple[Field, Prepared]]] = defaultdict(list)
    for field in fields:
        if (prepared := prepare(field)) is not None:
            sets[field.file].append((field, prepared))
    rows: list[Row] = []
    for together in sets.values():
        for rel in bounds:
            wanted = [field.name for field, _ in together if not targets or field.name in targets]
            if len(together) < 2 or not wanted:
                continue
            known = [pair for pair in together if named is None or pair[0].name in named]
            beside = {f.name: _decoded(p, others_rel or rel, effort) for f, p in known}
            for field, prepared in together:
                if field.name in wanted:
                    others = [array for name, array in beside.items() if name != field.name]
                    rows.append(_row(field, prepared, rel, others_rel or rel, others, effort, autoencoder))
                    tell(rows[-1])
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def _decoded(prepared: Prepared, rel: float, effort: str) -> np.ndarray:
    return decompress(compress(prepared.values, absolute(prepared.eps(rel)), effort=effort))


def _row(
    field: Field,
    prepared: Prepared,
    rel: float,
    others_rel: float,
    others: list[np.ndarray],
    effort: str,
    autoencoder: bool,
) -> Row:
    values, eps = prepared.values, prepared.eps(rel)
    plain = compress(values, absolute(eps), effort=effort)
    given = compress(values, absolute(eps), effort=effort, references=others)
    decoded = [decompress(plain), decompress(given, references=others)]
    latents = ""
    if autoencoder:
        blob = compress(values, absolute(eps), effort=effort, references=others, autoencoder=True)
        decoded.append(decompress(blob, references=others))
        latents = str(len(blob))
    return {
        "file": field.file,
        "field": field.name,
        "shape": "x".join(map(str, field.shape)),
        "rel": f"{rel:g}",
        "others_rel": f"{others_rel:g}",
        "raw_bytes": str(values.nbytes),
        "plain_bytes": str(len(plain)),
        "given_bytes": str(len(given)),
        "latents_bytes": latents,
        "violations": str(sum(int(np.count_nonzero(outside(values, array, eps))) for array in decoded)),
    }
