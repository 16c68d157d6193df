"""Settings of hypothesis, and helpers that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "lossyzip",
    deadline=None,  # the first call compiles kernels
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
settings.load_profile("lossyzip")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture
def trip(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """What makes a `trip.Trip`, whose files are closed behind the test."""
    from trip import Trip

    trips: list[Trip] = []

    def make(*arguments, **options) -> Trip:
        trips.append(Trip(tmp_path, *arguments, **options))
        return trips[-1]

    yield make
    for one in trips:
        for file in (one.old, one.packed, one.back):
            file.close()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real HDF5 files: LOSSYZIP_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("LOSSYZIP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not any(folder.glob("*.h5")):
        pytest.skip(f"no real data: {folder} has no HDF5 files; set LOSSYZIP_DATA")
    return folder
