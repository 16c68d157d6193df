"""The whole path on data as it is: generated fields always, real ones where they are there."""

from __future__ import annotations

import csv
from pathlib import Path

import exact
import h5py
import numpy as np
import pytest

import lossyzip as lz
from datasets import synthetic

BOUNDS = (1e-2, 1e-3, 1e-4)
MOVED = 0.003  # plans are chosen by logarithms, which machines round differently
SIZES = Path(__file__).with_name("sizes.csv")
FILLS = {"masked": (synthetic.FILL,)}
FEW = {  # of the real fields: one of each habit, all small
    "atmos_ccm3.h5/T",
    "atmos_ncep_climo.h5/SHUM",
    "surface_coads.h5/SST",
    "weather_wrf_mercator.h5/QRAIN",
    "weather_wrf_mercator.h5/P",
}


@pytest.fixture(scope="module")
def fields() -> dict[str, np.ndarray]:
    return synthetic.fields()


def assert_round_trip(array: np.ndarray, rel: float, fills: tuple[float, ...] = ()) -> int:
    """Check every value; return the size of the frame."""
    blob = lz.compress(array, lz.relative(rel), fill_value=fills or None)
    decoded = lz.decompress(blob)
    assert not exact.violations(array, decoded, exact.tolerance(array, "relative", rel, fills), fills).size
    assert lz.verify(array, blob, fill_value=fills or None).violations == 0
    return len(blob)


@pytest.mark.parametrize("name", synthetic.fields())
def test_generated_fields_and_their_sizes(name, fields):
    """Sizes are pinned: where one changes, say why and run ``python tests/update_sizes.py``."""
    with SIZES.open() as file:
        pinned = {row["field"]: row for row in csv.DictReader(file)}
    sizes = {f"{rel:g}": assert_round_trip(fields[name], rel, FILLS.get(name, ())) for rel in BOUNDS}
    expected = {bound: pytest.approx(int(pinned[name][bound]), rel=MOVED) for bound in sizes}
    assert sizes == expected, f"{name}: {sizes} bytes, not {expected}; see python tests/update_sizes.py"


def real_fields(folder: Path) -> list[tuple[str, str]]:
    """(file name, path of the dataset) of every field of floats."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, path=path: (
                    found.append((path.name, name))
                    if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.ndim > 1
                    else None
                )
            )
    return found


def read(folder: Path, file_name: str, name: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """A field and its fill values."""
    with h5py.File(folder / file_name) as file:
        attributes = file[name].attrs
        fills = [
            attributes[key] for key in ("_FillValue", "missing_value", "fill_value") if key in attributes
        ]
        return file[name][...], tuple({float(value) for value in np.ravel(fills)})


@pytest.mark.parametrize("rel", BOUNDS)
@pytest.mark.parametrize("name", sorted(FEW))
def test_a_few_real_fields(data_folder, name, rel):
    array, fills = read(data_folder, *name.split("/"))
    assert_round_trip(array, rel, fills)


@pytest.mark.slow
@pytest.mark.parametrize("rel", BOUNDS)
def test_every_real_field(data_folder, rel):
    names = real_fields(data_folder)
    assert names
    for file_name, name in names:
        array, fills = read(data_folder, file_name, name)
        size = assert_round_trip(array, rel, fills)
        print(f"{file_name}/{name} at {rel:g}: ratio {array.nbytes / size:.2f}")
