"""Descent: parameters, a loss and batches -> parameters of less loss. Knows neither networks nor their use.

Adam on a one-cycle schedule, wherever the parameters are; on a CPU in one thread, since at a thousand weights
more of them would wait for one another, and sums would depend on their number. For training alone: decoding
needs no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.optim.lr_scheduler import OneCycleLR

_TOLD = 100  # times, of progress
_LIVE_STEPS = 3  # on a GPU, before they are recorded


class Schedule(NamedTuple):
    """How large steps are."""

    rate: float  # the largest one of the cycle
    betas: tuple[float, float]
    cycle: Mapping[str, Any]  # further arguments of OneCycleLR
    fused: bool  # on a CPU: one kernel a step, which rounds otherwise than torch's plain ones


@contextlib.contextmanager
def in_one_thread() -> Iterator[None]:
    """What torch does on a CPU; as a decorator, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@in_one_thread()
def descend(
    parameters: Sequence[torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[torch.Tensor],
    steps: int,
    schedule: Schedule,
    tell: Callable[[float], Any] | None = None,
) -> None:
    """Take ``steps`` steps, each down the ``loss`` of the next of ``batches``; changes ``parameters``.

    A batch is numbers (int64, on the CPU) of what ``loss`` looks at; on a GPU all are of one length, and
    ``loss`` is not called for each. ``tell`` is told now and then what part is done.
    """
    on_gpu = parameters[0].is_cuda
    rate: Any = schedule.rate
    cycle = dict(schedule.cycle)
    if on_gpu:  # what is recorded reads a rate that is a tensor, and betas only once
        rate, cycle["cycle_momentum"] = torch.tensor(rate, device=parameters[0].device), False
    fused = on_gpu or schedule.fused
    optimizer = torch.optim.Adam(parameters, rate, schedule.betas, fused=fused, capturable=on_gpu)
    one_cycle = OneCycleLR(optimizer, schedule.rate, steps, **cycle)

    def step_on(chosen: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss(chosen).backward()
        optimizer.step()

    take = _Recorded(step_on) if on_gpu else step_on
    for step, chosen in zip(range(1, steps + 1), batches, strict=False):
        take(chosen)
        one_cycle.step()
        if tell is not None and step * _TOLD // steps > (step - 1) * _TOLD // steps:
            tell(step / steps)


class _Recorded:
    """A step on a GPU, recorded once it was taken a few times and then replayed as a whole: asking for each
    of its kernels takes longer than they do."""

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
