"""The neural wing: networks that serve as models and operators, and all that trains them.

    nets.py     MLP, CNN, Autoencoder, LSTM: small, of known shapes
    data.py     trajectories -> training sets; splits by trajectory; normalisation
    train.py    one loop, `fit`: early stop, checkpoints, resume to the same bits
    weights.py  trained weights in files that hold numbers only, each with a card of its origin

What comes out of it is a `torch.nn.Module`: the model or the operator of a Problem like any other
function. The wing knows no method. `lorenz63` and `shallow_water` train the networks that are
shipped with the package, by `python -m dalearn.cases.lorenz63` and the like.
"""

from .data import Normalisation, Split, pairs, split, windows
from .nets import CNN, LSTM, MLP, Autoencoder, Normalised, parameters, seeded
from .train import Record, fit, mean_square
from .weights import Card, load_weights, read_card, save_weights, shipped

__all__ = [
    "CNN",
    "LSTM",
    "MLP",
    "Autoencoder",
    "Card",
    "Normalisation",
    "Normalised",
    "Record",
    "Split",
    "fit",
    "load_weights",
    "mean_square",
    "pairs",
    "parameters",
    "read_card",
    "save_weights",
    "seeded",
    "shipped",
    "split",
    "windows",
]
