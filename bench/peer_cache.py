"""What the peers achieve on each field and bound, kept in a CSV file. Knows nothing of lossyzip.

A row depends on the data (by checksum), eps and the peers' versions alone, so that our own side can be
measured again without running them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.fields import Field, Prepared
from bench.peers import PEERS, Peer, Setting, Trial, Worker, best, customary, refolded, shared_array, within
from bench.rows import Row, append, read

PEER_COLUMNS = (
    *("bytes", "setting", "within", "error"),
    *("refolded_bytes", "refolded_setting", "problem", "version"),
)
"""``within`` tells whether the bound was kept (see peers.within), ``error`` is the largest one over eps."""
COLUMNS = (
    *("file", "field", "shape", "dtype", "checksum", "rel", "eps", "raw_bytes"),
    *(f"{peer.name}_{column}" for peer in PEERS for column in PEER_COLUMNS),
)


class PeerCache:
    """Rows of the file, and the workers that make missing ones. Every new row is written at once."""

    def __init__(self, path: Path | None, timeout: float = 300.0) -> None:
        self._path = path
        self._workers = {peer.name: Worker(peer.name, timeout=timeout) for peer in PEERS}
        self._rows: dict[tuple[str, ...], Row] = {}
        if path is not None and path.exists():
            self._rows = {self._key(row): row for row in read(path)}

    def rows(self, field: Field, prepared: Prepared, rels: list[float]) -> list[Row]:
        """One row a bound; a row stays valid for a peer that is not installed where the cache has it."""
        wanted = [self._header(field, prepared, rel) for rel in rels]
        missing = [row for row in wanted if not self._complete(row)]
        if missing:
            with shared_array(prepared.values) as path:
                for row in missing:
                    for peer in PEERS:
                        row |= self._measure(peer, prepared, path, float(row["eps"]))
                    self._rows[self._key(row)] = row
                    if self._path is not None:
                        append(self._path, COLUMNS, row)
        return [self._rows[self._key(row)] for row in wanted]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def _measure(self, peer: Peer, prepared: Prepared, path: Path, eps: float) -> Row:
        usual = customary(peer, prepared.values.shape)
        settings = list(dict.fromkeys([*usual, *refolded(peer, prepared.values.shape)]))
        trials = [self._workers[peer.name].run(path, setting, eps) for setting in settings]
        chosen = best([trial for trial in trials if trial.setting in usual], prepared.values, eps)
        anyhow = best(trials, prepared.values, eps)
        values = {
            "bytes": str(chosen.bytes) if chosen else "",
            "setting": str(chosen.setting) if chosen else "",
            "within": within(chosen, prepared.values, eps) if chosen else "",
            "error": f"{chosen.max_error / eps:.6g}" if chosen else "",
            "refolded_bytes": str(anyhow.bytes) if anyhow else "",
            "refolded_setting": str(anyhow.setting) if anyhow else "",
            "problem": _problems(settings, trials),
            "version": peer.version,
        }
        return {f"{peer.name}_{column}": value for column, value in values.items()}

    def _complete(self, header: Row) -> bool:
        row = self._rows.get(self._key(header))
        return row is not None and all(row[f"{peer.name}_version"] == _version(peer, row) for peer in PEERS)

    @staticmethod
    def _header(field: Field, prepared: Prepared, rel: float) -> Row:
        return {
            "file": field.file,
            "field": field.name,
            "shape": "x".join(map(str, field.shape)),
            "dtype": field.dtype.name,
            "checksum": prepared.checksum,
            "rel": f"{rel:g}",
            "eps": repr(prepared.eps(rel)),
            "raw_bytes": str(field.raw_bytes),
        }

    @staticmethod
    def _key(row: Row) -> tuple[str, ...]:
        return row["file"], row["field"], row["checksum"], row["eps"]


def _version(peer: Peer, row: Row) -> str:
    """The installed version; the one in ``row`` where none is, so that a cache serves without the peers."""
    from importlib.metadata import PackageNotFoundError

    try:
        return peer.version
    except PackageNotFoundError:
        return row[f"{peer.name}_version"]


def _problems(settings: list[Setting], trials: list[Trial]) -> str:
    if not settings:
        return "takes no such shape"
    problems = [f"{trial.setting}: {trial.problem}" for trial in trials if trial.problem]
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    return "; ".join(problems)
