"""Curves of rate and distortion: each compressor at each bound on each field, a row each, kept in a CSV file.

All bytes count, and every decoded value is checked. A row that the file has is never measured again; it
depends on the data (by checksum), the bound, the compressor and its version.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.exact import violations
from bench.fields import Field, Prepared, prepare
from bench.peer_curves import psnr_of, quality_of
from bench.peers import PEERS, Peer, Setting, Worker, best, customary, shared_array
from bench.quality import spectrum_error, structural_similarity
from bench.rows import Row, append, read

COLUMNS = (
    *("file", "field", "checksum", "shape", "compressor", "together", "rel", "db", "version", "setting"),
    *("bytes", "bits", "psnr", "max_error", "eps", "spectrum_error", "ssim", "encode", "decode"),
    *("violations", "problem"),
)
KEY = ("file", "field", "checksum", "compressor", "together", "rel", "db", "version")
Name = tuple[str, str]  # of a file, and of a field in it
LOOSER = (10.0, 3.0)  # times the largest bound: at ours, peers need as few bytes as we do


@dataclass(frozen=True)
class Contestant:
    """A compressor and what it is asked for: an absolute bound, or (``by_psnr``) the PSNR of even errors
    within that bound. ``together``: all fields of a file at once, trained for ``seconds`` (None: as long as
    lossyzip does by itself); ``peer``: None for ours."""

    name: str
    by_psnr: bool = False
    effort: str = "max"
    enhance: bool | str = False
    together: bool = False
    peer: Peer | None = None
    seconds: float | None = None


OURS = (
    Contestant("balanced", effort="balanced"),
    Contestant("max"),
    Contestant("balanced, psnr", True, effort="balanced"),
    Contestant("max, psnr", True),
    Contestant("max + enhance, psnr", True, enhance=True),
    Contestant("max + learned + enhance", enhance=True, together=True),
)
WITHOUT_ENHANCER = "max + learned"
"""A second row for each field of the last: its size before it was enhanced, and its values without that. What
it refers to is enhanced, which can only make it smaller."""
THEIRS = (
    *(Contestant(peer.name, peer=peer) for peer in PEERS),
    *(Contestant(f"{peer.name}, psnr", True, peer=peer) for peer in PEERS if peer.name == "sperr"),
)


@dataclass(frozen=True)
class Job:
    """What makes one row, or, of fields together, two for each field."""

    contestant: Contestant
    fields: tuple[Field, ...]
    rel: float


@dataclass(frozen=True)
class Result:
    """What a contestant made of a field; seconds are wall time of one thread."""

    bytes: int
    decoded: np.ndarray
    encode: float
    decode: float
    setting: str


def run(
    fields: list[Field],
    rels: list[float],
    contestants: Iterable[Contestant],
    output: Path | None,
    processes: int,
    tell: Callable[[Row], None],
    note: Callable[[str], None],
) -> list[Row]:
    """The rows asked for, those that ``output`` had included. New ones are told and written as they come;
    ``note`` is told who takes no part, and why."""
    known = {_key(row): row for row in (read(output) if output is not None and output.exists() else [])}
    fitting = [one for one in contestants if _takes_part(one, note)]
    jobs, checksums = list(_jobs(fields, rels, fitting)), _checksums(fields)
    wanted: dict[tuple[str, ...], None] = {}
    missing = []
    for job in jobs:
        keys = [_key(row) for row in _headers(job, checksums)]
        wanted |= dict.fromkeys(keys)
        if any(key not in known for key in keys):
            missing.append(job)
    for rows in _measured(missing, processes):
        for row in rows:
            if _key(row) not in known:
                known[_key(row)] = row
                tell(row)
                if output is not None:
                    append(output, COLUMNS, row)
    return [known[key] for key in wanted if key in known]


def _takes_part(one: Contestant, note: Callable[[str], None]) -> bool:
    try:
        if one.peer is not None:
            assert one.peer.version
    except PackageNotFoundError:
        note(f"{one.name} is left out: {one.peer.package if one.peer else ''} is not installed")
        return False
    if one.together and find_spec("torch") is None:
        note(f"{one.name} is left out: torch is not installed")
        return False
    return True


def _name(field: Field) -> Name:
    return field.file, field.name


def _checksums(fields: Iterable[Field]) -> dict[Name, str]:
    """Of those that have a range; without one no bound relative to it has a meaning."""
    found = {_name(field): prepare(field) for field in fields}
    return {name: prepared.checksum for name, prepared in found.items() if prepared is not None}


def _jobs(fields: list[Field], rels: list[float], contestants: list[Contestant]) -> Iterator[Job]:
    """Small files first; of each file, what is quick first."""
    files: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        files[field.file].append(field)
    alone = [one for one in contestants if not one.together]
    for some in sorted(files.values(), key=lambda some: sum(field.raw_bytes for field in some)):
        for field in some:
            for one in alone:
                looser = [times * max(rels) for times in LOOSER] if one.peer is not None else []
                yield from (Job(one, (field,), rel) for rel in [*looser, *rels])
        for rel in rels:
            yield from (Job(one, tuple(some), rel) for one in contestants if one.together)


def _headers(job: Job, checksums: dict[Name, str]) -> list[Row]:
    """The rows that a job makes, without what is measured."""
    import lossyzip

    one = job.contestant
    fields = [field for field in job.fields if _name(field) in checksums]
    return [
        {
            "file": field.file,
            "field": field.name,
            "checksum": checksums[_name(field)],
            "shape": "x".join(map(str, field.shape)),
            "compressor": name,
            "together": " ".join(field.name for field in fields) if one.together else "",
            "rel": f"{job.rel:g}",
            "db": f"{quality_of(job.rel):.3f}" if one.by_psnr else "",
            "version": lossyzip.__version__ if one.peer is None else one.peer.version,
        }
        for field in fields
        for name in ((one.name, WITHOUT_ENHANCER) if one.together else (one.name,))
    ]


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[column] for column in KEY)


def _measured(jobs: list[Job], processes: int) -> Iterator[list[Row]]:
    if processes == 1:
        with Measurer() as measurer:
            yield from map(measurer.rows, jobs)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_in_pool, job) for job in jobs]):
            yield done.result()


_MEASURERS: list[Measurer] = []  # of a process of the pool; its workers end with it


def _in_pool(job: Job) -> list[Row]:
    if not _MEASURERS:
        _MEASURERS.append(Measurer())
    return _MEASURERS[0].rows(job)


class Measurer:
    """Does jobs, in a process; keeps the peers' workers and the last field."""

    def __init__(self, timeout: float = 300.0) -> None:
        self._workers = {peer.name: Worker(peer.name, timeout=timeout) for peer in PEERS}
        self._last: tuple[Name, Prepared | None] | None = None
        self._shared: tuple[Name, Path] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for worker in self._workers.values():
            worker.close()

    def rows(self, job: Job) -> list[Row]:
        """None of fields without a range; a ``problem`` where the contestant fails."""
        one = job.contestant
        prepared = {}
        for field in job.fields:
            if (made := self._prepared(field)) is not None:
                prepared[field.name] = made
        if not prepared:
            return []
        checksums = {(job.fields[0].file, name): made.checksum for name, made in prepared.items()}
        headers = _headers(job, checksums)
        try:
            if one.together:
                results = _together(prepared, job)
            elif one.peer is not None:
                results = {(one.name, job.fields[0].name): self._peers(one.peer, job, *prepared.values())}
            else:
                results = {(one.name, job.fields[0].name): _alone(job, *prepared.values())}
        except Exception as error:  # one that fails must not lose the others' rows
            text = f"{type(error).__name__}: {error}"[:200]
            return [dict.fromkeys(COLUMNS, "") | row | {"problem": text} for row in headers]
        return [
            row | _judged(results[row["compressor"], row["field"]], prepared[row["field"]], job, row)
            for row in headers
        ]

    def _prepared(self, field: Field) -> Prepared | None:
        if self._last is None or self._last[0] != _name(field):
            self._last = _name(field), prepare(field)
        return self._last[1]

    def _peers(self, peer: Peer, job: Job, prepared: Prepared) -> Result:
        """The smallest output of all settings that keeps the bound."""
        (field,), by_psnr = job.fields, job.contestant.by_psnr
        if self._shared is None or self._shared[0] != _name(field):
            self._stack.close()
            self._shared = _name(field), self._stack.enter_context(shared_array(prepared.values))
        path = self._shared[1]
        settings = customary(peer, field.shape)
        if not settings:
            raise ValueError("takes no such shape")
        if by_psnr:
            settings = list(dict.fromkeys(Setting("psnr", setting.shape) for setting in settings))
        eps = prepared.eps(job.rel)
        level = quality_of(job.rel) if by_psnr else eps
        places = {setting: path.with_name(f"decoded{k}.npy") for k, setting in enumerate(settings)}
        trials = [
            self._workers[peer.name].run(path, setting, level, decoded=place)
            for setting, place in places.items()
        ]
        chosen = best(trials, prepared.values, np.inf if by_psnr else eps)
        if chosen is None:
            raise ValueError("; ".join(trial.problem for trial in trials))
        values = np.load(places[chosen.setting]).reshape(field.shape)
        return Result(chosen.bytes, values, chosen.encode[1], chosen.decode[1], str(chosen.setting))


