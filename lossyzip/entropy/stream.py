"""The codes of a tile as bytes: model, extra bits and rANS words. docs/FORMAT.md, "Code stream"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossyzip._jit import brief, helper, merged
from lossyzip.entropy import contexts
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.entropy.rans import (
    LANES,
    TOTAL,
    Coder,
    decode_row,
    decode_symbol,
    encode_tokens,
    open_coder,
    reciprocals,
)
from lossyzip.entropy.tokens import (
    ESCAPE,
    FIRST_BUCKET,
    LEFT_OUT,
    Symbols,
    code_of_token,
    count_tokens,
    decode_rare_token,
    extra_bits_of,
    flag_cell,
    pack_extra,
)
from lossyzip.entropy.words import from_bytes, to_bytes
from lossyzip.errors import CorruptError, TruncatedError
from lossyzip.kept import apart, kept_room

_FEW_WORDS, _FEW_CODES = 2048, 1 << 18  # a shorter stream has one state, not eight
_MIXED, _MIXED_WITH_FLAGS = b"\0", b"\1"  # no context model has that size


def mixed_stream(data: bytes, flags: bool) -> bytes:
    """What a mixer wrote, as a stream of codes; ``flags``: with those of stretches."""
    return (_MIXED_WITH_FLAGS if flags else _MIXED) + data


def mixed_part(data: bytes | memoryview) -> tuple[bytes, bool] | None:
    """(what a mixer wrote, whether with flags); None for a stream of `encode_codes`."""
    kind = bytes(data[:1])
    return (bytes(data[1:]), kind == _MIXED_WITH_FLAGS) if kind in (_MIXED, _MIXED_WITH_FLAGS) else None


@dataclass(frozen=True)
class _Draft:
    """The model for some symbols, and what they take with it."""

    model: contexts.ContextModel
    model_bytes: bytes
    listed: np.ndarray  # (contexts, 256) bool: the token has a place in the table
    rare: int  # tokens below are listed wherever they occur, and have no extra bits
    extra_bits: int
    token_bits: float  # what rANS will take, about

    @classmethod
    def of(cls, symbols: Sequence[Symbols], groups: int, group_cells: int) -> _Draft:
        histogram = np.zeros((groups * group_cells, 256), np.int64)
        for some in symbols:
            count_tokens(some.tokens, some.cells, histogram)
        model, model_bytes, counts = contexts.fit(histogram, group_cells)
        listed = np.empty(counts.shape, bool)
        extra_bits, rare, token_bits = _settle(counts, model.frequency, listed)
        return cls(model, model_bytes, listed, rare, extra_bits, token_bits)


@brief
def _settle(counts, frequency, listed):
    """Fill ``listed``, for the numbers of tokens ``counts`` (contexts, 256); returns (extra bits, the first
    token that is escaped, or FIRST_BUCKET, and the bits that rANS takes for all)."""
    extra, rare, bits = np.int64(0), np.int64(FIRST_BUCKET), 0.0
    for context in range(counts.shape[0]):
        of_context = np.int64(0)
        for token in range(counts.shape[1]):
            there = frequency[context, token] > 0 and token != ESCAPE
            listed[context, token] = there
            count = counts[context, token]
            extra += count * extra_bits_of(np.int64(token))
            if there and count > 0:
                bits -= np.float64(count) * math.log2(frequency[context, token] / np.float64(TOTAL))
            elif count > 0:
                of_context += count
                rare = min(rare, np.int64(token))
        if of_context > 0:
            bits -= np.float64(of_context) * math.log2(max(frequency[context, ESCAPE], 1) / np.float64(TOTAL))
        extra += 8 * of_context
    return extra, rare, bits


def encode_codes(symbols: Symbols, groups: int, group_cells: int) -> bytes:
    """``symbols`` as bytes. Their tokens may be overwritten."""
    tokens, cells, large, _ = symbols
    draft = _Draft.of([symbols], groups, group_cells)
    model = draft.model
    extra = kept_room("extra", draft.extra_bits // 64 + 2, np.dtype(np.uint64))
    extra[:] = 0
    pack_extra(tokens, cells, large, model.context_of_cell, draft.listed, draft.rare, extra)
    words = kept_room("words", tokens.size + LANES, np.dtype(np.uint16))
    long = draft.token_bits > 16 * _FEW_WORDS or tokens.size > _FEW_CODES
    states = np.empty(LANES if long else 1, np.uint64)
    frequency = model.frequency.astype(np.uint32).ravel()
    start = (np.cumsum(model.frequency, axis=1) - model.frequency).astype(np.uint32).ravel()
    first = encode_tokens(
        tokens, cells, model.context_of_cell, frequency, start, reciprocals(model.frequency), states, words
    )
    sizes = bytearray()
    put_varint(sizes, len(draft.model_bytes))
    put_varint(sizes, draft.extra_bits)
    put_varint(sizes, states.size)
    coded = states.astype("<u4").data, words[first:].astype("<u2", copy=False).data
    return b"".join((sizes, draft.model_bytes, to_bytes(extra, draft.extra_bits), *coded))


def estimated_size(symbols: Sequence[Symbols], groups: int, group_cells: int, scale: float = 1.0) -> float:
    """About the bytes that `encode_codes` makes of all ``symbols`` together, without making them.

    ``scale``: of that many times as many, with one model.
    """
    draft = _Draft.of(symbols, groups, group_cells)
    return len(draft.model_bytes) + scale * (draft.extra_bits + draft.token_bits) / 8.0


class CodeStream:
    """What `encode_codes` wrote, opened: the `coder` and the `extra` bits that kernels decode from.

    `cursor` (int64) is theirs: codes, outliers, words and extra bits used, a negative number once one of
    them was used up too early, and whether the last batch was left out.
    """

    def __init__(self, data: bytes | memoryview, groups: int, group_cells: int) -> None:
        model_size, position = get_varint(data, 0)
        extra_bits, position = get_varint(data, position)
        lanes, position = get_varint(data, position)
        extra_end = position + model_size + (extra_bits + 7) // 8
        words_at = extra_end + 4 * lanes
        if lanes not in (1, LANES):
            raise CorruptError(f"a stream of codes has {lanes} states")
        if words_at > len(data):
            raise TruncatedError(f"a stream of codes has {len(data)} bytes, needs {words_at} and more")
        if (len(data) - words_at) % 2:
            raise CorruptError("a stream of codes ends within a word")
        model_data = bytes(data[position : position + model_size])
        model = contexts.read(model_data, groups * group_cells, group_cells)
        extra = data[position + model_size : extra_end]
        states = np.frombuffer(data[extra_end:words_at], "<u4")
        self.extra = from_bytes(extra)
        words = np.frombuffer(data[words_at:], "<u2")
        self.coder: Coder = open_coder(model.context_of_cell, model.frequency, states, words)
        self.cursor = apart(6, np.int64)
        self._extra_bits = extra_bits

    def check_used_up(self, outliers: int) -> None:
        """Raise CorruptError unless exactly ``outliers``, all words and all extra bits were used."""
        expected = [outliers, self.coder.words.size - 1, self._extra_bits, 0]
        if self.cursor[1:5].tolist() != expected:
            raise CorruptError(f"a stream of codes ends at {self.cursor[1:5].tolist()}, not at {expected}")


_NONE = np.zeros(1, np.uint32)
NO_CODER = Coder(_NONE.astype(np.uint8), _NONE.astype(np.uint8), _NONE, _NONE.copy(), _NONE.astype(np.uint16))


@helper
def decode_tokens(tokens, cells, coder, cursor):
    """Fill ``tokens`` with the next of the stream."""
    decode_row(
        tokens,
        cells,
        cursor[0],
        coder.context_of_cell,
        coder.token_of_slot,
        coder.interval,
        coder.states,
        coder.words,
        cursor,
    )
    cursor[0] += tokens.size


@merged
def begin_batch(cell, coder, extra, cursor):
    """Whether the next batch, one of whose cells is ``cell``, has anything but zeros."""
    states = coder.states
    context = np.int64(coder.context_of_cell[flag_cell(cell, 1 - cursor[LEFT_OUT])])
    lane = cursor[0] & (states.size - 1)
    token, states[lane], cursor[2] = decode_symbol(
        context, states[lane], cursor[2], coder.token_of_slot, coder.interval, coder.words
    )
    cursor[0] += 1
    flag = code_of_token(token) if token < FIRST_BUCKET else decode_rare_token(token, extra, cursor)
    if flag != 0 and flag != 1:
        cursor[4] = -1
    cursor[LEFT_OUT] = np.int64(0) if flag != 0 else np.int64(1)
    return flag != 0
