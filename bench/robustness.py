"""What compressors do with odd inputs and damaged streams: one outcome a compressor and case.

Each trial of a situation says what is done: *return* compresses, decompresses and judges; *nonsense*
does so with an eps without a meaning; *again* compresses what came back; *cut*, *flip*, *random*,
*none* and *foreign* give the decompressor other bytes than the compressor made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np

from bench.callers import CONTESTANTS, Contestant
from bench.isolated import Answer, Isolated, Request
from bench.rows import Row, write
from bench.situations import SITUATIONS, Case, Situation
from bench.verdict import OUTCOMES, judge, same

COLUMNS = ("situation", "compressor", "case", "outcome", "detail")
FAILURES = ("crash", "hang", "silent", "changed", "missed", "lost", "accepted", "rounded", "inexact")
"""Outcomes that lossyzip promises not to have."""
FLIPS, CUTS, RANDOM = 64, 16, 16  # damaged streams of a case

Found = Iterator[tuple[str, str, str]]  # (case, outcome, detail)


def installed() -> list[Contestant]:
    return [one for one in CONTESTANTS.values() if all(find_spec(package) for package in one.packages)]


def run(
    pattern: str,
    contestants: list[Contestant],
    output: Path | None,
    tell: Callable[[str], None],
) -> list[Row]:
    """Rows of the situations whose name is like ``pattern``; one process a compressor."""
    rows: list[Row] = []
    chosen = [situation for situation in SITUATIONS if fnmatchcase(situation.name, pattern)]
    processes = {one.name: Isolated(one.name) for one in contestants}
    try:
        for situation in chosen:
            for one in contestants:
                start = len(rows)
                for found in _trials(one, situation, processes):
                    rows.append(dict(zip(COLUMNS, (situation.name, one.name, *found), strict=True)))
                tell(f"{situation.name}: {one.title} {_cell([row['outcome'] for row in rows[start:]])}")
    finally:
        for process in processes.values():
            process.close()
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def _trials(one: Contestant, situation: Situation, processes: dict[str, Isolated]) -> Found:
    for index, case in enumerate(situation.cases()):
        if situation.trial in ("return", "nonsense", "again"):
            yield case.name, *_judged(one, situation, index, case, processes[one.name])
        else:
            yield from _damaged(one, situation, index, case, processes)


def _judged(
    one: Contestant, situation: Situation, index: int, case: Case, process: Isolated
) -> tuple[str, str]:
    """The best outcome over the shapes that the array is tried in."""
    found: tuple[str, str] | None = None
    for shape in _shapes(one, case.array.shape) if situation.fold else [None]:
        request = Request(situation.route, case.ask, situation.name, index, shape=shape)
        this = _outcome(situation, case, process.ask(request), request, process)
        if found is None or OUTCOMES.index(this[0]) > OUTCOMES.index(found[0]):
            found = this
        if this[0] != "refused":
            break
    assert found is not None
    return found


def _outcome(
    situation: Situation, case: Case, answer: Answer, request: Request, process: Isolated
) -> tuple[str, str]:
    if answer.decoded is None:
        return answer.state, answer.told
    decoded = answer.decoded
    if situation.trial == "nonsense":
        return ("harmless", "bit for bit") if same(case.array, decoded) else ("accepted", "")
    if situation.trial == "again":
        second = process.ask(Request(request.route, request.ask, array=decoded))
        if second.decoded is None:
            return second.state, second.told
        return ("same" if same(decoded, second.decoded) else "drifts"), ""
    if request.shape is not None and decoded.shape == request.shape:
        decoded = decoded.reshape(case.array.shape)
    return judge(case.array, decoded, case.ask)


def _shapes(one: Contestant, shape: tuple[int, ...]) -> list[tuple[int, ...] | None]:
    """As it is, unless the compressor is documented to take no such array; then with axes merged."""
    own = tuple(n for n in shape if n != 1) or (1,)
    merged = [own] if len(own) <= 4 else [(prod(own[:-3]), *own[-3:])]
    if len(own) > 3:
        merged.append((prod(own[:-2]), *own[-2:]))
    if len(own) == 1:
        merged.append((1, *own))
    fitting = [axes for axes in merged if one.min_axes <= len(axes) <= one.max_axes and axes != shape]
    as_is = one.min_axes <= len(shape) <= one.max_axes or not fitting
    return [None, *fitting] if as_is else [*fitting]


def _damaged(
    one: Contestant, situation: Situation, index: int, case: Case, processes: dict[str, Isolated]
) -> Found:
    request = Request(situation.route, case.ask, situation.name, index)
    process = processes[one.name]
    whole = process.ask(request)
    if whole.decoded is None:
        yield case.name, whole.state, whole.told
        return
    if situation.trial == "foreign":
        others = {name: other.ask(request).encoded for name, other in processes.items() if name != one.name}
        streams = {f"of {name}": encoded for name, encoded in others.items() if encoded}
    else:
        streams = dict(_streams(situation.trial, whole.encoded))
    for label, encoded in streams.items():
        answer = process.ask(Request(situation.route, case.ask, situation.name, index, encoded=encoded))
        if answer.decoded is None:
            outcome = "detected" if answer.state == "lost" else answer.state
        elif situation.trial in ("cut", "flip") and same(answer.decoded, whole.decoded):
            outcome = "harmless"
        else:
            outcome = "silent"
        yield f"{case.name} {label}", outcome, answer.told


def _streams(trial: str, encoded: bytes) -> Iterator[tuple[str, bytes]]:
    length = len(encoded)
    if trial == "cut":
        for part in (*range(1, CUTS), None):
            end = length - 1 if part is None else length * part // CUTS
            yield f"{end} of {length} bytes", encoded[:end]
    elif trial == "flip":
        for number in range(FLIPS):
            at = length * number // FLIPS
            changed = bytearray(encoded)
            changed[at] ^= 1 << number % 8
            yield f"bit {number % 8} of byte {at} of {length}", bytes(changed)
    elif trial == "random":
        rng = np.random.default_rng(13)
        for number in range(RANDOM):
            yield f"{1 << number} bytes", rng.bytes(1 << number)
    else:
        yield "no bytes", b""


def cells(rows: list[Row]) -> list[list[str]]:
    """Header and lines: how many cases of a situation had which outcome, the worst first."""
    names = [name for name in CONTESTANTS if any(row["compressor"] == name for row in rows)]
    lines = [["situation", "cases", *(CONTESTANTS[name].title for name in names)]]
    for situation in dict.fromkeys(row["situation"] for row in rows):
        mine = [row for row in rows if row["situation"] == situation]
        outcomes = {name: [row["outcome"] for row in mine if row["compressor"] == name] for name in names}
        most = max(map(len, outcomes.values()))
        lines.append([situation, str(most), *(_cell(outcomes[name]) for name in names)])
    return lines


def _cell(outcomes: list[str]) -> str:
    kinds = [outcome for outcome in OUTCOMES if outcome in outcomes]
    if not kinds:
        return "-"  # not offered
    if len(kinds) == 1:
        return kinds[0]
    return ", ".join(f"{kind} {outcomes.count(kind)}" for kind in kinds)
