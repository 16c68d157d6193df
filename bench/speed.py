"""Speed of lossyzip, SZ3 and ZFP in the same run: warm, each in its own process, CPU and wall time.

Each compressor with its default settings on the field's own axes (4-D: leading axes merged for the
peers). With one thread, thread pools of the libraries underneath are held to one thread, too. What several
threads may give is what as many processes give that run at once, with one thread each: cores share caches,
memory and, on many machines, what computes. What is done in the first tenths of a second does not count: a
virtual core that was idle runs at a third of its speed for as long.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.fields import Field, prepared_fields
from bench.peers import ONE_THREAD, PEERS, Setting, Trial, Worker, customary, shared_array
from bench.rows import Row, write

COMPARED = ("sz3", "zfp")
_WARM, _REPEATS = 0.3, 2  # seconds, and tries behind them, of a round
COLUMNS = (
    *("file", "field", "rel", "raw_bytes", "compressor", "threads", "processes", "bytes"),
    *("compress_cpu", "compress_wall", "decompress_cpu", "decompress_wall"),
    *("encode_seconds", "verify_seconds", "problem"),
)


class _Contestant(NamedTuple):
    """Processes that do the same at once, each in so many ``threads``."""

    name: str
    threads: int
    workers: list[Worker]

    def trial(self, path: Path, setting: Setting, eps: float) -> Trial:
        """That of the process that takes longest, of the better of its tries."""
        ask = partial(
            Worker.run,
            path=path,
            setting=setting,
            eps=eps,
            repeats=_REPEATS,
            threads=self.threads,
            warm=_WARM,
        )
        with ThreadPoolExecutor(len(self.workers)) as pool:
            return max(pool.map(ask, self.workers), key=lambda trial: trial.encode[1] + trial.decode[1])


def run(
    fields: list[Field],
    rels: list[float],
    effort: str,
    threads: list[int],
    repeats: int,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """One row a field, bound, number of threads or processes, and compressor; the peers run with one."""
    contestants = [_Contestant("lossyzip", n, [Worker("lossyzip", _environment(n))]) for n in threads]
    contestants += [
        _Contestant("lossyzip", 1, [Worker("lossyzip") for _ in range(n)]) for n in threads if n > 1
    ]
    contestants += [_Contestant(name, 1, [Worker(name)]) for name in COMPARED]
    rows: list[Row] = []
    try:
        for field, prepared in prepared_fields(fields):
            with shared_array(prepared.values) as path:
                for rel in rels:
                    settings = [_setting(contestant.name, field.shape, effort) for contestant in contestants]
                    trials = _measured(contestants, path, settings, prepared.eps(rel), repeats)
                    for (name, count, workers), trial in zip(contestants, trials, strict=True):
                        row = {
                            "file": field.file,
                            "field": field.name,
                            "rel": f"{rel:g}",
                            "raw_bytes": str(field.raw_bytes),
                            "compressor": name,
                            "threads": str(count),
                            "processes": str(len(workers)),
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
        for worker in (worker for contestant in contestants for worker in contestant.workers):
            worker.close()
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def _measured(
    contestants: list[_Contestant], path: Path, settings: list[Setting], eps: float, rounds: int
) -> list[Trial]:
    """The best of ``rounds`` of each. They take turns, as other load of the machine comes and goes."""
    best: list[Trial] = []
    for _ in range(rounds):
        trials = [
            contestant.trial(path, setting, eps)
            for contestant, setting in zip(contestants, settings, strict=True)
        ]
        best = [
            _faster(old, new, contestant.threads > 1)
            for old, new, contestant in zip(best or trials, trials, contestants, strict=True)
        ]
    return best


def _faster(old: Trial, new: Trial, by_wall: bool) -> Trial:
    """The better times of two trials of the same."""
    encoded = min(old, new, key=lambda trial: trial.encode[by_wall])
    decode = min(old.decode, new.decode, key=lambda seconds: seconds[by_wall])
    problem = old.problem or new.problem
    return replace(new, encode=encoded.encode, report=encoded.report, decode=decode, problem=problem)


def _environment(threads: int) -> dict[str, str]:
    return dict.fromkeys(ONE_THREAD, str(threads))


def _setting(name: str, shape: tuple[int, ...], effort: str) -> Setting:
    if name == "lossyzip":
        return Setting(effort, shape)
    peer = next(peer for peer in PEERS if peer.name == name)
    defaults = [setting for setting in customary(peer, shape) if setting.algorithm == peer.algorithms[0]]
    return defaults[-1]
