"""Mixed codes from bytes: section 6.2 of FORMAT.md."""

from __future__ import annotations

from collections import defaultdict
from math import exp, log

import numpy as np

from reference.codes import OUTLIER_MAGNITUDE, activity_of, cell_of
from reference.passes import Known, Step
from reference.readers import require

SIZES = (1, 2, 4, 6, 8, 11, 15, 20, 28, 40, 60, 90, 140, 250, 600)
DISTANCES = (1, 3, 6, 10, 14, 22, 34, 56, 96, 200, 480)
LOGITS = [round(256 * log((i + 0.5) / (4095.5 - i))) for i in range(4096)]
PROBABILITIES = {d: min(max(round(65536 / (1 + exp(-d / 256))), 1), 65535) for d in range(-3071, 3072)}
OUTLIER_LENGTH = 29
STRETCH = 32  # points behind a flag


def rank(starts: tuple[int, ...], value: int) -> int:
    return sum(start <= value for start in starts)


def limited(value: int, most: int) -> int:
    return min(max(value, -most), most)


def learnt(p: int, used: int, bit: bool) -> tuple[int, int]:
    """A slot after ``bit``."""
    target = 2**22 - 1 if bit else 0
    return p + (((target - p) * (655360 // (10 * used + 16))) >> 16), min(used + 1, 1000)


class MixedCodes:
    def __init__(self, data: bytes, flags: bool) -> None:
        require(not data.endswith(b"\0"), "a zero at the end")
        self.flags, self.some, self.found = flags, True, False
        self.flag_slots: dict = defaultdict(lambda: (2**21, 0))
        self.data, self.width, self.words = data, 2**64 - 1, 0
        self.code = (self.word() << 32) | self.word()
        self.slots: dict = defaultdict(lambda: (2**21, 0))  # probability, uses
        self.weights: dict = defaultdict(lambda: [6000] * 8)
        self.uses: dict = defaultdict(int)

    def word(self) -> int:
        word = self.data[4 * self.words : 4 * self.words + 4]
        self.words += 1
        return int.from_bytes(word.ljust(4, b"\0"), "big")

    def used_up(self) -> bool:
        return 4 * self.words >= len(self.data)

    def next(self, step: Step, known: Known) -> int | None:
        """The next code; None is an outlier."""
        if step.place == (0, 0, 0, 0):
            self.signed: dict = {}
            self.history = [[0, 0, 0] for _ in range(4)]
        if self.flags and step.place[3] % STRETCH == 0:
            self.begin_stretch(step)
        if self.flags and not self.some:
            return 0
        self.choose_contexts(step, known)
        self.agreeing = [1] * 4
        code = self.read_code()
        magnitude = OUTLIER_MAGNITUDE if code is None else min(abs(code), OUTLIER_MAGNITUDE)
        self.signed[step.place] = -magnitude if code is None or code < 0 else magnitude
        for look in range(4):
            self.history[look] = [*self.history[look][1:], int(code == self.expected[look])]
        self.found |= code != 0
        return code

    def begin_stretch(self, step: Step) -> None:
        *row, x = step.place
        self.end, self.found = min(x + STRETCH, step.points), False
        sums = [step.ahead(k) for k in range(self.end - x)]
        before = any(self.signed.get((*row, x - k), 0) for k in (1, 2))
        last = x > 0 and self.some
        size = rank(SIZES, activity_of(max(sums), step.weight))
        context = size, rank((1, 5, 13), sum(total > 0 for total in sums)), before, last, step.group
        p, used = self.flag_slots[context]
        self.some = self.read_bit(min(max(p >> 6, 1), 65535)) == 1
        self.flag_slots[context] = learnt(p, used, self.some)

    def choose_contexts(self, step: Step, known: Known) -> None:
        quantizer, number = known.quantizer, known.values.dtype.type
        prediction = quantizer.clamp(step.prediction)
        self.expected, quarters = [], []
        for value in step.looks:
            steps = (value - prediction) * (number(1) / quantizer.step)
            steps = -number(2**20 - 1) if np.isnan(steps) else min(max(steps, -(2**20 - 1)), 2**20 - 1)
            steps = number(steps)
            self.expected.append(int(np.rint(steps)))
            quarters.append(int(np.rint(min(max(steps * number(4), -2040), 2040))))
        activity = activity_of(step.total, step.weight)
        self.start, self.size = (activity >> 4).bit_length(), rank(SIZES, activity)
        cell = cell_of(activity)

        t, z, y, x = step.place
        left = 0
        if self.flags:
            self.kind = left = 7 if self.found else (self.end - x - 1).bit_length()
        else:
            self.kind = step.group
        before = [(t, z, y, x - 1), (t, z, y - 1, x), (t, z - 1, y, x), (t, z, y - 1, x + 1)]
        around = [self.signed.get(place, 0) for place in before]
        w, n, u, _ = (limited(code, 2) for code in around)
        signs = 25 * w + 5 * n + u
        near, far = (int(np.sign(q)) * rank(DISTANCES, abs(q)) for q in quarters[:2])
        reverse = near < 0 or (near == 0 and far < 0)
        bins = number(64) / (quantizer.high - quantizer.low) if quantizer.high > quantizer.low else number(0)
        place = (prediction - quantizer.low) * bins
        spread = max(abs(quarters[0] - quarters[1]), abs(quarters[2] - quarters[3]))
        self.contexts = [
            (left, cell, step.group),
            tuple(min(abs(code), 7) for code in around),
            (*((-near, -far) if reverse else (near, far)), self.size),
            (0 if np.isnan(place) else int(min(max(place, 0), 63)), cell),
            (abs(signs), self.size),
            (rank(SIZES, spread), rank(SIZES, abs(sum(quarters)) >> 2), self.size),
        ]
        self.mirrored = [0, 0, int(reverse), 0, int(signs < 0), int(sum(quarters) < 0), 0, 0]

    def read_code(self) -> int | None:
        length = self.read_length()
        if length in (0, OUTLIER_LENGTH):
            return None if length else 0
        negative = self.decide(("sign", min(length, 7)), [int(e < 0) for e in self.expected], turned=True)
        magnitude, tree = 1 << (length - 1), 1
        for below in reversed(range(length - 1)):
            wanted = [(abs(e) >> below) & 1 for e in self.expected]
            if tree >= 8 and not any(self.agreeing):
                bit = self.read_bit(32768)
                self.compare(bit, wanted)
            else:
                node = ("bit", min(length, 6), tree) if tree < 8 else ("low bit", min(below, 16))
                bit = self.decide(node, wanted, side=negative)
            magnitude |= bit << below
            tree = min(2 * tree + bit, 8)
        return -magnitude if negative else magnitude

    def read_length(self) -> int:
        length, way = self.start, "first"
        while True:
            wanted = [int(abs(e).bit_length() > length) for e in self.expected]
            more = self.decide((way, min(length, 11)), wanted, first=way == "first")
            if more:
                length += 1
                if way == "down" or length == OUTLIER_LENGTH:
                    return length
                way = "up"
            else:
                if way == "up" or length == 0:
                    return length
                length -= 1
                way = "down"

    def compare(self, bit: int, wanted: list[int]) -> None:
        self.agreeing = [a & int(w == bit) for a, w in zip(self.agreeing, wanted, strict=True)]

    def decide(
        self,
        node: tuple,
        wanted: list[int],
        first: bool = False,
        turned: bool = False,
        side: int | None = None,
    ) -> int:
        contexts = [
            (context, side if side is None else side ^ mirrored)
            for context, mirrored in zip(self.contexts, self.mirrored, strict=False)
        ]
        told = [1 + w if a else 0 for w, a in zip(wanted, self.agreeing, strict=True)]
        for k in (0, 2):
            contexts.append((told[k], told[k + 1], tuple(self.history[k]), tuple(self.history[k + 1])))
        slots = [(model, node, context) for model, context in enumerate(contexts)]
        reverse = [turned and mirrored == 1 for mirrored in self.mirrored]
        inputs = [LOGITS[self.slots[slot][0] >> 10] for slot in slots]
        inputs = [-logit if r else logit for logit, r in zip(inputs, reverse, strict=True)]
        here = (node, self.size)
        there = (node, "kind", self.kind) if first else (node, "agreeing", sum(self.agreeing))
        one, two = self.weights[here], self.weights[there]
        dot = sum((a + b) * logit for a, b, logit in zip(one, two, inputs, strict=True))
        probability = PROBABILITIES[limited(dot >> 16, 3071)]
        bit = self.read_bit(probability)
        rate = 32 + 12288 // (64 + (self.uses[here] >> 3))
        self.uses[here] = min(self.uses[here] + 1, 8191)
        error = ((bit << 16) - probability) * rate
        for k in range(8):
            change = (inputs[k] * error + 2**21) >> 22
            one[k] += change
            two[k] += change
            self.slots[slots[k]] = learnt(*self.slots[slots[k]], bit != reverse[k])
        self.compare(bit, wanted)
        return bit

    def read_bit(self, probability: int) -> int:
        part = (self.width >> 16) * probability
        bit = int(self.code < part)
        if bit:
            self.width = part
        else:
            self.width -= part
            self.code -= part
        if self.width < 2**32:
            self.width <<= 32
            self.code = ((self.code << 32) | self.word()) & (2**64 - 1)
        return bit
