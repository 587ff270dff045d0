"""The exercises of latent dynamics: states before the first time, ridges, codes, costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def states(W, V, u, T, *, start=None, first=False, dt=1.0, late=False):
    """s_t = s_{t-1} + tanh(W s_{t-1} + V u); the settings make the usual mistakes."""
    s, found = np.zeros(len(W)) if start is None else start, []
    for _ in range(T + late):
        if first:
            found.append(s)
        s = s + dt * np.tanh(W @ s + V @ u)
        if not first:
            found.append(s)
    return np.array(found[late:])


def forgets(W, V, u, T):
    return np.array([np.tanh(W @ s + V @ u) for s in states(W, V, u, T, first=True)])


MOVES = [(0.5 * draw(3, 3), draw(3, 2), draw(2), 4), (draw(2, 2), draw(2, 1), draw(1), 3)]


def last_layer(phi, y, ridge, *, power=1.0, scaled=True):
    G = phi.T @ phi
    shift = ridge * (np.diag(G).mean() if scaled else 1.0) * power
    return np.linalg.solve(G + shift * np.eye(len(G)), phi.T @ y).T


LAYERS = [(draw(8, 3), draw(8, 2), 0.1), (3 * draw(6, 4), draw(6, 1), 1e-2)]


def sensitive(W, A, sigma):
    return sigma * np.sqrt(0.5 * ((W**2).sum(0) * (A**2).sum(1)).sum())


DECODERS = [(draw(2, 5), 2 * draw(5, 3), 0.1), (0.3 * draw(4, 3), draw(3, 2), 0.05)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "latent-states": Function(
        states, MOVES, "the first state is one step old, so that it knows u already.",
        hints={
            lambda W, V, u, T: states(W, V, u, T, first=True):
                "this starts with s = 0, the same for every u: the zero is one step before the "
                "first state.",
            lambda W, V, u, T: states(W, V, u, T, late=True):
                "the first state is lost: s_0 is one step from s_{-1} = 0, not two.",
            forgets: "F is the change: add it to the state before.",
            lambda W, V, u, T: states(W, V, 0 * u, T):
                "without u all runs are alike; it drives each step.",
        }),
    "latent-forgets": Number(
        6.0, "a Kalman filter, which knows that the prior is wide, needs one.",
        hints={
            5.0: "0.643^5 = 0.11 is a little more than a tenth.",
            0.64: "this share is left after one analysis; how many bring it to a tenth?",
            2.28: "the datum's share is what the analysis gains; what stays is 0.643 of it.",
            3.0: "0.364 is the share of the datum; what is left of the forecast is 0.643.",
            5.22: "there are only whole analyses: round up.",
        }),
    "last-layer": Function(
        last_layer, LAYERS, "exact, in one step: no epochs, no rate, no seed.",
        hints={
            lambda phi, y, r: last_layer(phi, y, 0.0):
                "this is least squares without a ridge.",
            lambda phi, y, r: last_layer(phi, y, r, scaled=False):
                "the ridge counts in units of the mean diagonal of the Gram matrix.",
            lambda phi, y, r: last_layer(phi, y, r, power=np.shape(phi)[1]):
                "the mean of the diagonal, not its sum.",
            lambda phi, y, r: last_layer(phi, y, r).T: "turned: W is (c, h), one row an output.",
            lambda phi, y, r: last_layer(phi, y, r**2): "the ridge is not squared.",
        }),
    "decoder-sensitivity": Function(
        sensitive, DECODERS, "large weights on fast features: what a ridge holds down.",
        hints={
            lambda W, A, sigma: 2**0.5 * sensitive(W, A, sigma):
                "the mean of cos^2 over all phases is a half.",
            lambda W, A, sigma: sensitive(W, A, 1.0) * sigma**2:
                "the root of the mean square is proportional to sigma.",
            lambda W, A, sigma: sensitive(W, A, sigma) ** 2:
                "this is the mean square; take its root.",
            lambda W, A, sigma: sigma * np.sqrt(0.5 * (W**2).sum()):
                "the frequencies A are missing: a fast feature changes more.",
            lambda W, A, sigma: sigma * np.sqrt(0.5) * np.linalg.norm(W @ A):
                "phases differ, so features do not add up with their signs: sum the squares over "
                "the features.",
        }),
    "code-data": Number(
        10.0, "fifty codes tell as much as ten that err independently.", rtol=5e-3,
        hints={
            50.0: "this takes their errors to be independent; they are correlated.",
            50 / 3: "50 (1 - rho) forgets that errors reach over many codes; divide by 1 + rho.",
            250.0: "turned: correlated errors make fewer data, not more.",
            100 / 3: "n rho grows with the correlation; it should shrink.",
            30.0: "n / (1 + rho) would leave half of the codes however correlated they are.",
        }),
}
# fmt: on
