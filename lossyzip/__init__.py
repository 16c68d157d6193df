"""lossyzip: error-bounded lossy compression of scientific fields; the bound is proved on every output.

Names are loaded when they are first used, so that `import lossyzip` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossyzip.version import VERSION as __version__

if TYPE_CHECKING:
    from lossyzip.api import (
        Inspection,
        Verification,
        compress,
        decompress,
        inspect,
        tune,
        verify,
    )
    from lossyzip.archive import compress_fields, decompress_fields, train
    from lossyzip.bound import Bound, absolute, lossless, pointwise_relative, psnr, relative
    from lossyzip.bound_search import Tuned
    from lossyzip.errors import (
        BoundViolationError,
        ContentMismatchError,
        CorruptError,
        DecodeError,
        InvalidArgumentError,
        LossyZipError,
        MissingDependencyError,
        MissingModelError,
        MissingReferenceError,
        NotALossyZipError,
        SelfCheckError,
        TruncatedError,
        UnreachableTargetError,
        UnsupportedDataError,
        UnsupportedFormatError,
    )
    from lossyzip.io.hdf5 import compress_file, decompress_file
    from lossyzip.learned.model import Model

_HOME = {
    "Inspection": "api",
    "Verification": "api",
    "compress": "api",
    "compress_fields": "archive",
    "decompress": "api",
    "decompress_fields": "archive",
    "inspect": "api",
    "train": "archive",
    "tune": "api",
    "verify": "api",
    "Bound": "bound",
    "absolute": "bound",
    "lossless": "bound",
    "pointwise_relative": "bound",
    "psnr": "bound",
    "relative": "bound",
    "Tuned": "bound_search",
    "Model": "learned.model",
    "compress_file": "io.hdf5",
    "decompress_file": "io.hdf5",
    "BoundViolationError": "errors",
    "ContentMismatchError": "errors",
    "CorruptError": "errors",
    "DecodeError": "errors",
    "InvalidArgumentError": "errors",
    "LossyZipError": "errors",
    "MissingDependencyError": "errors",
    "MissingModelError": "errors",
    "MissingReferenceError": "errors",
    "NotALossyZipError": "errors",
    "SelfCheckError": "errors",
    "TruncatedError": "errors",
    "UnreachableTargetError": "errors",
    "UnsupportedDataError": "errors",
    "UnsupportedFormatError": "errors",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lossyzip' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lossyzip.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
