"""The audit finds the errors of published evaluations, rebuilt here, and nothing in sound ones."""

import numpy as np
import pytest

import dalearn as da
from dalearn.array import convert


@pytest.fixture(scope="module")
def runs():
    """60 independent runs of Lorenz-63 on its attractor, a state every 0.05: `(60, 40, 3)`."""
    rng = np.random.default_rng(3)
    model = da.Lorenz63(dt=0.025)
    x = rng.normal(size=(60, 3)) + np.array([0, 0, 25.0])
    states = []
    for k in range(280):
        x = model(x)
        if k >= 200 and k % 2:
            states.append(x)
    return np.stack(states, axis=1)


def lorenz96(steps):
    """One run of Lorenz-96, a state every 0.02."""
    model, x, states = da.Lorenz96(dt=0.02), 8 * np.sin(np.arange(40.0)), []
    for _ in range(steps):
        x = model(x)
        states.append(x)
    return np.array(states)


def told(findings, *words):
    return any(all(w in text for w in words) for text in findings)


def test_a_sound_experiment_passes(runs):
    rng = np.random.default_rng(0)
    truth = runs[50:]
    seen = rng.random(truth.shape) < 0.3
    data = np.where(seen, truth + rng.normal(size=truth.shape), 0.0)
    start = truth[:, 0] + rng.normal(size=(10, 3))
    found = da.audit(
        train=runs[:40], validation=runs[40:50], test=truth, start=start, truth=truth,
        data=data, seen=seen, free=truth + 5.0, analysis=truth + 1.0,
    )  # fmt: skip
    assert found.ok, str(found)
    assert len(found.passed) == 6
    assert not found.unchecked
    assert found.check() is found


def test_what_is_not_given_is_named_as_unchecked():
    found = da.audit()
    assert [text.split(":")[0] for text in found.unchecked] == [
        "splits", "first states", "need of data", "masks",
    ]  # fmt: skip
    assert "not checked masks" in str(found)


# A run dealt as single frames, as validation_split of a shuffled array of frames does.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_frames_of_one_run_on_both_sides(dtype):
    order = np.random.default_rng(1).permutation(900)
    frames = lorenz96(900)[order, None].astype(dtype)
    found = da.audit(train=frames[:700], test=frames[700:])
    assert told(found.doubts, "lie between two of train"), str(found)
    named = da.audit(
        train=frames[:700], test=frames[700:], runs={"train": [7] * 700, "test": [7] * 200}
    )
    assert told(named.errors, "1 runs stand in train and in test: 7")


def test_the_last_fifth_of_the_frames_of_a_run():
    """What `validation_split=0.2` takes of an array of frames in order."""
    frames = lorenz96(11_000)[None, 200:]
    found = da.audit(train=frames[:, :10_500], validation=frames[:, 10_500:])
    assert told(found.doubts, "1 of 1 rows of validation begin where a row of train ends")


def test_overlapping_windows_dealt_at_random(runs):
    windows, _ = da.neural.windows(runs, 8)
    order = np.random.default_rng(2).permutation(len(windows))
    found = da.audit(train=windows[order[300:]], test=windows[order[:300]])
    assert told(found.errors, "states of test stand in train too, to the bit")
    with pytest.raises(ValueError, match=r"the experiment is no test: .* to the bit"):
        found.check()


def test_adjacent_windows_of_the_same_runs():
    model, x, states = da.Lorenz96(dt=0.02), np.random.default_rng(6).normal(size=(60, 40)), []
    for k in range(240):
        x = model(x)
        if k >= 200:
            states.append(x)
    windows = np.stack(states, axis=1).reshape(60 * 5, 8, 40)
    order = np.random.default_rng(2).permutation(300)
    found = da.audit(train=windows[order[60:]], test=windows[order[:60]])
    assert not found.errors
    assert told(found.doubts, "begin where a row of train ends")
    assert told(found.doubts, "end where a row of train begins")
    whole = da.audit(train=windows[:240], test=windows[240:])  # the last 12 runs
    assert whole.ok


