"""A perceptron in floats, and how torch trains it. Knows neither references nor integers.

Imported by training alone: decoding needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from lossyzip.learned.descent import Schedule, descend, in_one_thread
from lossyzip.learned.device import training_device

_SCHEDULE = Schedule(
    1.5e-2,
    (0.9, 0.99),
    {"pct_start": 0.15, "div_factor": 25.0, "final_div_factor": 40.0, "cycle_momentum": False},
    fused=True,
)
_CHUNK = 1024  # patches


@dataclass(frozen=True)
class Trained:
    """A perceptron. Its output sees the inputs as well, behind the last hidden layer's channels."""

    layers: list[tuple[np.ndarray, np.ndarray]]  # (weights (inputs, channels), biases), hidden ones first
    largest: list[np.ndarray]  # the largest activation of each channel of each hidden layer


class Perceptron(nn.Module):
    """Hidden layers with ReLUs, and an output."""

    def __init__(self, inputs: int, hidden: Sequence[int], rng: np.random.Generator) -> None:
        super().__init__()
        shapes = list(pairwise([inputs, *hidden]))
        self.hidden = nn.ModuleList(_linear(*shape) for shape in shapes)
        self.last = _linear(hidden[-1], 1)
        self.past = _linear(inputs, 1, bias=False)  # the hidden layers
        with torch.no_grad():
            for layer, (rows, columns) in zip(self.hidden, shapes, strict=True):
                layer.weight.copy_(_normal(rng, (columns, rows), math.sqrt(2.0 / rows)))
                layer.bias.copy_(torch.from_numpy(rng.uniform(-0.5, 0.5, columns)))
            self.last.weight.copy_(_normal(rng, (1, hidden[-1]), 0.3 / math.sqrt(hidden[-1])))
            self.last.bias.zero_()
            self.past.weight.zero_()

    def activations(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Of each hidden layer, for ``x`` (points, inputs)."""
        found = [x]
        for layer in self.hidden:
            found.append(torch.relu_(layer(found[-1])))
        return found[1:]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.activations(x)[-1]) + self.past(x)
        return out


def learn(
    features: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    terms: np.ndarray,
    bends: np.ndarray,
    *,
    hidden: Sequence[int],
    steps: int,
    batch: int,
    rng: np.random.Generator,
    tell: Callable[[float], Any] | None = None,
) -> Trained:
    """What ``steps`` steps on ``batch`` of the patches of ``features`` (patches, points, inputs) lead to.

    The errors of a patch are ``terms`` (terms, points) @ its output - its ``target`` (patches, terms), times
    its ``weights`` (the same) if there are any; each costs hypot(error, bend). All are float32. ``tell`` is
    told now and then what part is done.
    """
    device = training_device()
    x, goal, matrix, corners = (torch.from_numpy(a).to(device) for a in (features, target, terms.T, bends))
    counts = None if weights is None else torch.from_numpy(weights).to(device)
    net = Perceptron(features.shape[2], hidden, rng).to(device)

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        seen = x.index_select(0, chosen).view(-1, x.shape[2])
        errors = net(seen).view(len(chosen), -1) @ matrix - goal.index_select(0, chosen)
        if counts is not None:
            errors = errors * counts.index_select(0, chosen)
        return torch.hypot(errors, corners).sum() / len(chosen)

    descend(list(net.parameters()), loss, _batches(len(x), batch, rng), steps, _SCHEDULE, tell)
    return _trained(net, x)


def _batches(count: int, batch: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Numbers of patches, in an order of their own each time they have all been seen."""
    order, at = rng.permutation(count), 0
    while True:
        if at + batch > count:
            order, at = rng.permutation(count), 0
        yield torch.from_numpy(order[at : at + batch])
        at += batch


@in_one_thread()
@torch.no_grad()
def _trained(net: Perceptron, features: torch.Tensor) -> Trained:
    largest = [torch.zeros_like(layer.bias) for layer in net.hidden]
    for chunk in features.split(_CHUNK):
        for k, now in enumerate(net.activations(chunk.reshape(-1, features.shape[2]))):
            largest[k] = torch.maximum(largest[k], now.amax(dim=0))
    weights = [*(layer.weight for layer in net.hidden), torch.cat([net.last.weight, net.past.weight], dim=1)]
    biases = [layer.bias for layer in [*net.hidden, net.last]]
    layers = [(w.T.cpu().numpy(), b.cpu().numpy()) for w, b in zip(weights, biases, strict=True)]
    return Trained(layers, [most.cpu().numpy() for most in largest])


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Without numbers yet, so that torch's own random ones are left alone."""
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape) * scale)
