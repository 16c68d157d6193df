"""The process that runs one compressor: requests on stdin, one JSON answer a line on stdout.

Run as ``python -m bench.worker NAME``. Knows how each package is called and nothing of what is compared.
Whatever a library prints goes to stderr, so that it cannot be taken for an answer.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Encode = Callable[[np.ndarray, str, float, int], tuple[Any, dict[str, float]]]
"""(values, algorithm, eps, threads) -> a buffer, and what the compressor reports of itself."""
Decode = Callable[[Any, np.ndarray, int], np.ndarray]
"""(buffer, original, threads) -> values; of the original only dtype and shape, which SZ3 must be told."""


def lossyzip() -> tuple[Encode, Decode]:
    from lossyzip import absolute, decompress
    from lossyzip.compressor import compress_field

    def encode(values: np.ndarray, effort: str, eps: float, threads: int) -> tuple[bytes, dict[str, float]]:
        parts: list[bytes] = []
        report = compress_field(values, absolute(eps), parts.append, effort=effort, threads=threads)
        return b"".join(parts), {"encode": report.encode_seconds, "verify": report.verify_seconds}

    def decode(encoded: bytes, like: np.ndarray, threads: int) -> np.ndarray:
        return decompress(encoded, threads=threads)

    return encode, decode


def sz3() -> tuple[Encode, Decode]:
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

    algorithms = {
        "interp_lorenzo": szAlgorithm.INTERP_LORENZO,
        "lorenzo_regression": szAlgorithm.LORENZO_REG,
        "lorenzo": szAlgorithm.LORENZO_REG,
        "interp": szAlgorithm.INTERP,
        "nopred": szAlgorithm.NOPRED,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as ini:
        ini.write("[AlgoSettings]\nLorenzo = YES\nRegression = NO\n")
        ini.flush()
        lorenzo_only = szConfig()
        lorenzo_only.loadcfg(ini.name)  # pysz exposes these switches through a file only

    def encode(values: np.ndarray, algorithm: str, eps: float, threads: int) -> tuple[Any, dict[str, float]]:
        config = lorenzo_only if algorithm == "lorenzo" else szConfig()
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = eps
        config.cmprAlgo = algorithms[algorithm]
        config.openmp = threads > 1
        return sz.compress(values, config)[0], {}

    def decode(encoded: np.ndarray, like: np.ndarray, threads: int) -> np.ndarray:
        return sz.decompress(encoded, like.dtype, like.shape)[0]

    return encode, decode


def sperr() -> tuple[Encode, Decode]:
    from imagecodecs import SPERR, sperr_decode, sperr_encode

    def encode(values: np.ndarray, algorithm: str, eps: float, threads: int) -> tuple[Any, dict[str, float]]:
        mode = SPERR.MODE[algorithm.upper()]
        return sperr_encode(values, eps, mode, chunks=values.shape, numthreads=threads), {}

    def decode(encoded: bytes, like: np.ndarray, threads: int) -> np.ndarray:
        return sperr_decode(encoded, numthreads=threads)

    return encode, decode


def zfp() -> tuple[Encode, Decode]:
    from zfpy import compress_numpy, decompress_numpy

    def encode(values: np.ndarray, algorithm: str, eps: float, threads: int) -> tuple[Any, dict[str, float]]:
        return compress_numpy(values, **{algorithm: eps}), {}

    def decode(encoded: bytes, like: np.ndarray, threads: int) -> np.ndarray:
        return decompress_numpy(encoded)

    return encode, decode


CODERS = {"lossyzip": lossyzip, "sz3": sz3, "sperr": sperr, "zfp": zfp}


def measure(encode: Encode, decode: Decode, values: np.ndarray, request: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Trial; times and reports are the fastest repeat's: by CPU time, or wall time if
    there are several threads."""
    algorithm, eps, threads = request["algorithm"], request["eps"], request["threads"]
    encodes: list[tuple[tuple[float, float], dict[str, float]]] = []
    decodes: list[tuple[float, float]] = []
    began = time.perf_counter()
    while time.perf_counter() - began < request["warm"]:
        decode(encode(values, algorithm, eps, threads)[0], values, threads)
    for _ in range(request["repeats"]):
        seconds, (encoded, report) = _timed(encode, values, algorithm, eps, threads)
        encodes.append((seconds, report))
        seconds, decoded = _timed(decode, encoded, values, threads)
        decodes.append(seconds)
    if decoded.shape != values.shape or decoded.dtype != values.dtype:
        raise ValueError(f"decodes to {decoded.dtype} {decoded.shape}")
    if request.get("decoded"):
        np.save(request["decoded"], decoded)
    difference = values.astype(np.float64) - decoded
    by = 0 if threads == 1 else 1
    encode_seconds, report = min(encodes, key=lambda timed: timed[0][by])
    return {
        "bytes": memoryview(encoded).nbytes,
        "max_error": float(np.abs(difference).max()),
        "mean_square": float(np.mean(difference * difference)),
        "encode": encode_seconds,
        "decode": min(decodes, key=lambda seconds: seconds[by]),
        "report": report,
    }


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[tuple[float, float], Any]:
    """(CPU, wall) seconds and the result."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = call(*arguments)
    return (time.process_time() - cpu, time.perf_counter() - wall), result


def main(name: str) -> None:
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        encode, decode = CODERS[name]()
        path, values = None, np.empty(0)
        for line in sys.stdin:
            request = json.loads(line)
            if request["path"] != path:
                path, values = request["path"], np.load(request["path"])
            try:
                answer = measure(encode, decode, values.reshape(request["shape"]), request)
            except Exception as error:
                answer = {"problem": f"{type(error).__name__}: {error}"[:100]}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
