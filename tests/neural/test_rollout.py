"""Roll-outs of an LSTM: the memory is carried, and the loss is that of its own forecasts."""

import numpy as np
import pytest
import torch

from dalearn.models import History
from dalearn.neural import LSTM, MLP, Normalisation, Normalised, fit, seeded, windows
from dalearn.neural.rollout import rollout, rollout_error

X = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("residual", [True, False])
def test_the_memory_is_carried(residual):
    inner = seeded(0, LSTM, 3, 8, residual=residual)
    net = Normalised(inner, Normalisation(np.array(0.5), np.array(2.0)))
    with torch.no_grad():
        found = rollout(net, X, 3)
        assert found[:, 0] == pytest.approx(net(X), abs=1e-6)
        # reading all states so far from the start is the same as carrying the memory
        longer = torch.cat((X, found[:, :2]), dim=1)
        assert found[:, 2] == pytest.approx(net(longer), abs=1e-6)
        again = History(net, 4)(X.flatten(1))  # forgets: only the last four states are read
        assert again[:, -3:] == pytest.approx(found[:, 0], abs=1e-6)
        assert rollout(inner, X, 2)[:, 1] == pytest.approx(
            inner(torch.cat((X, inner(X)[:, None]), 1)), abs=1e-6
        )


def test_the_loss_is_the_mean_square_of_the_whole_roll_out_in_units_of_the_states():
    net = Normalised(seeded(1, LSTM, 3, 8), Normalisation(np.array(0.0), np.array(2.0)))
    with torch.no_grad():
        future = rollout(net, X, 4) + 3.0
        assert float(rollout_error(net, X, future)) == pytest.approx((3 / 2) ** 2, rel=1e-6)
        assert float(rollout_error(net.module, X, rollout(net.module, X, 2))) < 1e-12


def test_training_on_roll_outs_betters_them():
    t = torch.linspace(0, 12, 60)[None] + torch.arange(8)[:, None]
    waves = torch.stack((t.sin(), t.cos()), dim=-1)
    net = seeded(2, LSTM, 2, 16)
    data, valid = (windows(w, 4, ahead=6) for w in (waves[:6], waves[6:]))
    record = fit(net, data, valid, loss=rollout_error, epochs=12, progress=False)
    assert min(record.validation) < record.validation[0] / 2
    with torch.no_grad():
        assert float(rollout_error(net, *valid)) == pytest.approx(min(record.validation), rel=1e-5)


def test_other_networks_are_refused():
    with pytest.raises(TypeError, match=r"rollout wants an LSTM or Normalised\(LSTM\), met MLP"):
        rollout(MLP(3, 3), X, 2)
    with pytest.raises(ValueError, match="wants windows"):
        rollout(LSTM(3), X[0], 2)
    with pytest.raises(ValueError, match=r"wants \(..., 3\)"):
        rollout(LSTM(3), X[..., :2], 2)
