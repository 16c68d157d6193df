"""Sizes without loss beside those of byte shuffle + zstd, of the whole field."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zstandard

from bench.fields import Field
from bench.rows import Row, write
from lossyzip import compress, decompress, lossless

LEVELS = (3, 9)  # of zstd: its default, and the one of ours
COLUMNS = (
    *("file", "field", "shape", "raw_bytes", "ours_bytes", *(f"zstd{level}_bytes" for level in LEVELS)),
    *("compress_cpu", "decompress_cpu", "problem"),
)


def run(fields: list[Field], output: Path | None, tell: Callable[[Row], None]) -> list[Row]:
    """One row a field, its values as they are stored; every bit is compared."""
    rows: list[Row] = []
    for field in fields:
        values = np.ascontiguousarray(field.read()[0])
        shuffled = values.reshape(-1).view(np.uint8).reshape(values.size, values.itemsize).T.tobytes()
        started = time.process_time()
        blob = compress(values, lossless(), threads=1)
        compressed = time.process_time()
        decoded = decompress(blob, threads=1)
        decompressed = time.process_time()
        row = {
            "file": field.file,
            "field": field.name,
            "shape": "x".join(map(str, field.shape)),
            "raw_bytes": str(field.raw_bytes),
            "ours_bytes": str(len(blob)),
            "compress_cpu": f"{compressed - started:.4f}",
            "decompress_cpu": f"{decompressed - compressed:.4f}",
            "problem": "" if decoded.tobytes() == values.tobytes() else "other bits",
        }
        for level in LEVELS:
            size = len(zstandard.ZstdCompressor(level=level).compress(shuffled))
            row[f"zstd{level}_bytes"] = str(size)
        rows.append(row)
        tell(row)
    if output is not None:
        write(output, COLUMNS, rows)
    return rows
