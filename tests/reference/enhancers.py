"""Enhancers from docs/FORMAT.md, "Enhancers", in plain Python: one value at a time, in ints of any length."""

from __future__ import annotations

import itertools

import numpy as np

from reference.codes import Codes
from reference.readers import Bits, require

UNIT = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
LIMITS = (192, 48, 16)


def steps(axis, *pairs):
    return [(tuple(step * u for u in UNIT[axis]), factor) for step, factor in pairs]


def feature_places(kind):
    """([(place, factor)], shift)"""
    if kind < 21:
        axis, what = divmod(kind, 7)
        return (
            (steps(axis, (1, 1)), 0),
            (steps(axis, (-1, 1)), 0),
            *((steps(axis, (d, 1), (-d, 1)), 0) for d in (1, 2, 3)),
            (steps(axis, (1, 4), (-1, 4), (2, -1), (-2, -1)), 0),
            (steps(axis, (1, 9), (-1, 9), (3, -1), (-3, -1)), 3),
        )[what]
    cube = [(place, sum(map(abs, place))) for place in itertools.product((-1, 0, 1), repeat=3)]
    if kind < 24:
        return [(place, 1) for place, size in cube if size == 2 and place[kind - 21] == 0], 0
    return [(place, 1) for place, size in cube if size == (1 if kind == 24 else 3)], 0


def rows(bits, channels, inputs):
    width, biases, weights = bits.take(6), [], []
    for _ in range(channels):
        bias = bits.take(width)
        biases.append(bias - 2**width if width and bias >> (width - 1) else bias)
        k = bits.take(5)
        weights.append([bits.signed(k) for _ in range(inputs)])
    return weights, biases


def flagged(bits, planes):
    return [(plane, kind) for plane, count in planes for kind in range(count) if bits.take(1)]


class Enhancer:
    def __init__(self, data):
        bits = Bits(data)
        version = bits.take(4)
        require(version in (0, 1), "version of an enhancer")
        layers = bits.take(2)
        self.features = flagged(bits, [(0, 26)])
        self.guides, self.filter = [], None
        if version:
            self.guides = [bits.take(7) for _ in range(bits.take(3))]
            others, filtered = [(k, 27) for k in range(1, len(self.guides) + 1)], bits.take(1)
            if filtered:
                seen = flagged(bits, [(0, 26), *others])
                shift = bits.take(5)
                (weights,), (bias,) = rows(bits, 1, len(seen))
                self.filter = (seen, weights, bias, shift)
                others.append((len(self.guides) + 1, 27))
            self.features += flagged(bits, others)
        self.zoom = bits.take(4)
        self.shift = bits.take(5)
        self.corrections = [bits.take(6) for _ in range(32)]
        self.top = 2 ** bits.take(4) - 1
        self.hidden, inputs = [], len(self.features)
        for _ in range(layers):
            channels = bits.take(6)
            shifts = [bits.take(5) for _ in range(channels)]
            self.hidden.append((*rows(bits, channels, inputs), shifts))
            inputs = channels
        self.output = rows(bits, 1, (inputs if layers else 0) + 3 * len(self.features))

    def sum(self, features):
        terms = [max(-limit, min(limit, f)) for limit in LIMITS for f in features]
        now = terms[: len(features)]
        for weights, biases, shifts in self.hidden:
            sums = [bias + dot(row, now) for row, bias in zip(weights, biases, strict=True)]
            now = [max(0, min(total >> shift, self.top)) for total, shift in zip(sums, shifts, strict=True)]
        inputs = now + terms if self.hidden else terms
        return self.output[1][0] + dot(self.output[0][0], inputs)


def dot(row, values):
    return sum(w * v for w, v in zip(row, values, strict=True))


def voids(values, mask, specials):
    most = float(np.finfo(values.dtype).max) / 64
    bits = values.view(f"u{values.itemsize}")
    return [
        bool(m) or not abs(float(v)) <= most or (v == 0 and bool(np.signbit(v))) or int(b) in specials
        for v, b, m in zip(values.reshape(-1), bits.reshape(-1), mask.reshape(-1), strict=True)
    ]


def in_units(value, low, scale):
    with np.errstate(all="ignore"):
        r = float(np.rint((np.float64(value) - low) * (16.0 / scale)))
    return int(max(-(2.0**25), min(2.0**25, r)))


def guide_plane(told, number, low, scale, shape):
    guide = told.subtracted if number == 127 else told.raw[number]
    units = [in_units(v, low if number == 127 else 0.0, scale) for v in map(float, guide)]
    return np.array(units, object).reshape(shape)


def filter_plane(planes, seen, weights, bias, shift, axes):
    out = planes[0].copy()
    for point in np.ndindex(*out.shape):
        total = bias + sum(
            w
            * (
                planes[plane][point] - planes[0][point]
                if kind == 26
                else total_of(planes[plane], kind, point, axes)
            )
            for (plane, kind), w in zip(seen, weights, strict=True)
        )
        out[point] = max(-(2**25), min(2**25, total >> shift))
    return out


def total_of(units, kind, point, axes):
    total = 0
    for place, factor in feature_places(kind)[0]:
        at = list(point)
        for axis, step in zip(axes, place, strict=True):
            if axis is not None:
                at[axis] = max(0, min(units.shape[axis] - 1, at[axis] + step))
        total += factor * (units[tuple(at)] - units[point])
    return total


def enhanced(values, mask, header, data, marks, told):
    """The enhanced tile of plain ``values``; ``told``: what guides tell of it."""
    enhancer, void = Enhancer(data), voids(values, mask, set(map(int, header.specials)))
    low, high = (float(end) for end in header.span)
    scale = header.eps / 2**enhancer.zoom
    flat = [float(v) for v in values.reshape(-1)]
    kept = [i for i, skip in enumerate(void) if not skip]
    units, last = [], kept[0] if kept else None
    for i, skip in enumerate(void):
        last = last if skip else i
        units.append(in_units(flat[last] if last is not None else low, low, scale))
    planes = [np.array(units, object).reshape(values.shape)]
    planes += [guide_plane(told, number, low, scale, values.shape) for number in enhancer.guides]
    long = [axis for axis, n in enumerate(values.shape) if n != 1][-3:]
    axes = [None] * (3 - len(long)) + long
    if enhancer.filter is not None:
        planes.append(filter_plane(planes, *enhancer.filter, axes))
    codes, t = Codes(marks, 1) if marks else None, scale / 64
    out = values.copy()
    for i, point in enumerate(np.ndindex(*values.shape)):
        features = []
        for plane, kind in enhancer.features:
            if kind == 26:
                differs = plane <= len(enhancer.guides)
                features.append(planes[plane][point] - (planes[0][point] if differs else 0))
            else:
                features.append(total_of(planes[plane], kind, point, axes) >> feature_places(kind)[1])
        o = enhancer.sum(features)
        group = min(abs(o) >> enhancer.shift, 31)
        c, sign = enhancer.corrections[group], -1 if o < 0 else 1
        if void[i] or c == 0:
            continue
        code = 0 if header.is_psnr else codes.next(group)
        require(code in (0, 1, -1), "a mark")
        if code != -1:
            move = sign * 2 * c if code == 0 else sign * (c - 64 * 2**enhancer.zoom)
            with np.errstate(all="ignore"):
                value = values.dtype.type(flat[i] + move * t)
            out[point] = min(max(value, values.dtype.type(low)), values.dtype.type(high))
    require(codes is None or codes.used_up(), "more marks than values that move")
    return out
