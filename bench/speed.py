"""Speed of lossyzip, SZ3 and ZFP in the same run: warm, each in its own process, CPU and wall time.

Each compressor with its default settings on the field's own axes (4-D: leading axes merged for the
peers). With one thread, thread pools of the libraries underneath are held to one thread, too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.fields import Field, prepared_fields
from bench.peers import ONE_THREAD, PEERS, Setting, Worker, customary, shared_array
from bench.rows import Row, write

COMPARED = ("sz3", "zfp")
COLUMNS = (
    *("file", "field", "rel", "raw_bytes", "compressor", "threads", "bytes"),
    *("compress_cpu", "compress_wall", "decompress_cpu", "decompress_wall"),
    *("encode_seconds", "verify_seconds", "problem"),
)


def run(
    fields: list[Field],
    rels: list[float],
    effort: str,
    threads: list[int],
    repeats: int,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """One row a field, bound, number of threads and compressor; the peers run with one thread."""
    contestants = [("lossyzip", count, Worker("lossyzip", _environment(count))) for count in threads]
    contestants += [(name, 1, Worker(name)) for name in COMPARED]
    rows: list[Row] = []
    try:
        for field, prepared in prepared_fields(fields):
            with shared_array(prepared.values) as path:
                for rel in rels:
                    for name, count, worker in contestants:
                        setting = _setting(name, field.shape, effort)
                        trial = worker.run(path, setting, prepared.eps(rel), repeats + 1, count)
                        row = {
                            "file": field.file,
                            "field": field.name,
                            "rel": f"{rel:g}",
                            "raw_bytes": str(field.raw_bytes),
                            "compressor": name,
                            "threads": str(count),
                            "bytes": str(trial.bytes),
                            "compress_cpu": f"{trial.encode[0]:.4f}",
                            "compress_wall": f"{trial.encode[1]:.4f}",
                            "decompress_cpu": f"{trial.decode[0]:.4f}",
                            "decompress_wall": f"{trial.decode[1]:.4f}",
                            "encode_seconds": f"{trial.report.get('encode', trial.encode[0]):.4f}",
                            "verify_seconds": f"{trial.report.get('verify', 0.0):.4f}",
                            "problem": trial.problem,
                        }
                        rows.append(row)
                        tell(row)
    finally:
        for _, _, worker in contestants:
            worker.close()
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def _environment(threads: int) -> dict[str, str]:
    return dict.fromkeys(ONE_THREAD, str(threads))


def _setting(name: str, shape: tuple[int, ...], effort: str) -> Setting:
    if name == "lossyzip":
        return Setting(effort, shape)
    peer = next(peer for peer in PEERS if peer.name == name)
    defaults = [setting for setting in customary(peer, shape) if setting.algorithm == peer.algorithms[0]]
    return defaults[-1]
