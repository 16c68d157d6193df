"""A small turbulent flow with a dye in it, as a simulation would write it. Knows nothing of compression.

Decaying incompressible Navier-Stokes in a periodic box, pseudo-spectral: rotational form, dealiased by
the 2/3 rule, fourth-order Runge-Kutta with the viscous term integrated exactly (Canuto, Hussaini,
Quarteroni, Zang: Spectral Methods in Fluid Dynamics, 1988). The random large-scale start needs no fine
grid, so the first part runs on a coarser one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

BOX = 2.0 * np.pi  # length of an edge
CFL = 1.0
COARSE_STEPS = 3
LARGEST_WAVENUMBER_AT_START = 3
UNITS = {
    "velocity_x": ("m s-1", "velocity along x"),
    "velocity_y": ("m s-1", "velocity along y"),
    "velocity_z": ("m s-1", "velocity along z"),
    "scalar": ("1", "concentration of a passive dye"),
    "pressure": ("m2 s-2", "pressure over density, mean removed"),
    "vorticity": ("s-1", "magnitude of the vorticity"),
}
AXES = ("z", "y", "x")  # of the arrays, slowest first


def snapshot(n: int = 64, steps: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """Fields of UNITS on an n^3 grid, float32, axes z, y, x, after ``steps`` steps on the full grid.

    COARSE_STEPS times as many steps on half the resolution come before, until small scales need it.
    ``n`` is a multiple of 4, at least 16. The same arguments give the same flow; another ``n`` gives
    the same start on another grid. 64^3 takes a few seconds on one core.
    """
    return _run(n, steps, seed)[0]


def write_hdf5(path: str | Path, n: int = 64, steps: int = 16, seed: int = 0) -> None:
    """A snapshot as a simulation writes it: groups, units, dimension scales, strings, integers, a link."""
    import h5py

    fields, time = _run(n, steps, seed)
    parameters = {"n": n, "steps": steps, "seed": seed, "viscosity": _viscosity(n)}
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "Decaying turbulence with a passive dye"
        file.attrs["source"] = "lossyzip datasets.flow, a pseudo-spectral solver"
        scales = [_write_axis(file.require_group("grid"), name, n) for name in AXES]
        for name, values in fields.items():
            dataset = file.create_dataset(f"fields/{name}", data=values)
            dataset.attrs["units"], dataset.attrs["long_name"] = UNITS[name]
            for axis, scale in enumerate(scales):
                dataset.dims[axis].label = AXES[axis]
                dataset.dims[axis].attach_scale(scale)
        run = file.create_group("run")
        run.create_dataset("parameters", data=json.dumps(parameters), dtype=h5py.string_dtype())
        run.create_dataset("field_names", data=list(fields), dtype=h5py.string_dtype())
        run.create_dataset("step", data=np.int64(steps))
        run.create_dataset("time", data=np.float64(time)).attrs["units"] = "s"
        file["latest"] = h5py.SoftLink("/fields")


def _write_axis(group: Any, name: str, n: int) -> Any:
    scale = group.create_dataset(name, data=np.arange(n) * (BOX / n))
    scale.attrs["units"] = "m"
    scale.make_scale(name)
    return scale


def _run(n: int, steps: int, seed: int) -> tuple[dict[str, np.ndarray], float]:
    if n < 16 or n % 4:
        raise ValueError(f"n must be a multiple of 4 and at least 16, not {n}")
    viscosity = _viscosity(n)
    coarse, fine = _Grid(n // 2), _Grid(n)
    state, time = _start(coarse, seed), 0.0
    for _ in range(COARSE_STEPS * steps):
        state, dt = _step(coarse, state, viscosity)
        time += dt
    state = _resample(state, fine.n)
    for _ in range(steps):
        state, dt = _step(fine, state, viscosity)
        time += dt
    return _fields(fine, state), time


def _viscosity(n: int) -> float:
    """As small as the grid resolves: the Kolmogorov length goes as viscosity^(3/4)."""
    return 0.016 * (64 / n) ** (4 / 3)


class _Grid:
    """Wavenumbers of an n^3 grid in the layout of rfftn, and transforms of stacks of fields."""

    def __init__(self, n: int) -> None:
        whole, half = np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)
        self.n = n
        self.k = (whole[:, None, None], whole[None, :, None], half[None, None, :])  # along z, y, x
        self.k2 = sum(k * k for k in self.k)
        self.inverse_k2 = 1.0 / np.where(self.k2 == 0, 1.0, self.k2)
        cut = n / 3
        self.kept = np.logical_and.reduce(np.broadcast_arrays(*(np.abs(k) < cut for k in self.k)))

    def physical(self, spectra: np.ndarray) -> np.ndarray:
        return np.fft.irfftn(spectra, s=(self.n,) * 3, axes=(-3, -2, -1))

    def spectral(self, fields: np.ndarray) -> np.ndarray:
        return np.fft.rfftn(fields, axes=(-3, -2, -1))

    def divergence(self, spectra: np.ndarray) -> np.ndarray:
        return 1j * (self.k[0] * spectra[0] + self.k[1] * spectra[1] + self.k[2] * spectra[2])

    def gradient(self, spectrum: np.ndarray) -> np.ndarray:
        return np.stack([1j * k * spectrum for k in self.k])

    def without_divergence(self, spectra: np.ndarray) -> np.ndarray:
        return spectra + self.gradient(self.divergence(spectra) * self.inverse_k2)

    def curl(self, spectra: np.ndarray) -> np.ndarray:
        """Of a vector (z, y, x), again as z, y, x."""
        (kz, ky, kx), (uz, uy, ux) = self.k, spectra
        return 1j * np.stack([kx * uy - ky * ux, kz * ux - kx * uz, ky * uz - kz * uy])


def _start(grid: _Grid, seed: int) -> np.ndarray:
    """Spectra (4, ...) of a random velocity z, y, x of unit rms and of a dye with smooth fronts."""
    small = _Grid(4 * LARGEST_WAVENUMBER_AT_START)
    noise = small.spectral(np.random.default_rng(seed).standard_normal((4, small.n, small.n, small.n)))
    noise *= (small.k2 > 0) & (small.k2 <= LARGEST_WAVENUMBER_AT_START**2)
    noise = _resample(noise, grid.n)
    velocity = grid.without_divergence(noise[:3])
    velocity /= np.sqrt(np.mean(np.square(grid.physical(velocity))))
    level = grid.physical(noise[3])
    dye = grid.spectral(0.5 + 0.5 * np.tanh(1.2 * level / level.std()))
    return np.concatenate([velocity, dye[None]]) * grid.kept


def _resample(spectra: np.ndarray, n: int) -> np.ndarray:
    """The same fields on an n^3 grid that is finer, or holds all that is not zero but for Nyquist terms."""
    old = spectra.shape[-2]
    low = min(old, n) // 2
    result = np.zeros((*spectra.shape[:-3], n, n, n // 2 + 1), complex)
    for z in (slice(0, low), slice(1 - low, None)):
        for y in (slice(0, low), slice(1 - low, None)):
            result[..., z, y, :low] = spectra[..., z, y, :low]
    return result * (n / old) ** 3


def _tendency(grid: _Grid, state: np.ndarray) -> np.ndarray:
    """Time derivative of the spectra without viscosity and diffusion."""
    *velocity, dye = grid.physical(state)
    force = grid.spectral(_lamb_vector(velocity, grid.physical(grid.curl(state[:3]))))
    flux = grid.spectral(np.stack([component * dye for component in velocity]))
    rates = np.concatenate([grid.without_divergence(force), -grid.divergence(flux)[None]])
    return rates * grid.kept


def _lamb_vector(velocity: list[np.ndarray], vorticity: np.ndarray) -> np.ndarray:
    """Velocity x vorticity. Both have their components as z, y, x."""
    (uz, uy, ux), (wz, wy, wx) = velocity, vorticity
    return np.stack([ux * wy - uy * wx, uz * wx - ux * wz, uy * wz - uz * wy])


def _step(grid: _Grid, state: np.ndarray, viscosity: float) -> tuple[np.ndarray, float]:
    """The state one step later, and how long the step was."""
    speed = np.abs(grid.physical(state[:3])).sum(axis=0).max()
    dt = CFL * BOX / grid.n / float(speed)
    half = np.exp(-viscosity * grid.k2 * dt / 2)
    a = _tendency(grid, state)
    b = _tendency(grid, half * (state + dt / 2 * a))
    c = _tendency(grid, half * state + dt / 2 * b)
    d = _tendency(grid, half * (half * state + dt * c))
    return half * (half * (state + dt / 6 * a) + dt / 3 * (b + c)) + dt / 6 * d, dt


def _fields(grid: _Grid, state: np.ndarray) -> dict[str, np.ndarray]:
    *velocity, dye = grid.physical(state)
    vorticity = grid.physical(grid.curl(state[:3]))
    head = -grid.divergence(grid.spectral(_lamb_vector(velocity, vorticity))) * grid.inverse_k2
    pressure = grid.physical(head) - 0.5 * sum(component**2 for component in velocity)
    fields = {
        "velocity_x": velocity[2],
        "velocity_y": velocity[1],
        "velocity_z": velocity[0],
        "scalar": dye,
        "pressure": pressure - pressure.mean(),
        "vorticity": np.sqrt(np.sum(vorticity**2, axis=0)),
    }
    return {name: values.astype(np.float32) for name, values in fields.items()}
