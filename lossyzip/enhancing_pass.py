"""A frame's tiles, read once more: what an enhancer is trained on, and each tile with its moves and marks.

The codes stay as they are. The enhanced values pass the door as the plain ones did: decoded from the very
bytes, and checked.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

import numpy as np

from lossyzip import enhancement, field
from lossyzip.bound import Bound
from lossyzip.carrier import NO_GUIDE, Guiding
from lossyzip.compressor import Written
from lossyzip.container import frame
from lossyzip.container.enhanced import Objective, Part, join, objective_section, split
from lossyzip.container.header import Header
from lossyzip.container.in_model import InModel
from lossyzip.decompose.families import Plan, write_plan
from lossyzip.decompressor import checker_of, content_checksum, plan_of_header
from lossyzip.enhancing import Enhancing
from lossyzip.errors import BoundViolationError, DecodeError, SelfCheckError
from lossyzip.guide import FieldGuide
from lossyzip.learned import corrections, observations
from lossyzip.learned import enhancement as training
from lossyzip.learned.enhancer import MOST_ZOOM, Enhancer
from lossyzip.objectives import objective_of
from lossyzip.threads import in_order
from lossyzip.tile import decode_tile, encode_tile

SECONDS_PER_BYTE = 60 / 100e6  # of training, if nothing is said
_TILES = 16  # that are sampled
_TIGHTER = 0.9  # eps, to see what bytes are worth
_RULE = 20.0 * math.log10(2.0)  # dB a bit, at least: what bits are worth where codes are many and alike


@dataclass(frozen=True)
class _Tile:
    """An enhanced tile that passed the door."""

    record: bytes
    plain: Any  # Checkers
    enhanced: Any
    sums: np.ndarray  # of the objective: of plain and of enhanced values
    seconds: float


class Pass:
    """A frame in ``spool``, to be enhanced; ``objective``: the name of what shall become better."""

    def __init__(self, job: Any, plain: Written, spool: IO[bytes], objective: str = "psnr") -> None:
        self._job, self._written = job, plain

        def read(offset: int, length: int) -> bytes:
            spool.seek(offset)
            return spool.read(length)

        self._reader = frame.FrameReader(read, plain.size, lambda data: Header.from_bytes(data).tile_count())
        self._header = Header.from_bytes(self._reader.header)
        self._plan = plan_of_header(self._header)
        self._where = self._header.tile_slices()
        self._objective = objective_of(objective, self._header.tile_shape)
        self._price: corrections.Price | None = None
        self._finer: tuple[float, np.ndarray] | None = None  # see `_priced`
        self._zoom = 0

    def train(self, asked: Enhancing) -> corrections.Judged | None:
        """An enhancer that pays on a sample."""
        sample, seconds = self._sample(asked)
        if self._price is None:
            return None
        judged = training.train(sample, self._price, asked.kinds, seconds, asked.seed)
        if judged is None or not self._zoom:
            return judged
        return judged._replace(enhancer=replace(judged.enhancer, zoom=self._zoom))

    @property
    def plan(self) -> Plan | None:
        return self._plan

    @property
    def price(self) -> corrections.Price | None:
        """What bytes are worth, once the middle tile was looked at."""
        return self._price

    def middle(self) -> int:
        """The tile that trials are made with."""
        chosen = self._chosen()
        return chosen[len(chosen) // 2]

    def _chosen(self) -> list[int]:
        count = len(self._where)
        return list(map(int, np.unique(np.linspace(0, count - 1, min(count, _TILES)).round())))

    def _sample(self, asked: Enhancing) -> tuple[observations.Sample, float]:
        """Points of up to `_TILES` tiles, and the seconds to learn from them."""
        rng = np.random.default_rng(asked.seed)
        chosen = self._chosen()
        samples = []
        middle = self.middle()  # first: it tells how large errors are
        chosen.remove(middle)
        for number in [middle, *chosen]:
            seen = self.look(number)
            if number == middle:
                view = observations.view_of(seen, rng)
            samples.append(observations.draw(seen, view, -(-observations.POINTS // (len(chosen) + 1)), rng))
        size = sum(where_size(where) for where in self._where) * self._header.dtype.itemsize
        seconds = SECONDS_PER_BYTE * size if asked.seconds is None else asked.seconds
        return observations.joined(samples, rng), seconds

    def look(self, number: int) -> observations.Seen:
        """A tile, as an enhancer sees it; the middle one tells what bytes are worth."""
        original, guiding = self._original(number), self._guide(number)
        decoded = self._decoded(number, guiding)
        seen = self._seen(original, decoded, guiding)
        if number == self.middle() and self._price is None:
            self._price = self._priced(number, original, seen.original, seen.decoded, seen.void, guiding)
            self._zoom = 0 if self._price.marked else self._zoom_of(seen.original, seen.decoded, seen.void)
        return seen._replace(eps=math.ldexp(self._header.eps, -self._zoom))

    def look_with(self, plan: Plan) -> tuple[float, observations.Seen]:
        """(times that the middle tile is larger with ``plan`` than it is, what an enhancer sees then)"""
        number = self.middle()
        original, guiding, before = self._original(number), self._guide(number), self._reader.tile(number)
        header = replace(self._header, family=plan.name, plan=write_plan(plan))
        mixing = self._job.effort.mixing(header.shape, header.tile_shape)
        payload = encode_tile(original, header, plan, mixing, None, guiding)
        decoded = decode_tile(payload, original.shape, header, plan, None, guiding).values
        return len(payload) / len(before.payload), self._seen(original, decoded, guiding)

    def _seen(self, original: np.ndarray, decoded: np.ndarray, guiding: Guiding) -> observations.Seen:
        values, void = np.ma.getdata(decoded), enhancement.void_of(decoded, self._header)
        whole = field.native(np.ma.getdata(original)).reshape(original.shape)
        guides = enhancement.guides_of(guiding, self._header)
        return observations.Seen(values, whole, void, self._header.low, self._header.eps, guides)

    def _zoom_of(self, whole: np.ndarray, values: np.ndarray, void: Any) -> int:
        """That with which the scale is about the largest of errors that are as even as quantization's."""
        left_out = ~np.isfinite(whole) if void is None else ~np.isfinite(whole) | void
        seen = max(values.size - int(np.count_nonzero(left_out)), 1)
        square = _square(whole, values, left_out, self._header.eps) / seen
        return min(max(round(-0.5 * math.log2(3.0 * square)), 0), MOST_ZOOM) if square > 0.0 else 0

    def _priced(
        self,
        number: int,
        original: np.ndarray,
        whole: np.ndarray,
        values: np.ndarray,
        void: Any,
        guide: Guiding,
    ) -> corrections.Price:
        """What bytes are worth, found by coding a tile with a smaller eps; no less than `_RULE`.

        `_finer` has that tile then: its bytes over those that it had, and its values.
        """
        total = sum(where_size(where) for where in self._where)
        rule = _RULE * 8.0 * self._written.size / total / 100.0
        marked = self._header.bound.kind != "psnr"
        if not marked:  # an enhancer costs next to nothing
            return corrections.Price(rule, self._written.size, total, len(self._where), marked)
        payload = self._reader.tile(number).payload
        tighter = replace(self._header, eps=_TIGHTER * self._header.eps)
        mixing = self._job.effort.mixing(self._header.shape, self._header.tile_shape)
        finer = encode_tile(original, tighter, self._plan, mixing, None, guide)
        seen = decode_tile(finer, original.shape, tighter, self._plan, None, guide).values
        left_out = ~np.isfinite(whole) if void is None else ~np.isfinite(whole) | void
        before, after = (_square(whole, v, left_out, self._header.eps) for v in (values, np.ma.getdata(seen)))
        self._finer = len(finer) / len(payload), seen
        more = 100.0 * (len(finer) / len(payload) - 1.0)
        found = 10.0 * math.log10(before / after) / more if more > 0.0 and before > after > 0.0 else 0.0
        return corrections.Price(max(found, rule), self._written.size, total, len(self._where))

    def encode(
        self,
        enhancer: Enhancer,
        write: Callable[[bytes], Any],
        bound: Bound | None = None,
        where: InModel | None = None,
    ) -> Written | None:
        """Write the frame with ``enhancer``; None, with something useless written, if it does not pay.

        ``bound``: what was asked, if it was another one than the frame's. ``where``: the model that has it.
        """
        own = enhancer.to_bytes()
        header = replace(self._header, enhancer=where or own, bound=bound or self._header.bound)
        head = frame.pack_head(header.to_bytes())
        write(head)
        seen = Header.from_bytes(header.to_bytes())  # as a decoder will see it
        read = Enhancer.from_bytes(own)
        plain, better = (checker_of(header, self._job.span, self._job.fill_values) for _ in range(2))
        sizes, seconds, sums = [], 0.0, np.zeros(())
        jobs = (
            partial(self._tile, number, self._reader.tile(number), self._original(number), seen, read)
            for number in range(len(self._where))
        )
        for tile in in_order(jobs, self._job.workers):
            write(tile.record)
            sizes.append(len(tile.record))
            plain.merge(tile.plain)
            better.merge(tile.enhanced)
            seconds += tile.seconds
            sums = sums + tile.sums
        gain = better.report().psnr - plain.report().psnr
        before, after = (self._objective.value(some) for some in sums)
        index = {"e": struct.pack("<d", better.report().max_error), "g": struct.pack("<d", gain)}
        told = self._told(before, after)
        end = frame.pack_end(sizes, index if told is None else index | {"o": objective_section(told)})
        write(end)
        size = len(head) + sum(sizes) + len(end)
        if not self._pays(gain, before, after, size):
            return None
        return replace(
            self._written,
            header=header,
            size=size,
            checked=better,
            encode_seconds=self._written.encode_seconds + seconds,
            gain=gain,
            objective=told,
        )

    def _pays(self, gain: float, before: float, after: float, size: int) -> bool:
        """Whether it does to have so many bytes for so many dB; ``before`` and ``after``: the objective."""
        return self._price is not None and gain > max(self._price.of(size - self._written.size), 0.0)

    def _told(self, before: float, after: float) -> Objective | None:
        """What the index says of the objective."""
        return None

    def _tile(
        self, number: int, tile: frame.Tile, original: np.ndarray, header: Header, enhancer: Enhancer
    ) -> _Tile:
        started = time.thread_time()
        guiding = self._guide(number)
        decoded = self._decoded(number, guiding, tile)
        part, sums = self._part(decoded, original, header, enhancer, guiding)
        payload = join(part, tile.payload)
        try:
            found, inner = split(payload)
            values = enhancement.enhance(decoded, found, header, enhancer, guiding)
        except DecodeError as error:
            raise SelfCheckError(
                f"lossyzip cannot decode its own output: {error}; nothing was kept. Please report this"
            ) from error
        if inner != tile.payload:
            raise SelfCheckError("a tile changed when it was enhanced; nothing was kept. Please report this")
        checkers = []
        origin = tuple(s.start for s in self._where[number])
        for array in (decoded, values):
            checker = checker_of(header, self._job.span, self._job.fill_values)
            checker.update(original, array, origin)
            report = checker.report()
            if report.violations:
                raise BoundViolationError(
                    f"{report.violations} values would be enhanced to outside the bound {header.bound}, the "
                    f"first at {report.first_violation}; nothing was kept. Please report this"
                )
            checkers.append(checker)
        record = frame.pack_record(payload, content_checksum(values))
        return _Tile(record, checkers[0], checkers[1], sums, time.thread_time() - started)

    def _part(
        self, decoded: np.ndarray, original: np.ndarray, header: Header, enhancer: Enhancer, guiding: Guiding
    ) -> tuple[Part, np.ndarray]:
        """The marks of a tile, nothing for one that would not be better; and the objective's sums."""
        moves = enhancement.Moves(decoded, header, enhancer, guiding)
        wanted = field.native(np.ma.getdata(original))
        patterns = field.special_patterns(header.part, self._job.fill_values)
        marks = enhancement.mark(moves, wanted, header.eps, patterns)
        values = enhancement.apply(decoded, moves, marks)
        sums = np.stack([self._sums(original, some) for some in (decoded, values)])
        plain, enhanced = map(self._objective.value, sums)
        if not enhanced < plain:
            return Part(None, b""), sums[[0, 0]]
        return Part(content_checksum(decoded), enhancement.pack_marks(moves, marks)), sums

    def _sums(self, original: np.ndarray, decoded: np.ndarray) -> np.ndarray:
        """The objective's, of a tile or a part of one."""
        wanted = field.native(np.ma.getdata(original)).reshape(original.shape)
        left_out = ~np.isfinite(wanted) | np.ma.getmaskarray(decoded)
        return self._objective.sums(wanted, np.ma.getdata(decoded), left_out, self._header.eps)

    def _original(self, number: int) -> np.ndarray:
        return field.read(self._job.source, self._where[number])

    def _guide(self, number: int) -> Guiding:
        guide: FieldGuide | None = self._job.guide
        return NO_GUIDE if guide is None else guide.guiding(self._where[number], self._header.specials)

    def _decoded(self, number: int, guiding: Guiding, tile: frame.Tile | None = None) -> np.ndarray:
        tile = self._reader.tile(number) if tile is None else tile
        shape = tuple(s.stop - s.start for s in self._where[number])
        values = decode_tile(tile.payload, shape, self._header, self._plan, None, guiding).values
        if content_checksum(values) != tile.content:
            raise SelfCheckError(f"tile {number} decodes to other values than before. Please report this")
        return values


def where_size(where: tuple[slice, ...]) -> int:
    return math.prod(s.stop - s.start for s in where)


def _square(a: np.ndarray, b: np.ndarray, left_out: np.ndarray, eps: float) -> float:
    """The sum of squares of differences, in units of eps."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = (a.astype(np.float64) - b.astype(np.float64)) / eps
    difference[left_out] = 0.0
    return float(np.square(difference).sum())
