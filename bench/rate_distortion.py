"""PSNR of lossyzip beside its peers' at the same bits a value, one row a field and bound. All bytes count.

The bits of a row are those of the smallest output of any peer at the row's bound, relative to the range;
there each compressor shows the highest PSNR that it reaches (peer_curves.py says how it is searched).
PSNR = 20 log10((max - min) / rmse), measured here on what was decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.fields import Field, Prepared, prepared_fields
from bench.peer_curves import PeerCurves, Point, psnr_at, psnr_of
from bench.peers import PEERS
from bench.rows import Row, write

COLUMNS = (
    *("file", "field", "shape", "rel", "bits", "best_peer", "setting", "peer_psnr"),
    *("ours_psnr", "gain", "effort", "families", "seconds", "version", "problem"),
    *(f"{peer.name}_psnr" for peer in PEERS),
)
HEAD_START = 2.0  # dB above the best peer, where our own search begins


def run(
    fields: list[Field],
    rels: list[float],
    effort: str,
    curves: PeerCurves,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """All rows; each is told and written as soon as it is known."""
    rows: list[Row] = []
    for field, prepared in prepared_fields(fields):
        for rel in rels:
            bits, peers = curves.best(field, prepared, rel)
            best = peers[0]
            row = {
                "file": field.file,
                "field": field.name,
                "shape": "x".join(map(str, field.shape)),
                "rel": f"{rel:g}",
                "bits": f"{bits:.4f}",
                "best_peer": best.peer,
                "setting": best.setting,
                "peer_psnr": f"{best.psnr:.2f}",
                **{f"{peer.name}_psnr": "" for peer in PEERS},
                **{f"{reached.peer}_psnr": f"{reached.psnr:.2f}" for reached in peers},
            }
            row |= _ours(prepared, bits, best.psnr, effort)
            rows.append(row)
            tell(row)
            if output is not None:
                write(output, COLUMNS, rows)
    return rows


def _ours(prepared: Prepared, bits: float, peer_psnr: float, effort: str) -> Row:
    import lossyzip

    families: list[str] = []

    def measure(db: float) -> Point:
        blob = lossyzip.compress(prepared.values, lossyzip.psnr(db), effort=effort, threads=1)
        decoded = lossyzip.decompress(blob, threads=1)
        families[:] = lossyzip.inspect(blob).families
        point = Point(8 * len(blob) / prepared.values.size, measured_psnr(prepared, decoded))
        if point.psnr < db:
            raise ValueError(f"{point.psnr} dB where {db} were asked for")
        return point

    row = {"effort": effort, "version": lossyzip.__version__, "problem": ""}
    start = time.perf_counter()
    try:
        reached = psnr_at(bits, peer_psnr + HEAD_START, measure)
    except Exception as error:  # one field that fails must not lose the others' rows
        return dict.fromkeys(COLUMNS[8:13], "") | row | {"problem": f"{type(error).__name__}: {error}"}
    return row | {
        "ours_psnr": f"{reached:.2f}",
        "gain": f"{reached - peer_psnr:.3f}",
        "families": " ".join(families),
        "seconds": f"{time.perf_counter() - start:.1f}",
    }


def measured_psnr(prepared: Prepared, decoded: np.ndarray) -> float:
    """Written apart from lossyzip's."""
    difference = prepared.values.astype(np.float64) - decoded
    return psnr_of(prepared.high - prepared.low, float(np.mean(difference * difference)))
