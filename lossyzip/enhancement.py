"""Enhanced tiles: values moved towards the original's, and marks where that would leave the bound.

An enhancer (learned/enhancer.py) says for each decoded value by how much, and to which side. A move by c to
one side leaves the bound where the original lies within c of the bound's other end. Such a value is *marked*,
and since a mark tells that the original is there, the value is moved to the middle of that stretch instead,
which no value without a mark may need. So marks are not lost: they make good part of what they take.

With a PSNR bound there are no marks: a value may be off by eps and the largest correction.
docs/FORMAT.md, "Enhancers".
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import kernel
from lossyzip.bound import absolute
from lossyzip.carrier import NO_GUIDE, Guiding
from lossyzip.container.enhanced import Part
from lossyzip.container.guided import FROM_NETWORK
from lossyzip.container.header import Header
from lossyzip.entropy.stream import CodeStream, decode_tokens, encode_codes
from lossyzip.entropy.tokens import Symbols, codes_of_row, largest_of
from lossyzip.errors import CorruptError
from lossyzip.field import largest_coded, native
from lossyzip.learned.classify import CLASSES
from lossyzip.learned.enhancer import STEPS, Enhancer
from lossyzip.learned.filtering import Filter
from lossyzip.learned.network import Layer
from lossyzip.learned.terms import LIMITS, Feature

_ENHANCED, _OPPOSITE, _PLAIN = 0, 1, -1  # marks; the last where both others would leave the bound


class Moves:
    """Where the values of a decoded ``tile`` may be moved to; masked and special ones stay.

    ``guiding``: what guides tell of the tile, for an enhancer that sees them.
    """

    def __init__(
        self, tile: np.ndarray, header: Header, enhancer: Enhancer, guiding: Guiding = NO_GUIDE
    ) -> None:
        values = np.ma.getdata(tile)
        void = void_of(tile, header)
        guides = guides_of(guiding, header)
        classes = enhancer.classes(values, void, header.low, header.eps, guides).reshape(-1)
        corrections = np.array([0, *enhancer.corrections], np.int8)[np.abs(classes)]
        if void is not None:
            corrections[void.reshape(-1)] = 0
        self.marked = header.bound.kind != "psnr"
        self._header, self._values = header, native(values)
        self._step = enhancer.scale(header.eps) / (2 * STEPS)
        self._whole = (2 * STEPS) << enhancer.zoom  # eps, in steps
        self.moved = np.flatnonzero(corrections)  # flat places of values that a correction is for
        self.cells = (np.abs(classes[self.moved]) - 1).astype(np.uint8)
        self._signs = np.sign(classes[self.moved]).astype(np.int32)
        self._corrections = corrections[self.moved].astype(np.int32)

    def ahead(self) -> np.ndarray:
        """Moved values as they are without a mark,"""
        return self._at(2 * self._corrections)

    def opposite(self) -> np.ndarray:
        """and as they are with one."""
        return self._at(self._corrections - self._whole)

    def stay(self) -> np.ndarray:
        return self._values[self.moved]

    def _at(self, steps: np.ndarray) -> np.ndarray:
        values = self._values[self.moved].astype(np.float64)
        values += (self._signs * steps).astype(np.float64) * self._step
        kind = self._values.dtype.type
        with np.errstate(over="ignore"):
            rounded = values.astype(self._values.dtype)
        return np.clip(rounded, kind(self._header.low), kind(self._header.high))


def mark(moves: Moves, original: np.ndarray, eps: float, patterns: np.ndarray) -> np.ndarray:
    """The mark (int32) of each moved value, of the flat array ``original`` that these stand for."""
    if not moves.marked:
        return np.full(moves.moved.size, _ENHANCED, np.int32)
    wanted = original[moves.moved]
    marks = np.full(wanted.size, _PLAIN, np.int32)
    marks[_within(wanted, moves.opposite(), eps, patterns)] = _OPPOSITE
    marks[_within(wanted, moves.ahead(), eps, patterns)] = _ENHANCED
    return marks


def pack_marks(moves: Moves, marks: np.ndarray) -> bytes:
    if not marks.size or not moves.marked:
        return b""
    return encode_codes(Symbols.of(marks, moves.cells), 1, CLASSES)


def unpack_marks(moves: Moves, data: bytes) -> np.ndarray:
    """Raises a DecodeError for other bytes than `pack_marks` made for these moves."""
    marks = np.full(moves.moved.size, _ENHANCED, np.int32)
    if not marks.size or not moves.marked:
        if data:
            raise CorruptError(f"{len(data)} bytes of marks for a tile without moves")
        return marks
    stream = CodeStream(data, 1, CLASSES)
    _decode(stream.coder, moves.cells, np.empty(marks.size, np.uint8), marks, stream.extra, stream.cursor)
    stream.check_used_up(0)
    if marks.min() < _PLAIN or marks.max() > _OPPOSITE:
        raise CorruptError(f"marks of a tile are from {marks.min()} to {marks.max()}")
    return marks


def apply(tile: np.ndarray, moves: Moves, marks: np.ndarray) -> np.ndarray:
    """``tile`` (native byte order) with its values moved; a masked array if it is one."""
    values = native(np.ma.getdata(tile)).copy()
    moved = np.where(marks == _ENHANCED, moves.ahead(), moves.opposite())
    values[moves.moved] = np.where(marks == _PLAIN, moves.stay(), moved)
    enhanced = values.reshape(tile.shape)
    if isinstance(tile, np.ma.MaskedArray):
        return np.ma.MaskedArray(enhanced, np.ma.getmaskarray(tile), fill_value=tile.fill_value)
    return enhanced


def enhance(
    tile: np.ndarray, part: Part, header: Header, enhancer: Enhancer, guiding: Guiding = NO_GUIDE
) -> np.ndarray:
    """What a decoder makes of the plain ``tile``."""
    if part.content is None:
        return tile
    moves = Moves(tile, header, enhancer, guiding)
    return apply(tile, moves, unpack_marks(moves, part.marks))


@kernel
def _decode(coder, cells, tokens, codes, extra, cursor):
    decode_tokens(tokens, cells, coder, cursor)
    codes_of_row(tokens, largest_of(tokens), codes, extra, cursor)


def warmup(dtype: np.dtype) -> None:
    """Compile the kernels for tiles of ``dtype``."""
    tile = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    weights, zero = np.ones((1, len(LIMITS)), np.int64), np.zeros(1, np.int64)
    filter_ = Filter((Feature(0, 2),), Layer(weights[:, :1], zero, zero))
    parts = ((Feature(0, 2),), (), Layer(weights, zero, zero), 1, 0, (STEPS,) * CLASSES)
    enhancer = Enhancer(*parts, filter=filter_)
    header = Header(dtype, tile.shape, tile.shape, absolute(1.0), 1.0, 0.0, 59.0, (), "raster", b"", ())
    moves = Moves(tile, header, enhancer)
    marks = mark(moves, tile.reshape(-1), 1.0, np.zeros(0, np.uint64))
    enhance(tile, Part(0, pack_marks(moves, marks)), header, enhancer)


def guides_of(guiding: Guiding, header: Header) -> dict[int, np.ndarray]:
    """By the numbers that an enhancer has for them; what is subtracted is within the field's span."""
    found = dict(enumerate([] if guiding.beside is None else guiding.beside))
    if guiding.subtracted is not None:
        kind = guiding.subtracted.dtype.type
        found[FROM_NETWORK] = np.clip(guiding.subtracted, kind(header.low), kind(header.high))
    return found


