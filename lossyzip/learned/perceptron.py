"""A perceptron in floats, and how torch trains it. Knows neither references nor integers.

Imported by training alone: decoding needs no torch. Adam on a one-cycle schedule; on a CPU in one thread,
since at a thousand weights more of them would wait for one another.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from lossyzip.learned.device import training_device

_LR = 1.5e-2
_CYCLE = {"pct_start": 0.15, "div_factor": 25.0, "final_div_factor": 40.0, "cycle_momentum": False}
_BETAS = (0.9, 0.99)
_CHUNK = 1024  # patches
_TOLD = 100  # times, of progress
_LIVE_STEPS = 3  # on a GPU, before they are recorded


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
    its ``weights`` (the same) if there are any; each costs `cost_of`, in proportion to its bend. All are
    float32. ``tell`` is told now and then what part is done.
    """
    device = training_device()
    x, goal, matrix, corners = (torch.from_numpy(a).to(device) for a in (features, target, terms.T, bends))
    shares = corners / corners.max()
    counts = None if weights is None else torch.from_numpy(weights).to(device)
    with in_one_thread():
        net = Perceptron(features.shape[2], hidden, rng).to(device)
        on_gpu = device.type == "cuda"
        rate = torch.tensor(_LR, device=device) if on_gpu else _LR  # what is recorded reads a tensor
        optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=_BETAS, fused=True, capturable=on_gpu)
        schedule = OneCycleLR(optimizer, _LR, steps, **_CYCLE)

        def step_on(chosen: torch.Tensor) -> None:
            optimizer.zero_grad()
            seen = x.index_select(0, chosen).view(-1, x.shape[2])
            errors = net(seen).view(len(chosen), -1) @ matrix - goal.index_select(0, chosen)
            if counts is not None:
                errors = errors * counts.index_select(0, chosen)
            ((cost_of(errors, corners) @ shares).sum() / len(chosen)).backward()
            optimizer.step()

        take = _Recorded(step_on) if on_gpu else step_on
        for step, chosen in enumerate(batches(len(x), batch, steps, rng), start=1):
            take(chosen)
            schedule.step()
            if tell is not None and step * _TOLD // steps > (step - 1) * _TOLD // steps:
                tell(step / steps)
        return trained(net, x)


def cost_of(errors: torch.Tensor, bends: torch.Tensor) -> torch.Tensor:
    """About the bits that each of the ``errors`` takes: the root of hypot(error / bend, 1) / 2. It grows
    faster than a logarithm, and slower than errors do: fronts, which no network hits, do not outweigh all
    else."""
    halves = errors / (2.0 * bends)
    return (halves * halves + 0.25) ** 0.25


class _Recorded:
    """A step on a GPU, recorded once it was taken a few times and then replayed as a whole: asking for each
    of its kernels takes longer than they do. All batches are of one length."""

    def __init__(self, step: Callable[[torch.Tensor], None]) -> None:
        self._step, self._left = step, _LIVE_STEPS
        self._chosen: torch.Tensor | None = None
        self._graph = torch.cuda.CUDAGraph()

    def __call__(self, chosen: torch.Tensor) -> None:
        if self._left:
            self._left -= 1
            self._beside(chosen.cuda())
            return
        if self._chosen is None:
            self._chosen = chosen.cuda()
            with torch.cuda.graph(self._graph):
                self._step(self._chosen)
        self._chosen.copy_(chosen)
        self._graph.replay()

    def _beside(self, chosen: torch.Tensor) -> None:
        """In a stream of its own, as what comes before recording must be."""
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            self._step(chosen)
        here.wait_stream(beside)


def batches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Numbers of patches, in an order of their own each time they have all been seen."""
    order, at = rng.permutation(count), 0
    for _ in range(steps):
        if at + batch > count:
            order, at = rng.permutation(count), 0
        yield torch.from_numpy(order[at : at + batch])
        at += batch


@torch.no_grad()
def trained(net: Perceptron, features: torch.Tensor) -> Trained:
    largest = [torch.zeros_like(layer.bias) for layer in net.hidden]
    for chunk in features.split(_CHUNK):
        for k, now in enumerate(net.activations(chunk.reshape(-1, features.shape[2]))):
            largest[k] = torch.maximum(largest[k], now.amax(dim=0))
    weights = [*(layer.weight for layer in net.hidden), torch.cat([net.last.weight, net.past.weight], dim=1)]
    biases = [layer.bias for layer in [*net.hidden, net.last]]
    layers = [(w.T.cpu().numpy(), b.cpu().numpy()) for w, b in zip(weights, biases, strict=True)]
    return Trained(layers, [most.cpu().numpy() for most in largest])


@contextlib.contextmanager
def in_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Without numbers yet, so that torch's own random ones are left alone."""
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape) * scale)
