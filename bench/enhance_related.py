"""Enhancers of fields that others help: with what references tell at decode, and without.

A set of fields is coded once; each field that needs references is enhanced twice, the same codes underneath.
All bytes count, and every value is checked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.exact import outside
from bench.fields import Field
from bench.rows import Row, write
from lossyzip import absolute, decompress, inspect, relative
from lossyzip.compressor import compress_field
from lossyzip.container.frame import FrameReader
from lossyzip.container.header import Header
from lossyzip.dataset import Learning, compress_related
from lossyzip.decompressor import Frame
from lossyzip.enhancing import asked_for
from lossyzip.guide import guide_of_frame
from lossyzip.learned import observations

COLUMNS = (
    *("file", "field", "rel", "effort", "references", "sees", "kind", "plain_bytes", "enhanced_bytes"),
    *("bytes_percent", "model_bytes", "gain_db", "equal_psnr_bytes", "violations"),
)


def run(
    fields: list[Field],
    bounds: list[float],
    effort: str,
    learning: Learning,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """Two rows for each field of each file that needs others, and each bound."""
    sets: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        sets[field.file].append(field)
    rows: list[Row] = []
    for together in sets.values():
        for rel in bounds:
            for row in _rows_of(together, rel, effort, learning):
                rows.append(row)
                tell(row)
            if output is not None:
                write(output, COLUMNS, rows)
    return rows


def _rows_of(fields: list[Field], rel: float, effort: str, learning: Learning) -> Iterable[Row]:
    arrays = {field.name: np.ascontiguousarray(field.read()[0]) for field in fields}
    fills = tuple(sorted({fill for field in fields for fill in field.read()[1]}))
    options: dict[str, Any] = {"effort": effort, "threads": 1, "fill_values": fills}
    coded = compress_related(arrays, dict.fromkeys(arrays, relative(rel)), learning, **options)
    decoded: dict[str, np.ndarray] = {}
    for name, one in coded.items():
        known = [decoded[reference] for reference in one.references]
        decoded[name] = decompress(one.frame, references=known)
        if not known:
            continue
        made = _Field(arrays[name], one.frame, known, options)
        for sees in ("itself", "references"):
            yield {
                "file": fields[0].file,
                "field": name,
                "rel": f"{rel:g}",
                "effort": effort,
                "references": " ".join(one.references),
                "sees": sees,
            } | made.enhanced(sees == "references")


class _Field:
    def __init__(
        self, array: np.ndarray, frame: bytes, known: list[np.ndarray], options: dict[str, Any]
    ) -> None:
        self._array, self._known, self._options = array, known, options
        reader = FrameReader(
            lambda at, size: frame[at : at + size], len(frame), lambda h: Header.from_bytes(h).tile_count()
        )
        self._guided, self._eps = Header.from_bytes(reader.header).guided, inspect(frame).eps
        self._plain = self._compressed(self._eps, None)

    def _compressed(self, eps: float, enhance: str | None) -> tuple[bytes, float]:
        """(frame, PSNR)"""
        guide, parts = None, list[bytes]()
        if self._guided is not None:
            native = self._array.dtype.newbyteorder("=")
            guide = guide_of_frame(self._guided, self._known, self._array.shape, native)
        asked = asked_for(enhance or False)
        report = compress_field(
            self._array, absolute(eps), parts.append, guide=guide, enhancing=asked, **self._options
        )
        return b"".join(parts), report.psnr

    def enhanced(self, sees_references: bool) -> Row:
        plain, before = self._plain
        with patch.object(observations, "view_of", observations.view_of if sees_references else _itself):
            blob, after = self._compressed(self._eps, "psnr")
        finer = len(plain)
        if after > before:
            other, reached = self._compressed(self._eps * 10 ** ((before - after) / 20), None)
            share = (after - before) / (reached - before) if reached > before else 1.0
            finer = round(len(plain) * (len(other) / len(plain)) ** share)
        about, broken = Frame.of_bytes(blob), 0
        for enhance in (True, False):
            values = decompress(blob, references=self._known, enhance=enhance)
            kept = np.isfinite(self._array) & ~np.isin(self._array, self._options["fill_values"])
            broken += int(np.count_nonzero(outside(self._array[kept], values[kept], self._eps)))
        return {
            "kind": about.enhancer,
            "plain_bytes": str(len(plain)),
            "enhanced_bytes": str(len(blob)),
            "bytes_percent": f"{100 * (len(blob) / len(plain) - 1):.3f}",
            "model_bytes": str(about.section_bytes().get("enhancer", 0)),
            "gain_db": f"{after - before:.3f}",
            "equal_psnr_bytes": str(finer),
            "violations": str(broken),
        }


def _itself(seen: observations.Seen, rng: np.random.Generator) -> observations.View:
    """As `observations.view_of`, of a tile without guides."""
    return observations.View(filter=_VIEW_OF(seen._replace(guides={}), rng).filter)


_VIEW_OF = observations.view_of


def table(rows: list[Row]) -> str:
    head = ("field", "rel", "sees", "kind", "bytes %", "gain dB", "bytes at equal PSNR", "model B")
    lines = ["| " + " | ".join(head) + " |", "|" + " :-- |" * 4 + " --: |" * 4]
    for row in rows:
        share = int(row["enhanced_bytes"]) / int(row["equal_psnr_bytes"])
        cells = [row["field"], row["rel"], row["sees"], row["kind"] or "none", row["bytes_percent"]]
        lines.append("| " + " | ".join([*cells, row["gain_db"], f"{share:.3f}", row["model_bytes"]]) + " |")
    lines += ["", "| rel | sees | fields | enhanced | mean gain dB | mean bytes % | bytes at equal PSNR |"]
    lines.append("|" + " :-- |" * 2 + " --: |" * 5)
    for rel, sees in dict.fromkeys((row["rel"], row["sees"]) for row in rows):
        some = [row for row in rows if (row["rel"], row["sees"]) == (rel, sees)]
        shares = [int(row["enhanced_bytes"]) / int(row["equal_psnr_bytes"]) for row in some]
        cells = [rel, sees, str(len(some)), str(sum(bool(row["kind"]) for row in some))]
        cells += [f"{np.mean([float(row[key]) for row in some]):.2f}" for key in ("gain_db", "bytes_percent")]
        lines.append("| " + " | ".join([*cells, f"{np.exp(np.mean(np.log(shares))):.3f}"]) + " |")
    return "\n".join(lines)
