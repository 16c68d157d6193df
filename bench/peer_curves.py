"""The PSNR that the peers reach at given bits a value, kept in a CSV file. Knows nothing of lossyzip.

PSNR = 20 log10((max - min) / rmse) over all values. A peer is searched, not interpolated between far points:
its bound (SPERR: also its own mode for PSNR) is moved until the bits on both sides are close, and the PSNR
between those two is taken to be linear in the logarithm of the bits, which errs in favour of peers
whose sizes come in leaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.fields import Field, Prepared
from bench.peers import PEERS, Peer, Setting, Trial, Worker, customary, shared_array
from bench.rows import Row, append, read

COLUMNS = ("file", "field", "checksum", "peer", "setting", "db", "bytes", "mean_square", "version", "problem")
NEAR = 0.02  # both sides of the bits wanted are this close, relatively
MOST_STEPS = 12
ALSO_RAN = 1.1  # settings that are larger than the peer's best by more at a bound are not searched


@dataclass(frozen=True)
class Point:
    """What a compressor made of a field: bits a value and PSNR in dB."""

    bits: float
    psnr: float


@dataclass(frozen=True)
class Reached:
    """The highest PSNR of a peer at given bits a value."""

    peer: str
    setting: str
    psnr: float


Measure = Callable[[float], Point | None]  # of a quality in dB; None where it fails


class PeerCurves:
    """Asks workers, or the file where it has the answer. Every new answer is written at once."""

    def __init__(self, path: Path | None, timeout: float = 300.0) -> None:
        self._path = path
        self._workers = {peer.name: Worker(peer.name, timeout=timeout) for peer in PEERS}
        self._rows: dict[tuple[str, ...], Row] = {}
        if path is not None and path.exists():
            self._rows = {self._key(row): row for row in read(path)}

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def best(self, field: Field, prepared: Prepared, rel: float) -> tuple[float, list[Reached]]:
        """(bits a value of the smallest output at a bound of ``rel``, what each peer reaches at those bits).

        The list has the highest PSNR first.
        """
        with shared_array(prepared.values) as path:

            def measure(peer: Peer, setting: Setting, db: float) -> Point | None:
                return self._measure(field, prepared, path, peer, setting, db)

            db = quality_of(rel)
            at_bound = {
                (peer, setting): point
                for peer in PEERS
                for setting in customary(peer, field.shape)
                if (point := measure(peer, setting, db)) is not None
            }
            bits = min(point.bits for point in at_bound.values())
            found = []
            for peer in PEERS:
                own = {setting: point for (name, setting), point in at_bound.items() if name is peer}
                least = min((point.bits for point in own.values()), default=math.inf)
                tried = [setting for setting, point in own.items() if point.bits <= ALSO_RAN * least]
                if peer.name == "sperr":
                    tried += [Setting("psnr", setting.shape) for setting in own]
                for setting in tried:
                    psnr = psnr_at(bits, db, lambda db, p=peer, s=setting: measure(p, s, db))
                    found.append(Reached(peer.name, str(setting), psnr))
        best = {reached.peer: reached for reached in sorted(found, key=lambda reached: reached.psnr)}
        return bits, sorted(best.values(), key=lambda reached: -reached.psnr)

    def _measure(
        self, field: Field, prepared: Prepared, path: Path, peer: Peer, setting: Setting, db: float
    ) -> Point | None:
        row = {
            "file": field.file,
            "field": field.name,
            "checksum": prepared.checksum,
            "peer": peer.name,
            "setting": str(setting),
            "db": f"{db:.3f}",
            "version": peer.version,
        }
        if self._key(row) not in self._rows:
            level = (
                float(row["db"]) if setting.algorithm == "psnr" else prepared.eps(rel_of(float(row["db"])))
            )
            trial = self._workers[peer.name].run(path, setting, level)
            row |= _of(trial)
            self._rows[self._key(row)] = row
            if self._path is not None:
                append(self._path, COLUMNS, row)
        known = self._rows[self._key(row)]
        if known["problem"]:
            return None
        count = prepared.values.size
        return Point(
            8 * int(known["bytes"]) / count,
            psnr_of(prepared.high - prepared.low, float(known["mean_square"])),
        )

    @staticmethod
    def _key(row: Row) -> tuple[str, ...]:
        return tuple(row[column] for column in (*COLUMNS[:6], "version"))


def _of(trial: Trial) -> Row:
    return {"bytes": str(trial.bytes), "mean_square": repr(trial.mean_square), "problem": trial.problem}


def quality_of(rel: float) -> float:
    """The PSNR of errors that are spread evenly within a bound of ``rel``: 44.8 dB for 1e-2."""
    return 20.0 * math.log10(math.sqrt(3.0) / rel)


def rel_of(db: float) -> float:
    """The reverse of `quality_of`."""
    return math.sqrt(3.0) * 10.0 ** (-db / 20.0)


def psnr_of(span: float, mean_square: float) -> float:
    return 20.0 * math.log10(span / math.sqrt(mean_square)) if mean_square > 0.0 else math.inf


def psnr_at(bits: float, db: float, measure: Measure) -> float:
    """The PSNR that ``measure`` reaches at ``bits`` a value, by moving the quality that it is asked for.

    -inf where it fails, or where ``bits`` are out of its reach.
    """
    below: tuple[float, Point] | None = None
    above: tuple[float, Point] | None = None
    for step in range(MOST_STEPS):
        point = measure(db)
        if point is None:
            break
        if point.bits <= bits:
            below = (db, point)
        else:
            above = (db, point)
        if abs(math.log(point.bits / bits)) < 1e-3:
            return point.psnr + 6.02 * (bits - point.bits)
        if below is None or above is None:
            distance = (bits - point.bits) * 6.02
            least = 0.2 * 1.5**step
            db += math.copysign(max(abs(distance) * 1.05, least), distance)
            continue
        if math.log(above[1].bits / below[1].bits) < NEAR:
            break
        share = math.log(bits / below[1].bits) / math.log(above[1].bits / below[1].bits)
        db = below[0] + (above[0] - below[0]) * min(max(share, 0.1), 0.9)
    if below is None:
        return -math.inf
    if above is None:
        return below[1].psnr
    if above[1].bits == below[1].bits:
        return above[1].psnr
    share = math.log(bits / below[1].bits) / math.log(above[1].bits / below[1].bits)
    return max(below[1].psnr, below[1].psnr + share * (above[1].psnr - below[1].psnr))
