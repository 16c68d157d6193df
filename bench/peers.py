"""The compressors that lossyzip is measured against: which settings each is tried with, and its best.

Knows nothing of lossyzip. Each compressor runs in a process of its own (worker.py), because some
crash or hang on odd input; here that is a Trial that says so.

Two sets of settings. *Customary*: every algorithm that the compressor offers, on the field's own axes;
a 4-D field also with its two leading axes merged, as the compressors' authors do it. *Refolded*: every
merging of neighbouring axes on top, down to 1-D, which nobody can be expected to try by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import combinations
from math import prod
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


@dataclass(frozen=True)
class Peer:
    name: str
    package: str
    algorithms: tuple[str, ...]
    """Names that worker.py knows; the first is the default."""
    min_axes: int
    max_axes: int

    @property
    def version(self) -> str:
        return f"{self.package} {version(self.package)}"


PEERS = (
    Peer("sz3", "pysz", ("interp_lorenzo", "lorenzo_regression", "lorenzo", "interp", "nopred"), 1, 4),
    Peer("sperr", "imagecodecs", ("pwe",), 2, 3),
    Peer("zfp", "zfpy", ("tolerance",), 1, 4),
)


@dataclass(frozen=True)
class Setting:
    algorithm: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.algorithm} {'x'.join(map(str, self.shape))}"


@dataclass(frozen=True)
class Trial:
    """One compressor with one setting on one field; seconds are (CPU, wall), the best of the repeats."""

    setting: Setting
    bytes: int = 0
    max_error: float = float("inf")
    mean_square: float = float("inf")
    """Of the errors, in the field's units."""
    encode: Sequence[float] = (0.0, 0.0)
    decode: Sequence[float] = (0.0, 0.0)
    problem: str = ""
    report: Mapping[str, float] = field(default_factory=dict)
    """What the compressor told by itself, see worker.py."""


def customary(peer: Peer, shape: tuple[int, ...]) -> list[Setting]:
    own = tuple(n for n in shape if n > 1) or (1,)
    shapes = [own]
    if len(own) >= 4:
        shapes.append((prod(own[:-2]), *own[-2:]))
    if len(own) > 4:
        shapes.append((prod(own[:-3]), *own[-3:]))
    return _settings(peer, shapes)


def refolded(peer: Peer, shape: tuple[int, ...]) -> list[Setting]:
    """Every way to merge neighbouring axes; includes the customary ones."""
    own = tuple(n for n in shape if n > 1) or (1,)
    inner = range(1, len(own))
    return _settings(
        peer,
        [
            tuple(prod(own[a:b]) for a, b in zip((0, *cuts), (*cuts, len(own)), strict=True))
            for count in reversed(range(len(own)))
            for cuts in combinations(inner, count)
        ],
    )


def _settings(peer: Peer, shapes: list[tuple[int, ...]]) -> list[Setting]:
    fitting = [shape for shape in shapes if peer.min_axes <= len(shape) <= peer.max_axes]
    return [Setting(algorithm, shape) for shape in fitting for algorithm in peer.algorithms]


def best(trials: list[Trial], values: np.ndarray, eps: float) -> Trial | None:
    """The smallest output that keeps the bound up to rounding; failing that, the smallest that decodes.

    The latter breaks its bound and counts all the same, which errs in the peer's favour; `within` tells.
    None where nothing decoded.
    """
    decoded = [trial for trial in trials if not trial.problem]
    kept = [trial for trial in decoded if within(trial, values, eps) != "no"]
    return min(kept or decoded, key=lambda trial: trial.bytes, default=None)


def within(trial: Trial, values: np.ndarray, eps: float) -> str:
    """Whether the bound was kept: "yes", "no", or "rounded".

    The last is for those that keep it in wider arithmetic and then round to the field's dtype: they are
    outside by half an ulp at most.
    """
    if trial.max_error <= eps:
        return "yes"
    return "rounded" if trial.max_error <= eps + float(np.spacing(np.abs(values).max())) / 2 else "no"


class Worker:
    """A process that runs one compressor; started when first needed and again after it died."""

    def __init__(
        self, name: str, environment: Mapping[str, str] = ONE_THREAD, timeout: float = 300.0
    ) -> None:
        self._command = [sys.executable, "-m", "bench.worker", name]
        self._environment = {**os.environ, **environment}
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self,
        path: Path,
        setting: Setting,
        eps: float,
        repeats: int = 1,
        threads: int = 1,
        decoded: Path | None = None,
        warm: float = 0.0,
    ) -> Trial:
        """Compress and decompress the array of the .npy file ``path``; a crash or a hang is a result, too.

        ``warm``: what is done in so many seconds at first does not count. What was decompressed is written
        to the .npy file ``decoded``, in the setting's shape.
        """
        request = {
            "path": str(path),
            "algorithm": setting.algorithm,
            "shape": setting.shape,
            "eps": eps,
            "repeats": repeats,
            "threads": threads,
            "warm": warm,
            "decoded": decoded and str(decoded),
        }
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._lost(setting, "crashed")
        ready, _, _ = select.select([process.stdout], [], [], self._timeout)
        if not ready:
            return self._lost(setting, f"no answer in {self._timeout:g} s")
        answer = process.stdout.readline()
        if not answer.endswith(b"\n"):
            return self._lost(setting, "crashed")
        return Trial(setting, **json.loads(answer))

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _lost(self, setting: Setting, problem: str) -> Trial:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        code = self._process.returncode
        self.close()
        return Trial(setting, problem=problem if code is None else f"{problem} (exit code {code})")


@contextlib.contextmanager
def shared_array(values: np.ndarray) -> Iterator[Path]:
    """The path of a temporary .npy file that the workers read ``values`` from."""
    with tempfile.TemporaryDirectory(prefix="lossyzip-bench-") as folder:
        path = Path(folder) / "values.npy"
        np.save(path, values)
        yield path
