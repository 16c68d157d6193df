"""Quantization codes <-> tokens of one byte and extra bits. Knows nothing of their statistics.

A code of magnitude below 32 is a token of its own. A larger one is a bucket, an octave cut into
four, whose place within the bucket follows as extra bits. docs/FORMAT.md, "Tokens".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, kernel, lean, merged
from lossyzip.entropy.words import WORD, get, put
from lossyzip.errors import SelfCheckError
from lossyzip.kept import kept_room

RADIUS = 2.0**28  # codes are smaller than this in magnitude
DIRECT = 32  # magnitudes below have a token each
FIRST_BUCKET = 63
ESCAPE = 254  # the true token follows in eight extra bits: it is too rare for its context's table
OUTLIER_TOKEN = 255
_BLOCK = 1024  # codes that are looked at together
_FEW = 16  # tokens, among which there is mostly no large one
_FEW_TOKENS = 1 << 16
OUTLIER = np.int32(-(2**31))  # in an array of codes
LARGE, BATCHES = 2, 3  # places in an encoder's cursor
LEFT_OUT = 5  # in that of either direction: whether the last batch was left out
GROUP_CELLS = 32  # context cells of a group of passes
FLAG_CELL = 30  # of these: of the flags of batches, behind one that was 0 or 1


class Symbols(NamedTuple):
    """Codes in the order of decoding, as tokens, and the context cell of each.

    They may come in batches: each behind a flag, whether there is anything but zeros in it; those with
    nothing are left out.
    """

    tokens: np.ndarray  # (n,) uint8
    cells: np.ndarray  # (n,) uint8
    large: np.ndarray  # (m,) int32: the codes whose token is a bucket
    batches: np.ndarray  # (b,) int64: their lengths, negative if left out; empty where there are no flags

    @classmethod
    def of(cls, codes: np.ndarray, cells: np.ndarray) -> Symbols:
        """In no batches."""
        tokens, large = np.empty(codes.size, np.uint8), np.empty(codes.size, np.int32)
        cursor = np.zeros(5, np.int64)
        append_tokens(codes, tokens, large, cursor)
        return cls(tokens, cells, large[: cursor[LARGE]], np.empty(0, np.int64))

    @classmethod
    def room(cls, size: int, kept: bool) -> Symbols:
        """For ``size`` codes, to be filled, each with a flag at worst; if ``kept``, until the next are."""
        parts = [
            ("tokens", 2, np.uint8),
            ("cells", 2, np.uint8),
            ("large", 1, np.int32),
            ("batches", 1, np.int64),
        ]
        if kept:
            return cls(*(kept_room(name, times * size, np.dtype(part)) for name, times, part in parts))
        return cls(*(np.empty(times * size, part) for _, times, part in parts))

    def filled(self, cursor: np.ndarray) -> Symbols:
        """What is there once kernels filled it and counted in ``cursor``."""
        count = cursor[0]
        return Symbols(
            self.tokens[:count],
            self.cells[:count],
            self.large[: cursor[LARGE]],
            self.batches[: cursor[BATCHES]],
        )

    def codes(self) -> np.ndarray:
        """All codes, int32, without flags. Raises SelfCheckError where the parts do not fit together."""
        kept = int(np.maximum(self.batches, 0).sum()) + self.batches.size
        buckets = np.count_nonzero((self.tokens >= FIRST_BUCKET) & (self.tokens != OUTLIER_TOKEN))
        if (self.batches.size and kept != self.tokens.size) or buckets != self.large.size:
            raise SelfCheckError(f"{self.tokens.size} tokens of {kept}, {self.large.size} large of {buckets}")
        codes = np.empty(int(np.abs(self.batches).sum()) or self.tokens.size, np.int32)
        _codes_of(self.tokens, self.large, self.batches, codes)
        return codes


@kernel
def append_tokens(codes, tokens, large, cursor):
    """Fill ``tokens``; put large codes into ``large`` behind those that cursor[LARGE] counts."""
    for start in range(0, codes.size, _BLOCK):
        end = min(start + _BLOCK, codes.size)
        code, token = codes[start:end], tokens[start:end]
        if not _small_tokens(code, token):
            _large_tokens(code, token, large, cursor)


@merged
def end_batch(size, symbols, cell, cursor):
    """Put the flag before the ``size`` tokens at the end of ``symbols``, and keep or drop these.

    ``cell`` is one of theirs. Returns whether they are kept: whether some are not 0.
    """
    at = cursor[0]
    some = largest_of(symbols.tokens[at + 1 : at + 1 + size]) > 0
    symbols.tokens[at] = np.uint8(1) if some else np.uint8(0)
    symbols.cells[at] = np.uint8(flag_cell(cell, 1 - cursor[LEFT_OUT]))
    symbols.batches[cursor[BATCHES]] = size if some else -size
    cursor[BATCHES] += 1
    cursor[LEFT_OUT] = np.int64(0) if some else np.int64(1)
    cursor[0] = at + 1 + (size if some else 0)
    return some


@merged
def flag_cell(cell, before):
    """That of the flag of a batch, one of whose own cells is ``cell``; ``before`` is the flag before."""
    return (np.int64(cell) & ~(GROUP_CELLS - 1)) + FLAG_CELL + np.int64(before)


@kernel
def _codes_of(tokens, large, batches, codes):
    source, found, left, some = 0, 0, codes.size, True
    batch = 0
    for i in range(codes.size):
        if batch < batches.size and (i == 0 or left == 0):
            left, some = abs(batches[batch]), batches[batch] > 0
            batch += 1
            source += 1  # the flag
        left -= 1
        token = np.int64(tokens[source]) if some else np.int64(0)
        source += 1 if some else 0
        if token < FIRST_BUCKET:
            codes[i] = code_of_token(token)
        elif token == OUTLIER_TOKEN:
            codes[i] = OUTLIER
        else:
            codes[i] = large[found]
            found += 1


def count_tokens(tokens: np.ndarray, cells: np.ndarray, histogram: np.ndarray) -> None:
    """Add the numbers of ``tokens`` by context cell to ``histogram`` (cells, 256), int64.

    Where there are many, four tables take turns at counting: one alone would wait for itself where tokens
    repeat.
    """
    flat = histogram.reshape(-1)
    if tokens.size < _FEW_TOKENS:
        _count_few(tokens, cells, flat)
        return
    counts = np.zeros((4, histogram.size), np.uint32)
    _count_tokens(tokens, cells, *counts)
    flat += counts.sum(axis=0, dtype=np.int64)


@lean
def _count_few(tokens, cells, counts):
    for i in range(tokens.size):
        counts[(np.int64(cells[i]) << 8) | np.int64(tokens[i])] += np.int64(1)


@lean
def _count_tokens(tokens, cells, counts0, counts1, counts2, counts3):
    whole = tokens.size & -4
    for i in range(0, whole, 4):
        counts0[(np.int64(cells[i]) << 8) | np.int64(tokens[i])] += np.uint32(1)
        counts1[(np.int64(cells[i + 1]) << 8) | np.int64(tokens[i + 1])] += np.uint32(1)
        counts2[(np.int64(cells[i + 2]) << 8) | np.int64(tokens[i + 2])] += np.uint32(1)
        counts3[(np.int64(cells[i + 3]) << 8) | np.int64(tokens[i + 3])] += np.uint32(1)
    for i in range(whole, tokens.size):
        counts0[(np.int64(cells[i]) << 8) | np.int64(tokens[i])] += np.uint32(1)


@helper
def _small_tokens(codes, tokens):
    """Whether all ``codes`` have tokens below FIRST_BUCKET, which are then in ``tokens``."""
    seen = np.int32(0)
    for i in range(codes.size):
        negated = np.int32(-codes[i])
        token = np.int32(np.int32(negated << 1) ^ np.int32(negated >> 31))  # 0, 1, -1, 2: 0, 1, 2, 3
        seen |= token | np.int32(token + 1)  # the token of OUTLIER is -1 here
        tokens[i] = np.uint8(token)
    return np.uint32(seen) <= np.uint32(FIRST_BUCKET)


@kernel
def _large_tokens(codes, tokens, large, cursor):
    """Fill ``tokens``, whatever the codes; append those that are buckets to ``large``.

    Octave and quarter of a bucket are the exponent and the first two digits of the magnitude as float64.
    """
    magnitudes = np.empty(codes.size, np.float64)
    for i in range(codes.size):
        magnitudes[i] = abs(np.float64(codes[i]))
    patterns = magnitudes.view(np.int64)
    for i in range(codes.size):
        bucket = (patterns[i] >> np.int64(50)) - np.int64((1023 + 5) << 2)
        negative = np.int64(1) if codes[i] < 0 else np.int64(0)
        bucketed = FIRST_BUCKET + 2 * bucket + negative
        magnitude = np.int64(magnitudes[i])
        small = 2 * magnitude - 1 + negative if magnitude > 0 else np.int64(0)
        token = small if magnitude < DIRECT else bucketed
        token = np.int64(OUTLIER_TOKEN) if codes[i] == OUTLIER else token
        tokens[i] = np.uint8(token)
    for start in range(0, codes.size, _FEW):
        end = min(start + _FEW, codes.size)
        if largest_of(tokens[start:end]) < FIRST_BUCKET:
            continue
        for i in range(start, end):
            if tokens[i] >= FIRST_BUCKET and tokens[i] != OUTLIER_TOKEN:
                large[min(cursor[LARGE], large.size - 1)] = codes[i]
                cursor[LARGE] += 1


@merged
def extra_bits_of(token):
    """How many come with a ``token``."""
    large = token >= FIRST_BUCKET and token != OUTLIER_TOKEN
    return ((token - FIRST_BUCKET) >> 3) + 3 if large else np.int64(0)


def pack_extra(
    tokens: np.ndarray,
    cells: np.ndarray,
    large: np.ndarray,
    context_of_cell: np.ndarray,
    listed: np.ndarray,
    rare: int,
    words: np.ndarray,
) -> None:
    """Write every code's extra bits; replace tokens that are not ``listed`` in their context by ESCAPE.

    ``words`` (uint64) must be zero and have a word more than the bits need.
    Tokens below ``rare`` have no extra bits and are listed wherever they occur.
    """
    eights = tokens[: tokens.size & -8].view(np.uint64)
    _pack_extra(tokens, eights, cells, large, context_of_cell, listed, rare, words, np.zeros(2, np.int64))


@lean
def _pack_extra(tokens, eights, cells, large, context_of_cell, listed, rare, words, cursor):
    """``eights`` are the tokens, eight in a word: most words have none to look at.

    A byte below 128 reaches 128 with ``more`` from ``rare`` on; others may make the next one seem to, too.
    """
    ones = np.uint64(0x0101010101010101)
    more, high = ones * np.uint64(128 - rare), ones * np.uint64(128)
    for k in range(eights.size):
        word = eights[k]
        if ((word + more) | word) & high:
            for i in range(8 * k, 8 * k + 8):
                _pack_token(tokens, i, cells, large, context_of_cell, listed, rare, words, cursor)
    for i in range(8 * eights.size, tokens.size):
        _pack_token(tokens, i, cells, large, context_of_cell, listed, rare, words, cursor)


@helper
def _pack_token(tokens, i, cells, large, context_of_cell, listed, rare, words, cursor):
    """``cursor`` counts the bits and the large codes."""
    token = np.int64(tokens[i])
    if token < rare:
        return
    if not listed[context_of_cell[cells[i]], token]:
        tokens[i] = np.uint8(ESCAPE)
        cursor[0] = put(words, cursor[0], token, np.int64(8))
    bits = extra_bits_of(token)
    if bits > 0:
        magnitude = abs(np.int64(large[cursor[1]]))
        cursor[1] += 1
        cursor[0] = put(words, cursor[0], magnitude & ((np.int64(1) << bits) - 1), bits)


@helper
def _get(words, cursor, bits):
    """The next ``bits`` of the extra bits; 0, and a negative cursor[4], behind their end."""
    position = cursor[3]
    cursor[3] = position + bits
    if position + bits > np.int64(words.size) * WORD:
        cursor[4] = -1
        return np.int64(0)
    return get(words, position, bits)


@merged
def code_of_token(token):
    """The code of a ``token`` below FIRST_BUCKET."""
    negative = (token & 1) - 1  # all ones or zero: a sign is not worth a branch, which could not be predicted
    return np.int32((((token + 1) >> 1) ^ negative) - negative)


@helper
def decode_rare_token(token, extra, cursor):
    """The code of any other token; takes its extra bits from ``extra`` (uint64 words) at bit cursor[3]."""
    if token == ESCAPE:
        token = _get(extra, cursor, np.int64(8))
    if token >= ESCAPE:
        if token == ESCAPE:
            cursor[4] = -1
        return OUTLIER
    if token < FIRST_BUCKET:
        return code_of_token(token)
    bucket = (token - FIRST_BUCKET) >> 1
    bits = (bucket >> 2) + 3
    magnitude = ((4 + (bucket & 3)) << bits) | _get(extra, cursor, bits)
    return np.int32(-magnitude if (token - FIRST_BUCKET) & 1 else magnitude)


@helper
def largest_of(tokens):
    largest = np.uint8(0)
    for i in range(tokens.size):
        largest = max(largest, tokens[i])
    return largest


@helper
def codes_of_row(tokens, largest, codes, extra, cursor):
    """Fill ``codes`` with what ``tokens`` stand for, ``largest`` being the largest; count outliers.

    The code of an outlier is 0 here, and its token OUTLIER_TOKEN: escaped tokens are replaced by the
    true ones. ``cursor`` is that of `entropy.stream.CodeStream`.
    """
    for i in range(tokens.size):
        token = np.int32(tokens[i])
        magnitude = np.int32(token + 1) >> 1
        negative = np.int32(np.int32(token & 1) - 1)  # all bits, or none
        codes[i] = np.int32(magnitude ^ negative) - negative
    return _large_codes(tokens, codes, extra, cursor) if largest >= FIRST_BUCKET else np.int64(0)


@helper
def _large_codes(tokens, codes, extra, cursor):
    """Correct the ``codes`` of tokens that are not below FIRST_BUCKET."""
    outliers = np.int64(0)
    for start in range(0, tokens.size, _FEW):
        end = min(start + _FEW, tokens.size)
        if largest_of(tokens[start:end]) >= FIRST_BUCKET:
            for i in range(start, end):
                if tokens[i] >= FIRST_BUCKET:
                    outliers += _large_code(tokens, i, codes, extra, cursor)
    return outliers


@merged
def _large_code(tokens, i, codes, extra, cursor):
    """Correct one code; whether it is an outlier's."""
    token, position = np.int64(tokens[i]), cursor[3]
    if token >= ESCAPE:
        codes[i] = decode_rare_token(token, extra, cursor)
        if codes[i] == OUTLIER:
            tokens[i] = np.uint8(OUTLIER_TOKEN)
            codes[i] = np.int32(0)
            return np.int64(1)
        return np.int64(0)
    bucket = (token - FIRST_BUCKET) >> 1
    bits = (bucket >> 2) + 3
    word, shift = position >> 6, np.uint64(position & 63)
    if word > np.int64(extra.size) - 2:
        cursor[4] = -1
        return np.int64(0)
    taken = (extra[word] >> shift) | ((extra[word + 1] << np.uint64(1)) << (np.uint64(63) - shift))
    taken &= (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    magnitude = ((4 + (bucket & 3)) << bits) | np.int64(taken)
    codes[i] = np.int32(magnitude if token & 1 else -magnitude)
    cursor[3] = position + bits
    return np.int64(0)
