"""The generated data is what its docstrings promise: physics, determinism, structure of the file."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from datasets import flow, synthetic

N, STEPS = 32, 4


@pytest.fixture(scope="module")
def snapshot() -> dict[str, np.ndarray]:
    return flow.snapshot(N, STEPS, seed=3)


@pytest.fixture(scope="module")
def velocity_spectra(snapshot: dict[str, np.ndarray]) -> np.ndarray:
    """Of the components along z, y, x."""
    return np.stack([np.fft.rfftn(snapshot[f"velocity_{axis}"].astype(np.float64)) for axis in flow.AXES])


def wavenumbers() -> np.ndarray:
    whole, half = np.fft.fftfreq(N, 1 / N), np.fft.rfftfreq(N, 1 / N)
    return np.stack(np.meshgrid(whole, whole, half, indexing="ij"))


def test_snapshot_holds_finite_float32_fields_that_vary(snapshot):
    assert set(snapshot) == set(flow.UNITS)
    for values in snapshot.values():
        assert values.shape == (N, N, N)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values.std() > 0


def test_same_seed_same_snapshot_and_another_seed_another(snapshot):
    again, other = flow.snapshot(N, STEPS, seed=3), flow.snapshot(N, STEPS, seed=4)
    for name, values in snapshot.items():
        assert np.array_equal(values, again[name])
        assert not np.allclose(values, other[name])


def test_velocity_is_divergence_free(velocity_spectra):
    divergence = np.abs((wavenumbers() * velocity_spectra).sum(axis=0)).max()
    gradient = np.abs(wavenumbers() * velocity_spectra).max()
    assert divergence < 1e-5 * gradient  # float32 rounding


def test_energy_cascades_to_scales_that_the_start_did_not_have(velocity_spectra):
    shell = np.rint(np.sqrt((wavenumbers() ** 2).sum(axis=0))).astype(int)
    energy = np.bincount(shell.ravel(), (np.abs(velocity_spectra) ** 2).sum(axis=0).ravel())
    beyond_start = energy[flow.LARGEST_WAVENUMBER_AT_START + 1 : N // 3]
    assert beyond_start.sum() > 1e-3 * energy.sum()
    assert (np.diff(beyond_start) < 0).all()
    assert energy[N // 3] < 0.1 * energy.max()


def test_pressure_solves_its_poisson_equation(snapshot, velocity_spectra):
    k = wavenumbers()
    velocity = np.fft.irfftn(velocity_spectra, s=(N, N, N), axes=(1, 2, 3))
    source = sum(
        k[i] * k[j] * np.fft.rfftn(velocity[i] * velocity[j]) for i in range(3) for j in range(3)
    )  # of -div(u . grad u), in Fourier space
    pressure = -(k**2).sum(axis=0) * np.fft.rfftn(snapshot["pressure"].astype(np.float64))
    difference = np.abs(pressure - source)[np.abs(k).max(axis=0) < N / 3]  # the others alias
    assert difference.max() < 1e-5 * np.abs(source).max()


def test_a_grid_that_the_solver_cannot_halve_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        flow.snapshot(30)


def test_hdf5_snapshot_has_what_a_simulation_file_has(tmp_path, snapshot):
    path = tmp_path / "flow.h5"
    flow.write_hdf5(path, N, STEPS, seed=3)
    with h5py.File(path) as file:
        for name, values in snapshot.items():
            dataset = file["fields"][name]
            assert np.array_equal(dataset[...], values)
            assert (dataset.attrs["units"], dataset.attrs["long_name"]) == flow.UNITS[name]
            for axis, label in enumerate(flow.AXES):
                assert dataset.dims[axis].label == label
                assert dataset.dims[axis][0] == file["grid"][label]
        assert file["grid/x"].is_scale
        assert isinstance(file.get("latest", getlink=True), h5py.SoftLink)
        assert set(file["latest"]) == set(snapshot)
        assert '"seed": 3' in file["run/parameters"].asstr()[()]
        assert list(file["run/field_names"].asstr()) == list(snapshot)
        assert file["run/step"][()] == STEPS
        assert file["run/step"].dtype.kind == "i"
        assert file["run/time"][()] > 0


def test_synthetic_fields_are_small_and_the_same_every_time():
    first, second = synthetic.fields(), synthetic.fields()
    assert {array.ndim for array in first.values()} == {1, 2, 3, 4}
    for name, values in first.items():
        assert 0 < values.size < 200_000
        assert values.dtype == (np.float64 if name.endswith("_f64") else np.float32)
        assert np.isfinite(values).all()
        assert np.array_equal(values, second[name])


def test_synthetic_fields_have_the_habits_they_are_named_for():
    fields = synthetic.fields()
    land = fields["masked"] == np.float32(synthetic.FILL)
    assert 0.1 < land.mean() < 0.6
    assert (land == land[0]).all()
    assert 0.5 < (fields["sparse"] == 0).mean() < 0.99
    assert len(np.unique(fields["rounded"])) < 500
    assert (fields["repeated"] == fields["repeated"][0]).all()
