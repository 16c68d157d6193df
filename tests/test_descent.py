"""Descent: the loop that guides' networks and enhancers are taught by."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from lossyzip.learned import descent, enhancer_network  # noqa: E402

POINT = np.array([1.0, -2.0, 0.5], np.float32)
SCHEDULES = {"plain": (False, False), "fused": (True, False), "momentum": (False, True)}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")


def schedule_of(fused: bool, momentum: bool) -> descent.Schedule:
    return descent.Schedule(0.1, (0.9, 0.99), {"pct_start": 0.2, "cycle_momentum": momentum}, fused)


def found(name: str, steps: int = 300, seen: list | None = None, tell=None, device: str = "cpu"):
    """Where the way down to POINT ends, of which a batch is two coordinates."""
    at = torch.zeros(3, device=device, requires_grad=True)
    goal = torch.from_numpy(POINT).to(device)

    def loss(chosen):
        if seen is not None:
            seen.append((chosen.tolist(), at.tolist()))
        return ((at - goal).index_select(0, chosen) ** 2).sum()

    pairs = (torch.tensor([k % 3, (k + 1) % 3]) for k in itertools.count())
    descent.descend([at], loss, pairs, steps, schedule_of(*SCHEDULES[name]), tell)
    return at.detach().cpu().numpy()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_loss_is_followed_down_batch_by_batch(name):
    seen, told = [], []
    np.testing.assert_allclose(found(name, seen=seen, tell=told.append), POINT, atol=0.01)
    assert [chosen for chosen, _ in seen] == [[k % 3, (k + 1) % 3] for k in range(300)]
    assert told == [k / 100 for k in range(1, 101)]


def test_steps_begin_small_and_become_as_large_as_the_rate():
    """Adam's are about as long as the rate while gradients are alike; a cycle begins at a 25th of it."""
    seen = []
    found("plain", 20, seen=seen)
    way = np.array([at for _, at in seen])
    np.testing.assert_allclose(way[1], [0.1 / 25, -0.1 / 25, 0.0], rtol=1e-3)
    assert 0.07 < np.abs(np.diff(way, axis=0)).max() < 0.15


def test_momentum_is_cycled_where_it_is_asked_for():
    assert found("momentum", 20).tobytes() != found("plain", 20).tobytes()


def test_threads_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside = []
        with pytest.raises(KeyboardInterrupt):
            found("plain", tell=lambda _: inside.append(torch.get_num_threads()) or stop())
        assert (inside, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def stop() -> None:
    raise KeyboardInterrupt


def enhancers_network(seed: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    terms = np.rint(rng.normal(0, 40, (5000, 9))).astype(np.float32)
    errors = np.tanh(terms[:, 0] * terms[:, 1] / 900).astype(np.float32)
    net = enhancer_network.teach(terms, errors, (8, 8), np.zeros(9), 200, seed)
    return [part.tobytes() for part in (*itertools.chain(*net.hidden), net.weights)]


def test_nothing_of_the_caller_changes_an_enhancers_network_or_is_changed_by_it():
    first, threads = enhancers_network(1), torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    torch.set_num_threads(2)
    try:
        assert enhancers_network(1) == first
        assert torch.equal(torch.rand(3), expected)
    finally:
        torch.set_num_threads(threads)
    assert enhancers_network(2) != first


@needs_gpu
@pytest.mark.parametrize("name", SCHEDULES)
def test_recorded_steps_lead_where_live_ones_do(name, monkeypatch):
    calls = []
    recorded = found(name, device="cuda")
    np.testing.assert_allclose(recorded, POINT, atol=0.01)
    monkeypatch.setattr(descent, "_LIVE_STEPS", 1 << 30)
    assert found(name, seen=calls, device="cuda").tobytes() == recorded.tobytes()
    assert len(calls) == 300


@needs_gpu
def test_a_gpu_gives_the_same_enhancers_network_each_time():
    assert enhancers_network(1) == enhancers_network(1)
