"""Fields of more than a million values, of kinds that few files hold. Seeded; knows nothing of compression.

Large enough that a compressor decides on samples what to do with them, and unlike each other in where they
are rough: a choice that is right for turbulence may be wrong for a wave front.
"""

from __future__ import annotations

import numpy as np


def fields(seed: int = 0) -> dict[str, np.ndarray]:
    """Name -> array, float32 unless the name ends in _f64."""
    rng = np.random.default_rng(seed)
    return {
        "shells": shells((96, 112, 128), rng),
        "orbitals": orbitals((16, 40, 44, 48), rng),
        "front": front((80, 112, 128), rng),
        "interface_f64": interface((72, 112, 144), rng),
        "lognormal": np.exp(2.2 * noise((104, 104, 112), 2.6, rng)).astype(np.float32),
        "clouds": np.clip(0.5 + 0.6 * noise((1000, 1200), 3.2, rng), 0.0, 1.0).astype(np.float32),
        "counts": rng.poisson(20.0 * np.exp(0.8 * noise((1024, 1100), 3.0, rng))).astype(np.float32),
        "degrees": np.round(15.0 + 8.0 * noise((1000, 1100), 2.4, rng), 1).astype(np.float32),
        "drifting": drifting((12, 16, 72, 88), rng),
        "traces": traces((280, 4000), rng),
        "shock": shock((60, 256, 256)),
    }


def noise(shape: tuple[int, ...], slope: float, rng: np.random.Generator) -> np.ndarray:
    """Periodic Gaussian noise of deviation one, whose power falls with wavenumber to the minus ``slope``."""
    axes = [np.fft.fftfreq(n) * n for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) * shape[-1]]
    square = sum(k * k for k in np.meshgrid(*axes, indexing="ij", sparse=True))
    square[(0,) * len(shape)] = np.inf  # no mean
    spectrum = np.fft.rfftn(rng.standard_normal(shape)) * square ** (-slope / 4)
    values = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    return np.asarray(values / values.std())


def shells(shape: tuple[int, int, int], rng: np.random.Generator, count: int = 14) -> np.ndarray:
    """A wave field some time after a shot: spheres around the source and what scattered it, zero beyond."""
    total = np.zeros(shape)
    for number in range(count):
        centre = rng.uniform(0.2, 0.8, 3) * shape
        axes = (np.arange(n) - c for n, c in zip(shape, centre, strict=True))
        distance = np.sqrt(sum(d * d for d in np.meshgrid(*axes, indexing="ij", sparse=True)))
        for radius in rng.uniform(8.0, 24.0, 2):
            s = ((distance - radius) / 3.0) ** 2
            total += (1.0 - 2.0 * s) * np.exp(-s) / ((1.0 + number) * (4.0 + distance))
    total[np.abs(total) < 1e-9] = 0.0
    return total.astype(np.float32)


def orbitals(shape: tuple[int, int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth volumes that have nothing to do with each other."""
    axes = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in shape[1:]), indexing="ij", sparse=True)
    volumes = []
    for _ in range(shape[0]):
        centre, near, far = rng.uniform(-0.7, 0.7, 3), rng.normal(0.0, 5.0, 3), rng.normal(0.0, 8.0, 3)
        square = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
        waves = [np.cos(sum(k * a for k, a in zip(wave, axes, strict=True))) for wave in (near, far)]
        volumes.append(np.exp(-square * rng.uniform(2.0, 12.0)) * waves[0] + 0.3 * waves[1])
    return np.stack(volumes).astype(np.float32)


def front(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A flame: two temperatures, a thin wrinkled front between them, a little turbulence."""
    wrinkled, turbulence = noise(shape, 3.5, rng), noise(shape, 3.0, rng)
    return (300.0 + 1700.0 / (1.0 + np.exp(-wrinkled / 0.1)) + 3.0 * turbulence).astype(np.float32)


def interface(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Density of two fluids that mix, one above the other."""
    height = np.linspace(-3.0, 3.0, shape[0])[:, None, None]
    return np.asarray(
        2.0 + np.tanh(4.0 * (height + 0.7 * noise(shape, 3.0, rng))) + 0.05 * noise(shape, 3.5, rng)
    )


def drifting(shape: tuple[int, int, int, int], rng: np.random.Generator) -> np.ndarray:
    """What two winds carry along, at each of a few times."""
    first, second = noise(shape[1:], 3.2, rng), noise(shape[1:], 3.2, rng)
    steps = [
        np.roll(first, (t, 2 * t), (1, 2)) + 0.3 * np.cos(t / 3.0) * np.roll(second, (-t, t), (1, 2))
        for t in range(shape[0])
    ]
    return (np.stack(steps) + 0.02 * rng.standard_normal(shape)).astype(np.float32)


def shock(shape: tuple[int, int, int]) -> np.ndarray:
    """A curved front that passes through a smooth flow, in time."""
    time, y, x = (np.linspace(0.0, 1.0, n) for n in shape)
    place = 0.2 + 0.5 * time[:, None, None] + 0.1 * np.sin(6.0 * y)[:, None]
    return (np.tanh(40.0 * (x - place)) + 0.05 * np.sin(40.0 * x * y[:, None])).astype(np.float32)


def traces(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Seismograms: echoes that arrive later the farther away one listens, and noise."""
    offset, time = np.arange(shape[0])[:, None] - shape[0] / 2, np.arange(shape[1])[None, :]
    total = 0.01 * rng.standard_normal(shape)
    for arrival, amplitude in ((400, 1.0), (900, 0.7), (1500, 0.5), (2300, 0.4), (3100, 0.2)):
        late = time - np.hypot(arrival, 1.5 * offset)
        total += amplitude * np.exp(-((late / 30.0) ** 2)) * np.cos(late / 5.0)
    return total.astype(np.float32)
