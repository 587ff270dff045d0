"""Windows of Lorenz-96: climate, masks and errors as asked, no run in two parts; networks."""

import numpy as np
import pytest

import dalearn as da
from benchmarks.inversion_learned_rivals import kriging, quasi_static, var4d
from dalearn.cases import learned_4dvar as case
from dalearn.cases import learned_4dvar_networks as nets
from dalearn.neural import read_card, shipped


def error(x, truth):
    return float(np.sqrt(((x - truth) ** 2).mean(-1)).mean())


def test_the_climate_is_that_of_long_runs():
    """Mean 2.34 and standard deviation 3.64 of Lorenz-96 with F = 8."""
    found = case.climatology()
    assert abs(found.mean[0] - 2.34) < 0.03
    assert abs(found.cov.variance()[0] ** 0.5 - 3.64) < 0.04
    C = found.cov.matrix()
    assert np.allclose(C, C.T)
    assert np.allclose(C[0], np.roll(C[7], -7))  # no point of the ring is another
    x = case.starts(300, case.TEST, 3)
    assert abs(x.std() - 3.64) < 0.1


def test_masks_and_errors_are_as_asked():
    p, x0 = case.windows(200, case.TRAIN, times=6, share=0.3, sigma=0.7, seed=2)
    seen = np.isfinite(p.data)
    assert abs(seen.mean() - 0.3) < 0.01
    assert abs((p.data - p.truth)[seen].std() - 0.7) < 0.01
    assert np.allclose(da.Lorenz96()(x0), p.truth[:, 0])
    mixed, _ = case.windows(200, case.TRAIN, seed=2)
    ends = np.isfinite(mixed.data).any(-1).sum(1)
    assert ends.min() >= 5
    assert ends.max() == 40
    assert (np.diff(np.isfinite(mixed.data).any(-1).astype(int), axis=1) <= 0).all()
    sigma = mixed.observation.noise.variance()[:, 0] ** 0.5
    assert 0.3 <= sigma.min() < 0.35 < 1.8 < sigma.max() <= 2
    rough = mixed.data - mixed.truth
    own = np.nanstd(rough, axis=(1, 2))
    assert np.corrcoef(own, sigma)[0, 1] > 0.95


def test_no_run_stands_in_two_parts():
    parts = [case.windows(60, k, times=5)[0].truth for k in (case.TRAIN, case.VALIDATION)]
    found = da.audit(
        train=parts[0], validation=parts[1], test=case.windows(30, 2, times=5)[0].truth
    )
    assert found.check().ok


def test_kriging_beats_the_climate_and_4d_var_beats_kriging():
    p, _ = case.windows(20, case.VALIDATION, times=10, share=0.5, sigma=1.0, seed=5)
    linear = error(kriging(p, 0), p.truth[:, 0])
    assert linear < 0.5 * error(case.climatology().mean, p.truth[:, 0])
    assert error(var4d(p)[0].first, p.truth[:, 0]) < 0.7 * linear
    grown = quasi_static(p)
    assert np.median(grown.cost) <= np.median(var4d(p)[0].cost) + 0.5


@pytest.mark.parametrize("name", nets.NAMES)
def test_shipped_networks_do_what_their_cards_say(name):
    card = read_card(shipped(f"learned-4dvar-{name}"))
    assert card.command == nets.COMMAND
    found = nets.errors(name, nets.trained(name))
    for key, value in card.metric.items():
        assert abs(found[key] - value) < 0.02, key  # half precision of the file


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="name must be one of"):
        nets.untrained("swept")


def test_a_training_of_a_minute_learns_without_truth():
    method = nets.fitted("sweep", count=600, epochs=2, rate=3e-3)
    p, x0 = case.windows(50, case.VALIDATION, times=10, share=1.0, sigma=1.0, seed=6)
    assert error(method.estimate(p)[0], x0) < 0.75 * error(case.climatology().mean, x0)


def test_coda_trains_without_its_consistency():
    p, _ = case.windows(20, case.VALIDATION, times=51, share=0.25, sigma=1.0, dt=0.01, seed=6)
    found = [
        nets.fitted("coda", count=600, epochs=1, consistency=a).estimate(p)[0] for a in (0.5, 0.0)
    ]
    truth = p.truth[:, case.CODA["at"] - 1]
    for x in found:
        x = x[:, case.CODA["at"] - 1]
        assert error(x, truth) < 0.95 * error(case.climatology().mean, truth)
    assert np.abs(found[0] - found[1]).max() > 0.01  # another loss