def void_of(tile: np.ndarray, header: Header) -> np.ndarray | None:
    """Values that come back bit for bit, as far as they themselves tell; None if there are none."""
    values = np.ma.getdata(tile)
    with np.errstate(invalid="ignore"):
        void = ~(np.abs(values) <= largest_coded(values.dtype))
    void |= (values == 0) & np.signbit(values)
    if header.specials:
        bits = np.ascontiguousarray(values).view(f"u{values.itemsize}")
        void |= np.isin(bits, np.array(header.specials, bits.dtype))
    if isinstance(tile, np.ma.MaskedArray):
        void |= np.ma.getmaskarray(tile)
    return void if void.any() else None


def _within(a: np.ndarray, b: np.ndarray, eps: float, patterns: np.ndarray) -> np.ndarray:
    """Which of ``b`` are within ``eps`` of ``a`` without rounding (checker.py), special ones bit for bit."""
    bits, others = (values.view(f"u{values.itemsize}") for values in (a, b))
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = a.astype(np.float64), b.astype(np.float64)
        difference = x - y
        back = difference - x
        error = (x - (difference - back)) - (y + back)
        beyond = np.where(difference > 0.0, error > 0.0, error < 0.0)
        size = np.abs(difference)
        good = (size < eps) | ((size == eps) & ~beyond)
    special = ~np.isfinite(x) | ((x == 0.0) & np.signbit(x)) | np.isin(bits, patterns.astype(bits.dtype))
    result: np.ndarray = np.where(special, bits == others, good)
    return result