def _alone(job: Job, prepared: Prepared) -> Result:
    import lossyzip

    one = job.contestant
    bound = lossyzip.psnr(quality_of(job.rel)) if one.by_psnr else lossyzip.absolute(prepared.eps(job.rel))
    started = time.perf_counter()
    blob = lossyzip.compress(prepared.values, bound, effort=one.effort, enhance=one.enhance, threads=1)
    encoded = time.perf_counter()
    values = lossyzip.decompress(blob, threads=1)
    decode = time.perf_counter() - encoded
    about = lossyzip.inspect(blob)
    return Result(len(blob), values, encoded - started, decode, _setting(about.families, about.enhancer))


def _together(prepared: dict[str, Prepared], job: Job) -> dict[tuple[str, str], Result]:
    """(contestant, field) -> result; what the archive takes beside its frames is shared out equally."""
    from lossyzip import absolute, decompress, inspect
    from lossyzip.container.archive import pack_archive
    from lossyzip.dataset import Coded, Learning, compress_related
    from lossyzip.enhancing import asked_for

    one = job.contestant
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def done(coded: Coded) -> None:
        nonlocal started
        seconds[coded.name] = time.perf_counter() - started
        started = time.perf_counter()

    options: dict[str, Any] = {"effort": one.effort, "threads": 1}
    coded = compress_related(
        {name: made.values for name, made in prepared.items()},
        {name: absolute(made.eps(job.rel)) for name, made in prepared.items()},
        Learning(one.seconds),
        done,
        enhancing=asked_for(one.enhance, one.seconds, 0, False),
        **options,
    )
    frames = {name: each.frame for name, each in coded.items()}
    archive = pack_archive(frames, {name: each.references for name, each in coded.items()})
    more = -(-(len(archive) - sum(map(len, frames.values()))) // len(frames))
    results = {}
    decoded: dict[str, np.ndarray] = {}
    for name, each in coded.items():
        references = [decoded[other] for other in each.references]
        started = time.perf_counter()
        decoded[name] = decompress(each.frame, references=references, threads=1)
        wall = time.perf_counter() - started
        plain = decompress(each.frame, references=references, threads=1, enhance=False)
        about = inspect(each.frame)
        setting = _setting(about.families, about.enhancer, each.references)
        whole = Result(len(each.frame) + more, decoded[name], seconds[name], wall, setting)
        before = _setting(about.families, "", each.references)
        results[one.name, name] = whole
        results[WITHOUT_ENHANCER, name] = Result(each.best_bytes + more, plain, seconds[name], wall, before)
    return results


def _setting(families: Iterable[str], enhancer: str, references: Iterable[str] = ()) -> str:
    text = " ".join(families) + (f" + {enhancer}" if enhancer else "")
    others = ", ".join(references)
    return text + (f" given {others}" if others else "")


def _judged(result: Result, prepared: Prepared, job: Job, header: Row) -> Row:
    values, eps = prepared.values, prepared.eps(job.rel)
    difference = values.astype(np.float64) - result.decoded
    span = prepared.high - prepared.low
    psnr = psnr_of(span, float(np.mean(difference * difference)))
    if header["db"]:
        outside = int(psnr < float(header["db"])) if job.contestant.peer is None else 0
    else:
        outside = violations(values, result.decoded, eps)
    return {
        "setting": result.setting,
        "bytes": str(result.bytes),
        "bits": f"{8 * result.bytes / values.size:.6g}",
        "psnr": f"{psnr:.4f}",
        "max_error": f"{np.abs(difference).max():.6g}",
        "eps": "" if header["db"] else repr(eps),
        "spectrum_error": f"{spectrum_error(values, result.decoded):.6g}",
        "ssim": f"{structural_similarity(values, result.decoded, span):.12g}",
        "encode": f"{result.encode:.3f}",
        "decode": f"{result.decode:.3f}",
        "violations": str(outside),
        "problem": "",
    }
