"""The one decorator for compiled kernels, and where their machine code is cached.

Policy: nopython, no fastmath (decoding is bit-exact everywhere), no GIL (threads work on tiles; `brief` ones
keep it).
A cached caller does not notice an edited helper in another file, so the cache directory is keyed by
lossyzip's sources; it lies beside them, or in the user's cache directory where that is read-only,
or nowhere.
"""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numba.misc.appdirs import user_cache_dir

_PACKAGE = Path(__file__).parent
config: Any = numba.config  # its attributes are made at run time


def kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` under the policy above."""
    return _compile(function, {"_nrt": True})  # said, since a callee would take it from a `lean` caller


def exact(function: Callable[..., Any]) -> Any:
    """As `kernel`, for sums of integers that floats hold exactly: product and sum may be one instruction."""
    return _compile(function, {"_nrt": True, "fastmath": {"contract"}})


def lean(function: Callable[..., Any]) -> Any:
    """As `kernel`, for one that makes no arrays: it does not count references to those it is given."""
    return _compile(function, {"_nrt": False})


def brief(function: Callable[..., Any]) -> Any:
    """As `lean`, for one that is done before another thread could be woken: it keeps the interpreter's lock,
    which takes longer to get back."""
    return _compile(function, {"_nrt": False, "nogil": False})


def helper(function: Callable[..., Any]) -> Any:
    """As `lean`, for what kernels alone call: what Python would need to call it is not compiled."""
    return _compile(function, {"_nrt": False, "no_cpython_wrapper": True})


def merged(function: Callable[..., Any]) -> Any:
    """As `helper`, merged as machine code: so small that a call would cost more than its work."""
    return _compile(function, {"_nrt": False, "no_cpython_wrapper": True, "forceinline": True})


def inlined(function: Callable[..., Any]) -> Any:
    """As `merged`, but merged as Python is: it sees what its caller knows of types and aliases."""
    return _compile(function, {"no_cpython_wrapper": True, "inline": "always"})


def _compile(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    directory = cache_directory()
    configured = config.CACHE_DIR
    if directory is not None:
        config.CACHE_DIR = str(directory)
    try:
        # nobody takes a kernel as a value
        options = {"fastmath": False, "nogil": True, "no_cfunc_wrapper": True} | options
        return numba.njit(cache=directory is not None, **options)(function)
    finally:
        config.CACHE_DIR = configured


class _WithoutCollector(event.Listener):
    """Stops the collector of cyclic garbage while one of our kernels is compiled: a tenth of the time."""

    def __init__(self) -> None:
        self._stopped_for: object = None

    def on_start(self, event: Any) -> None:
        if self._stopped_for is None and gc.isenabled() and _is_ours(event):
            self._stopped_for = event.data["dispatcher"]
            gc.disable()

    def on_end(self, event: Any) -> None:
        if event.data["dispatcher"] is self._stopped_for:  # and not one that it calls
            self._stopped_for = None
            gc.enable()


def _is_ours(event: Any) -> bool:
    return str(event.data["dispatcher"].py_func.__module__).startswith("lossyzip.")


event.register("numba:compile", _WithoutCollector())  # compilation is one thread's at a time


@cache
def cache_directory() -> Path | None:
    """Where compiled kernels are kept, or None when no place can be written."""
    key = hashlib.sha256()
    for source in sorted(_PACKAGE.rglob("*.py")):
        key.update(source.read_bytes())
    name = f"kernels-{key.hexdigest()[:16]}"
    candidates = [_PACKAGE / "__pycache__" / name, Path(user_cache_dir("lossyzip", "lossyzip")) / name]
    if os.environ.get("NUMBA_CACHE_DIR"):
        candidates.insert(0, Path(os.environ["NUMBA_CACHE_DIR"]) / name)
    return next((path for path in candidates if _is_writable(path)), None)


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
