"""Enhancers by kind, at the same bound: what they gain, what they cost, and what a smaller eps would have.

All bytes count. *codes alone* are the enhanced frame's without its enhancer, at equal PSNR, too: what it
gains by another plan than the plain frame has. Both sets of values that a frame holds are checked, each value
of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.exact import outside
from bench.fields import Field, Prepared, prepared_fields
from bench.rows import Row, write
from lossyzip import absolute, compress, decompress, inspect
from lossyzip.container.frame import FrameReader
from lossyzip.container.header import Header
from lossyzip.learned.enhancer import Enhancer

COLUMNS = (
    *("file", "field", "shape", "rel", "effort", "family", "asked", "kind", "plain_bytes", "enhanced_bytes"),
    *("bytes_percent", "model_bytes", "mark_bytes", "psnr_plain", "psnr_enhanced", "gain_db"),
    *("equal_psnr_bytes", "plain_wall", "enhance_wall", "decompress_wall", "values_a_second", "violations"),
    *("objective_left", "codes_bytes", "psnr_codes", "codes_share"),
)
_ATTEMPTS = 4  # to reach a PSNR


def run(
    fields: list[Field],
    bounds: list[float],
    effort: str,
    kinds: list[str],
    seconds: float | None,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """A row for each field, bound and kind ("offsets", "network", or "best" of both; or an objective)."""
    rows: list[Row] = []
    for field, prepared in prepared_fields(fields):
        for rel in bounds:
            for row in _rows_of(field, prepared, rel, effort, kinds, seconds):
                rows.append(row)
                tell(row)
            if output is not None:
                write(output, COLUMNS, rows)
    return rows


def _rows_of(
    field: Field, prepared: Prepared, rel: float, effort: str, kinds: list[str], seconds: float | None
) -> Iterable[Row]:
    values, eps = prepared.values, prepared.eps(rel)
    options: dict[str, Any] = {"effort": effort, "threads": 1}
    started = time.perf_counter()
    plain = compress(values, absolute(eps), **options)
    plain_wall = time.perf_counter() - started
    before = _psnr(prepared, decompress(plain))
    for asked in kinds:
        started = time.perf_counter()
        enhance = True if asked == "best" else asked
        blob = compress(values, absolute(eps), enhance=enhance, train_seconds=seconds, **options)
        wall = time.perf_counter() - started
        started = time.perf_counter()
        decoded = decompress(blob, threads=1)
        decompress_wall = time.perf_counter() - started
        both = decoded, decompress(blob, enhance=False)
        broken = sum(int(np.count_nonzero(outside(values, array, eps))) for array in both)
        after, about = _psnr(prepared, decoded), inspect(blob)
        finer = _bytes_at(prepared, eps, (len(plain), before), after, options)
        codes = len(blob) - sum(about.sections.get(name, 0) for name in ("enhancer", "marks"))
        share, families, of_codes = 1.0, ", ".join(inspect(plain).families), _psnr(prepared, both[1])
        if of_codes != before:  # another plan than the plain frame's
            share = codes / _bytes_at(prepared, eps, (len(plain), before), of_codes, options)
            families += " -> " + ", ".join(about.families)
        yield {
            "file": field.file,
            "field": field.name,
            "shape": "x".join(map(str, field.shape)),
            "rel": f"{rel:g}",
            "effort": effort,
            "family": families,
            "asked": asked,
            "kind": about.enhancer,
            "plain_bytes": str(len(plain)),
            "enhanced_bytes": str(len(blob)),
            "bytes_percent": f"{100 * (len(blob) / len(plain) - 1):.3f}",
            "model_bytes": str(about.sections.get("enhancer", 0)),
            "mark_bytes": str(about.sections.get("marks", 0)),
            "psnr_plain": f"{before:.3f}",
            "psnr_enhanced": f"{after:.3f}",
            "gain_db": f"{after - before:.3f}",
            "equal_psnr_bytes": str(finer),
            "plain_wall": f"{plain_wall:.2f}",
            "enhance_wall": f"{max(wall - plain_wall, 0.0):.2f}",
            "decompress_wall": f"{decompress_wall:.3f}",
            "values_a_second": _speed(blob, both[1]),
            "violations": str(broken),
            "objective_left": _left(about.objective_errors),
            "codes_bytes": str(codes),
            "psnr_codes": f"{of_codes:.3f}",
            "codes_share": f"{share:.3f}",
        }


def _left(errors: tuple[float, float] | None) -> str:
    """What an enhancer leaves of the error that it is for, if that is not PSNR."""
    return "" if errors is None or not errors[0] else f"{errors[1] / errors[0]:.4f}"


def _psnr(prepared: Prepared, decoded: np.ndarray) -> float:
    square = float(np.square(prepared.values.astype(np.float64) - decoded).mean())
    return 20 * math.log10((prepared.high - prepared.low) / math.sqrt(square)) if square else math.inf


def _bytes_at(
    prepared: Prepared, eps: float, known: tuple[int, float], psnr: float, options: dict[str, Any]
) -> int:
    """Of a plain frame of that PSNR: between ``known`` (bytes, PSNR), or one of a smaller eps, that does not
    reach it, and one of a smaller eps that does."""
    if not psnr > known[1]:
        return known[0]
    found, finer = [known], eps
    while len(found) <= _ATTEMPTS and not found[-1][1] >= psnr:  # another plan may have larger errors
        finer *= 10 ** ((found[-1][1] - psnr) / 20)
        blob = compress(prepared.values, absolute(finer), **options)
        found.append((len(blob), _psnr(prepared, decompress(blob))))
    size, reached = found[-1]
    if not reached >= psnr:
        return size
    below = max((one for one in found if one[1] < psnr), key=lambda one: one[1])
    share = (psnr - below[1]) / (reached - below[1])
    return round(below[0] * (size / below[0]) ** share)


def _speed(blob: bytes, plain: np.ndarray) -> str:
    """Values a second for which classes are found, of the first tile, on one core."""
    reader = FrameReader(
        lambda at, size: blob[at : at + size], len(blob), lambda h: Header.from_bytes(h).tile_count()
    )
    header = Header.from_bytes(reader.header)
    if not isinstance(header.enhancer, bytes):
        return ""
    enhancer, tile = Enhancer.from_bytes(header.enhancer), plain[header.tile_slices()[0]]
    walls = []
    for _ in range(3):
        started = time.perf_counter()
        enhancer.classes(tile, None, header.low, header.eps)
        walls.append(time.perf_counter() - started)
    return f"{tile.size / min(walls):.4g}"


def table(rows: list[Row]) -> str:
    """A line for each row, and for each bound and kind the means over fields."""
    head = ("field", "rel", "family", "asked", "kind", "bytes %", "gain dB", "PSNR", "bytes at equal PSNR")
    head += ("codes alone", "model B", "marks B", "more s", "Mvalues/s", "objective left")
    lines = ["| " + " | ".join(head) + " |", "|" + " :-- |" * 5 + " --: |" * 10]
    for row in rows:
        speed = float(row["values_a_second"] or "nan") / 1e6
        share = int(row["enhanced_bytes"]) / int(row["equal_psnr_bytes"])
        cells = [row["field"], row["rel"], row["family"], row["asked"], row["kind"] or "none"]
        cells += [row["bytes_percent"], row["gain_db"], row["psnr_enhanced"], f"{share:.3f}"]
        cells += [
            row["codes_share"],
            row["model_bytes"],
            row["mark_bytes"],
            row["enhance_wall"],
            f"{speed:.1f}",
            row["objective_left"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_means(rows)])


def _means(rows: list[Row]) -> Iterable[str]:
    head = ("rel", "asked", "fields", "enhanced", "mean gain dB", "mean bytes %", "bytes at equal PSNR")
    yield "| " + " | ".join([*head, "codes alone", "violations", "objective left"]) + " |"
    yield "|" + " :-- |" * 2 + " --: |" * 8
    for rel, asked in dict.fromkeys((row["rel"], row["asked"]) for row in rows):
        some = [row for row in rows if (row["rel"], row["asked"]) == (rel, asked)]
        shares = [int(row["enhanced_bytes"]) / int(row["equal_psnr_bytes"]) for row in some]
        cells = [rel, asked, str(len(some)), str(sum(bool(row["kind"]) for row in some))]
        cells += [
            f"{np.mean([float(row[name]) for row in some]):.2f}" for name in ("gain_db", "bytes_percent")
        ]
        alone = [float(row["codes_share"]) for row in some]
        cells += [f"{np.exp(np.mean(np.log(logs))):.3f}" for logs in (shares, alone)]
        cells.append(str(sum(int(row["violations"]) for row in some)))
        left = [float(row["objective_left"] or 1.0) for row in some]
        cells.append(f"{np.exp(np.mean(np.log(left))):.3f}")
        yield "| " + " | ".join(cells) + " |"