def test_independent_states_are_not_between_others():
    for n in (3, 40, 2500):
        states = np.random.default_rng(n).normal(size=(2000, 1, n))
        assert da.audit(train=states[:1500], test=states[1500:]).ok


def test_the_threshold_is_that_of_chance():
    """Of 300 audits of independent windows at most a few may doubt: 2 tests each at 1e-4."""
    rng = np.random.default_rng(5)
    doubts = 0
    for _ in range(300):
        x = rng.normal(size=(80, 6, 3))
        doubts += not da.audit(train=x[:60], test=x[60:]).ok
    assert doubts <= 2  # expected 0.06; 3 or more have a chance of 3e-5


# An evaluation that starts at the truth (the released one of FlowDAS, on Lorenz-63).


def test_an_evaluation_that_starts_at_the_truth(runs):
    truth = runs[:10]
    found = da.audit(start=truth[:, 0], truth=truth)
    assert told(found.errors, "10 of 10 evaluations begin at the truth")
    assert told(da.audit(start=truth[:, 0].astype(np.float32), truth=truth).errors, "10 of 10")
    members = truth[:, None, 0] + np.arange(5.0)[:, None]  # the first member is the truth
    assert told(da.audit(start=members, truth=truth).errors, "10 of 10")
    assert da.audit(start=members + 1, truth=truth).ok


def test_a_forecast_that_needs_no_data(runs):
    truth = runs[:10]
    std = truth.std((0, 1))
    found = da.audit(truth=truth, free=truth + 0.06 * std, analysis=truth + 0.2 * std)
    assert told(found.doubts, "without data has an error of 0.06, the analysis 0.2 (1")


# Entries that were not observed hold the truth (found and mended in 4dvarnet-fm).


def test_unobserved_entries_that_hold_the_truth(runs):
    rng = np.random.default_rng(4)
    truth = runs[:10]
    seen = np.zeros(truth.shape, bool)
    seen[:, ::8] = True
    data = np.where(seen, truth + rng.normal(size=truth.shape), truth)
    found = da.audit(truth=truth, data=data, seen=seen)
    assert told(found.errors, f"{(~seen).sum()} of {(~seen).sum()} entries not observed hold the")
    noisy = truth + rng.normal(size=truth.shape)
    assert told(da.audit(truth=truth, data=noisy, seen=seen).doubts, "the truth with noise")
    for gap in (np.nan, 0.0):
        assert da.audit(truth=truth, data=np.where(seen, noisy, gap), seen=seen).ok
    exact = np.where(seen, truth, 0.0)
    assert told(da.audit(truth=truth, data=exact, seen=seen).doubts, "no errors")


def test_torch_in_place_of_numpy(runs):
    torch = pytest.importorskip("torch")
    states = convert(runs, torch.zeros(1))
    assert told(da.audit(train=states[:40], test=states[30:]).errors, "400 of 1200 states")


def test_bad_input_names_the_shape(runs):
    with pytest.raises(ValueError, match=r"train must be trajectories .* met shape \(40, 3\)"):
        da.audit(train=runs[0], test=runs[1:])
    with pytest.raises(ValueError, match=r"different sizes: {'train': 3, 'test': 2}"):
        da.audit(train=runs, test=runs[..., :2])
    with pytest.raises(ValueError, match=r"data has shape \(60, 40\), wanted \(60, 40, 3\)"):
        da.audit(truth=runs, data=runs[..., 0], seen=runs > 0)
    with pytest.raises(ValueError, match=r"truth must be \(S, T, n\), met shape \(40, 3\)"):
        da.audit(truth=runs[0], start=runs[0, 0])
    with pytest.raises(ValueError, match=r"start has shape \(3, 2\)"):
        da.audit(truth=runs[:3], start=runs[:3, 0, :2])
    with pytest.raises(ValueError, match=r"runs has labels of shape \(3,\) for 'test', wanted"):
        da.audit(train=runs[:5], test=runs[5:], runs={"test": [1, 2, 3]})
