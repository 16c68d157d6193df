"""Where networks are trained: torch, on a GPU where there is one. Decoding needs neither."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from lossyzip.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch


def training_device() -> torch.device:
    """Raises MissingDependencyError where torch is not installed."""
    require_torch()
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def require_torch() -> None:
    """The same error, without the second or two that it takes to import torch."""
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError("training needs torch: pip install 'lossyzip[learned]'")
