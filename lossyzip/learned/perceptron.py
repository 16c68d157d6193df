"""A perceptron in floats, and how it learns. Knows neither references nor integers.

Adam on a one-cycle schedule, in numpy: at a thousand weights a step takes 0.3 ms, less than the overhead of a
framework that is made for a million; and training needs nothing that decoding does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_LR = 1.5e-2
_WARM = 0.15  # of all steps
_BETAS = (0.9, 0.99)
_CHUNK = 1024  # patches
_LEAST_LR = 1e-3  # of the highest
Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (output, numbers of the patches) -> gradient


@dataclass
class Perceptron:
    """Hidden layers with ReLUs; the output sees the inputs as well."""

    widths: list[int]  # inputs, hidden layers
    flat: np.ndarray  # all parameters, float32

    @staticmethod
    def fresh(widths: list[int], rng: np.random.Generator) -> Perceptron:
        net = Perceptron(widths, np.zeros(_size(widths), np.float32))
        *hidden, (out, _) = net.layers()
        for weights, biases in hidden:
            weights[:] = rng.standard_normal(weights.shape) * math.sqrt(2.0 / weights.shape[0])
            biases[:] = rng.uniform(-0.5, 0.5, biases.shape)
        out[: widths[-1] if hidden else 0] = (
            rng.standard_normal(widths[-1])[:, None] * 0.3 / math.sqrt(widths[-1])
        )
        return net

    def layers(self, flat: np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weights (inputs, channels), biases), hidden ones first: views into ``flat``."""
        flat = self.flat if flat is None else flat
        found, at = [], 0
        for rows, columns in _shapes(self.widths):
            end = at + rows * columns
            found.append((flat[at:end].reshape(rows, columns), flat[end : end + columns]))
            at = end + columns
        return found

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """(output, activations of each hidden layer) of ``x`` (points, inputs)."""
        *hidden, (weights, bias) = self.layers()
        activations = []
        now = x
        for w, b in hidden:
            now = now @ w
            now += b
            np.maximum(now, 0.0, out=now)
            activations.append(now)
        split = self.widths[-1] if hidden else 0
        out = x @ weights[split:] + bias
        if hidden:
            out += now @ weights[:split]
        return out[:, 0], activations

    def largest(self, features: np.ndarray) -> list[np.ndarray]:
        """The largest activation of each channel of each hidden layer, on (patches, points, inputs)."""
        found = [np.zeros(width, np.float32) for width in self.widths[1:]]
        for start in range(0, len(features), _CHUNK):
            chunk = features[start : start + _CHUNK].reshape(-1, features.shape[2])
            for most, activations in zip(found, self.forward(chunk)[1], strict=True):
                np.maximum(most, activations.max(axis=0), out=most)
        return found

    def backward(
        self, x: np.ndarray, activations: list[np.ndarray], slope: np.ndarray, into: np.ndarray
    ) -> None:
        """Fill ``into`` with the gradient, ``slope`` (points,) being that of the output."""
        layers, slopes = self.layers(), self.layers(into)
        slope = slope[:, None]
        split = self.widths[-1] if activations else 0
        slopes[-1][0][split:] = x.T @ slope
        slopes[-1][1][:] = slope.sum()
        if not activations:
            return
        slopes[-1][0][:split] = activations[-1].T @ slope
        back = slope * layers[-1][0][:split, 0]
        for k in range(len(activations) - 1, -1, -1):
            back *= activations[k] > 0.0
            before = activations[k - 1] if k else x
            np.matmul(before.T, back, out=slopes[k][0])
            back.sum(axis=0, out=slopes[k][1])
            if k:
                back = back @ layers[k][0].T

    def learn(
        self, features: np.ndarray, loss: Loss, steps: int, batch: int, rng: np.random.Generator
    ) -> None:
        """``steps`` steps on ``batch`` of the patches of ``features`` (patches, points, inputs)."""
        slope, first, second = (np.zeros_like(self.flat) for _ in range(3))
        order = rng.permutation(len(features))
        at = 0
        for step in range(steps):
            if at + batch > len(order):
                order, at = rng.permutation(len(features)), 0
            chosen = order[at : at + batch]
            at += batch
            x = features[chosen].reshape(-1, features.shape[2])
            out, activations = self.forward(x)
            self.backward(x, activations, loss(out.reshape(len(chosen), -1), chosen).reshape(-1), slope)
            first += (1.0 - _BETAS[0]) * (slope - first)
            second += (1.0 - _BETAS[1]) * (slope * slope - second)
            correction = math.sqrt(1.0 - _BETAS[1] ** (step + 1)) / (1.0 - _BETAS[0] ** (step + 1))
            self.flat -= np.float32(_LR * _rate(step / steps) * correction) * first / (np.sqrt(second) + 1e-9)


def _rate(done: float) -> float:
    """One cycle: up along a cosine, then down."""
    if done < _WARM:
        return 0.04 + 0.96 * 0.5 * (1.0 - math.cos(math.pi * done / _WARM))
    return _LEAST_LR + (1.0 - _LEAST_LR) * 0.5 * (1.0 + math.cos(math.pi * (done - _WARM) / (1.0 - _WARM)))


def _shapes(widths: list[int]) -> list[tuple[int, int]]:
    inner = list(pairwise(widths))
    return [*inner, (widths[-1] + (widths[0] if inner else 0), 1)]


def _size(widths: list[int]) -> int:
    return sum((rows + 1) * columns for rows, columns in _shapes(widths))
