"""Training: repeatable, worth its bytes where there is a relation, harmless where there is none."""

from __future__ import annotations

import numpy as np
import pytest

import lossyzip as lz
from lossyzip.errors import InvalidArgumentError
from lossyzip.learned import device
from lossyzip.learned.training import train

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
SHAPE = (24, 40, 48)


def smooth(rng, shape):
    """Waves of several lengths, and a little noise."""
    grid = np.meshgrid(*(np.linspace(0.0, 1.0, n) for n in shape), indexing="ij")
    waves = [np.sin(sum(rng.uniform(4, 25) * g for g in grid) + rng.uniform(0, 6)) for _ in range(6)]
    return (sum(waves) + 0.2 * rng.standard_normal(shape)).astype(np.float32)


@pytest.fixture
def related(rng):
    """A target that is a nonlinear function of two references and of a slope."""
    a, b = smooth(rng, SHAPE), smooth(rng, SHAPE)
    slope = np.gradient(a.astype(np.float64), axis=2)
    return (np.tanh(a) * b + 3.0 * slope).astype(np.float32), [a, b]


def coded(target, guide, eps):
    return len(lz.compress((target - guide).astype(np.float32), lz.absolute(eps)))


def test_the_same_seed_gives_the_same_network(related):
    target, references = related
    first = train(target, references, 0.05, seconds=0.2)
    assert train(target, references, 0.05, seconds=0.2).to_bytes() == first.to_bytes()
    assert train(target, references, 0.05, seconds=0.2, seed=1).to_bytes() != first.to_bytes()


def test_nothing_of_the_caller_changes_a_network_or_is_changed_by_it(related):
    target, references = related
    first = train(target, references, 0.05, seconds=0.2)
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    torch.set_num_threads(2)
    try:
        assert train(target, references, 0.05, seconds=0.2).to_bytes() == first.to_bytes()
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.rand(3), expected)
    finally:
        torch.set_num_threads(threads)


def test_a_gpu_gives_the_same_network_each_time(related):
    if not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    target, references = related
    assert device.training_device().type == "cuda"
    first = train(target, references, 0.02, seconds=1.0)
    assert train(target, references, 0.02, seconds=1.0).to_bytes() == first.to_bytes()
    size = coded(target, first.guide(references), 0.02) + len(first.to_bytes())
    assert size < 0.6 * coded(target, 0.0, 0.02)


def test_recorded_steps_lead_where_live_ones_do(related, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    from lossyzip.learned import descent

    target, references = related
    recorded = train(target, references, 0.02, seconds=0.2)
    monkeypatch.setattr(descent, "_LIVE_STEPS", 1 << 30)
    assert train(target, references, 0.02, seconds=0.2).to_bytes() == recorded.to_bytes()


def test_progress_is_told(related):
    target, references = related
    told = []
    train(target, references, 0.05, seconds=0.3, tell=told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert 50 < len(told) <= 100

    def stop(part):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(target, references, 0.05, tell=stop)


def test_a_nonlinear_relation_is_found(related):
    target, references = related
    network = train(target, references, 0.02, seconds=1.0)
    size = coded(target, network.guide(references), 0.02) + len(network.to_bytes())
    assert size < 0.6 * coded(target, 0.0, 0.02)


def test_noise_is_not_believed(rng, related):
    target, _ = related
    noise = [rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)]
    network = train(target, noise, 0.02, seconds=0.2)
    size = coded(target, network.guide(noise), 0.02) + len(network.to_bytes())
    assert size < 1.02 * coded(target, 0.0, 0.02)


def test_values_that_mean_nothing_poison_nothing(rng, related):
    target, references = related
    hole = rng.random(SHAPE[1:]) < 0.2
    holed = target.copy()
    holed[:, hole] = -1e34
    odd = references[0].copy()
    odd[:, hole] = np.nan
    network = train(holed, [odd, references[1]], 0.02, valid=holed > -1e30, seconds=0.5)
    guide = network.guide([odd, references[1]])
    assert np.isfinite(guide).all()
    left = np.abs(target - guide)[:, ~hole]
    assert left.mean() < 0.5 * np.abs(target - target.mean())[:, ~hole].mean()
    holed[0, 0, :5] = [np.nan, np.inf, -np.inf, np.nan, np.inf]
    train(holed, [odd, references[1]], 0.02, valid=holed != np.float32(-1e34), seconds=0.1)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (300,), (40, 30), (1, 1, 9), (3, 8, 9, 10), (0, 4)])
def test_every_shape_gives_a_network(rng, shape):
    target, reference = rng.standard_normal(shape), rng.standard_normal(shape)
    network = train(target, [reference], 1e-3, seconds=0.05)
    assert np.isfinite(network.guide([reference])).all()


@pytest.mark.parametrize("kind", ["constant", "nan", "huge", "tiny", "integers"])
def test_odd_references_and_targets(rng, kind):
    plain = rng.standard_normal((6, 7, 8))
    odd = {
        "constant": np.ones(plain.shape),
        "nan": np.full(plain.shape, np.nan),
        "huge": plain * 1e306,
        "tiny": plain * 1e-306,
        "integers": np.rint(9 * plain).astype(np.int16),
    }[kind]
    for target, reference in ((plain, odd), (odd, plain)):
        for eps in (1e-300, 1e-3, 1e300):
            network = train(target, [reference], eps, seconds=0.02)
            assert np.isfinite(network.guide([reference])).all()


def test_arguments_are_checked():
    field = np.zeros((3, 4))
    with pytest.raises(InvalidArgumentError, match="one shape"):
        train(field, [np.zeros((4, 3))], 1.0)
    with pytest.raises(InvalidArgumentError, match="one shape"):
        train(field, [], 1.0)
    with pytest.raises(InvalidArgumentError, match="eps"):
        train(field, [field], 0.0)
