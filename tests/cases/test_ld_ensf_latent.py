"""LDEnSF with the shipped networks: a run that nobody trained on, and what stands in the cards."""

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.cases import ld_ensf
from dalearn.cases import ld_ensf_networks as networks
from dalearn.cases.ld_ensf_latent import interpolated, latent, variances
from dalearn.methods import EncoderAlone


@pytest.fixture(scope="module")
def flow():
    setup = ld_ensf.kolmogorov()
    return setup, ld_ensf.twin(setup, 1, noise=0.1, seed=77), networks.trained(setup)


def errors(setup, problem, method):
    """The relative error of the second half, and of the parameter, where the box has width 2."""
    codes = method.codes(problem.validated()).mean(-2)
    found = method.fields(codes[:, len(problem) // 2 :])
    x = networks.as_states(setup, torch.as_tensor(found))
    truth = problem.truth[:, len(problem) // 2 :, :-1].reshape(x.shape)
    u = setup.unit(problem.truth[:, -1, -1:])
    return setup.relative(x, truth), abs(codes[0, -1, -1] - u[0, 0])


def test_filters_find_the_reynolds_number(flow):
    """Between the network's own error, 1 to 3 %, and twice as much; u within 2 % of its box."""
    setup, problem, nets = flow
    for method, data in ((None, "encoded"), (da.ETKF(20), "encoded"), (da.ETKF(20), "raw")):
        e, u = errors(setup, problem, latent(setup, method, nets=nets, data=data))
        assert e < 0.06
        assert u < 0.04


def test_raw_data_bring_the_field_nearer_than_the_encoder_alone(flow):
    setup, problem, nets = flow
    alone, _ = errors(setup, problem, latent(setup, EncoderAlone(), nets=nets))
    raw, _ = errors(setup, problem, latent(setup, da.ETKF(20), nets=nets, data="raw"))
    assert raw < alone


def test_cards_hold_the_errors_of_codes():
    for setup in (ld_ensf.kolmogorov(), ld_ensf.shallow_water()):
        for which in ("encoder", "exact"):
            v = variances(setup, which)
            assert v.shape == (networks.RECIPES[setup.name].latent + setup.p,)
            assert ((v > 1e-6) & (v < 1e-2)).all()


def test_interpolated_runs_take_the_place_of_the_network():
    """Few and short runs: what matters here is that all sizes and units fit."""
    from dataclasses import replace

    setup = replace(ld_ensf.kolmogorov(), runs=(8, 1, 1), first=5, every=5, steps=15)
    net = interpolated(setup, setup.trajectories(), 20)
    problem = ld_ensf.twin(setup, 1, noise=0.1)
    nets = networks.Trained(setup, net, net, None, None)
    ld = latent(setup, da.ETKF(20), nets=nets, data="raw", noise=np.ones(2 + setup.p))
    e, u = errors(setup, problem, ld)
    assert e < 0.02  # runs of all Reynolds numbers are alike so early
    assert np.isfinite(u)
