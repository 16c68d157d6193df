"""Compression ratios of lossyzip beside its peers', one row a field and bound. All bytes count."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import exact
from bench.fields import Field, Prepared, prepared_fields
from bench.peer_cache import PEER_COLUMNS, PeerCache
from bench.peers import PEERS
from bench.rows import Row, write

KEPT = ("file", "field", "shape", "dtype", "rel", "eps", "raw_bytes")
OURS = ("ours_bytes", "violations", "families", "seconds", "effort", "version", "problem")
GAINS = ("best_peer", "gain", "refolded_gain")
COLUMNS = (
    *KEPT,
    *OURS,
    *GAINS,
    *(f"{peer.name}_{column}" for peer in PEERS for column in PEER_COLUMNS),
)


def run(
    fields: list[Field],
    rels: list[float],
    effort: str,
    cache: PeerCache,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """All rows; each is told and written as soon as it is known."""
    rows: list[Row] = []
    for field, prepared in prepared_fields(fields):
        for peers in cache.rows(field, prepared, rels):
            row = {column: peers[column] for column in COLUMNS if column in peers}
            row |= _ours(prepared, float(peers["eps"]), effort)
            row |= _gains(row)
            rows.append(row)
            tell(row)
        if output is not None:
            write(output, COLUMNS, rows)
    return rows


def _ours(prepared: Prepared, eps: float, effort: str) -> Row:
    import lossyzip

    row = dict.fromkeys(OURS, "") | {"effort": effort}
    start = time.perf_counter()
    try:
        blob = lossyzip.compress(prepared.values, lossyzip.absolute(eps), effort=effort)
        decoded = lossyzip.decompress(blob)
        record = lossyzip.inspect(blob)
    except Exception as error:  # one field that fails must not lose the others' rows
        return row | {"problem": f"{type(error).__name__}: {error}"}
    return row | {
        "ours_bytes": str(len(blob)),
        "violations": str(exact.violations(prepared.values, decoded, eps)),
        "families": " ".join(record.families),
        "version": record.version,
        "seconds": f"{time.perf_counter() - start:.3f}",
    }


def _gains(row: Row) -> Row:
    """Our ratio over the best peer's, for the peers' customary settings and for all foldings."""
    usual = {peer.name: int(row[f"{peer.name}_bytes"]) for peer in PEERS if row[f"{peer.name}_bytes"]}
    anyhow = [int(row[f"{peer.name}_refolded_bytes"]) for peer in PEERS if row[f"{peer.name}_refolded_bytes"]]
    if not (usual and row["ours_bytes"]):
        return dict.fromkeys(GAINS, "")
    ours = int(row["ours_bytes"])
    best_peer = min(usual, key=lambda name: usual[name])
    return {
        "best_peer": best_peer,
        "gain": f"{usual[best_peer] / ours:.4f}",
        "refolded_gain": f"{min(anyhow) / ours:.4f}",
    }


def geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")
