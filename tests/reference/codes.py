"""Codes from bytes: section 6 of FORMAT.md, except which neighbours make up the activity."""

from __future__ import annotations

from math import ceil

from reference.readers import Bits, Bytes, require

OUTLIER_MAGNITUDE = 255  # no magnitude is larger


def activity_of(total: int, weight: int) -> int:
    """``total``: the weighted sum of magnitudes around; ``weight``: the sum of their weights."""
    return (int(total) * (65536 // max(weight, 1))) >> 12


def cell_of(activity: int) -> int:
    """Within its group."""
    a = activity + 1
    n = a.bit_length() - 1
    logarithm = 8192 * n + (((a - 2**n) << 13) >> n)
    return min((21 * logarithm) >> 16, 29)


def context_cell(group: int, total: int, weight: int) -> int:
    return 32 * group + cell_of(activity_of(total, weight))


class Codes:
    def __init__(self, data: bytes, groups: int) -> None:
        reader = Bytes(data)
        model_size, self.extra_bits, lanes = (reader.varint() for _ in range(3))
        self.context_of_cell, self.frequencies = read_model(reader.take(model_size), groups)
        self.extra = Bits(reader.take(ceil(self.extra_bits / 8)))
        self.states = list(reader.numbers(f"{lanes}I"))
        self.words = Bytes(reader.rest())
        self.count = 0
        self.flag = 1

    def begin_batch(self, group: int) -> bool:
        """Whether the next batch has any codes."""
        code = self.next(32 * group + 30 + self.flag)
        require(code in (0, 1), "flag of a batch")
        self.flag = int(code == 1)
        return code == 1

    def next(self, cell: int) -> int | None:
        """The next code; None is an outlier."""
        token = self.next_token(self.frequencies[self.context_of_cell[cell]])
        if token == 254:
            token = self.extra.take(8)
        if token == 255:
            return None
        if token <= 62:
            magnitude = (token + 1) >> 1
        else:
            b = (token - 63) >> 1
            n = (b >> 2) + 3
            magnitude = ((4 + (b & 3)) << n) | self.extra.take(n)
        return magnitude if token & 1 else -magnitude

    def next_token(self, frequencies: list[int]) -> int:
        lane = self.count % len(self.states)
        self.count += 1
        state = self.states[lane]
        slot, token, start = state % 4096, 0, 0
        while slot >= start + frequencies[token]:
            start += frequencies[token]
            token += 1
        state = frequencies[token] * (state >> 12) + slot - start
        if state < 65536:
            state = (state << 16) | self.words.numbers("H")[0]
        self.states[lane] = state
        return token

    def used_up(self) -> bool:
        ended = all(state == 65536 for state in self.states)
        return ended and self.words.rest() == b"" and self.extra.at == self.extra_bits


def read_model(data: bytes, groups: int) -> tuple[list[int], list[list[int]]]:
    """The context of each cell, and the frequencies of each context."""
    bits = Bits(data)
    contexts, resolution = bits.take(6) + 1, bits.take(3)
    context_of_cell = [0] * (32 * groups)
    for group in range(groups if contexts > 1 else 0):
        context = 0
        for cell in range(bits.rice(3)):
            context += bits.signed(0)
            context_of_cell[32 * group + cell] = context
    return context_of_cell, [frequencies_of(read_levels(bits), resolution) for _ in range(contexts)]


def read_levels(bits: Bits) -> list[int]:
    levels, listed = [0] * 256, bits.rice(3)
    for token in (254, 255):
        if bits.take(1):
            levels[token] = bits.take(8) + 1
    k = bits.take(3)
    for token in range(listed):
        same_sign = token >= 3 and token % 2
        prediction = levels[token - 2] if same_sign else levels[token - 1] if token else 0
        levels[token] = prediction + bits.signed(k)
    return levels


def frequencies_of(levels: list[int], resolution: int) -> list[int]:
    weights = [round(256 * 2 ** ((level - 1) / 2**resolution)) if level else 0 for level in levels]
    frequencies = [max(1, weight * 4096 // sum(weights)) if weight else 0 for weight in weights]
    frequencies[frequencies.index(max(frequencies))] += 4096 - sum(frequencies)
    return frequencies
