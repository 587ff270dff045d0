"""The neural wing: networks that serve as models and operators, and all that trains them.

    nets         MLP, CNN, LSTM: small, of known shapes
    autoencoder  fields to a few numbers and back; `vae`: the coupled one, of observations too
    vqvae        fields to a grid of letters of a `codebook`, and back; `code_prior`: which words
                 of them occur, by a transformer
    two_encoders states and data of another sensor in one latent space, trained by turns
                 (`alternating`); `products` of functions of a coordinate hold smooth fields
    unet         convolutions on several grids
    graph        messages among scattered points, whose neighbours `clouds` finds
    coders       all of these as a Coder of flat states, in NumPy too
    spreading    what spreads and stays, the next frame from the last ones and maps of the place
    features     perceptrons of sines; `basis`: cosines and modes as functions of space; `chosen`:
                 the cosines that matter, and flows without divergence
    encoder      histories of observations to codes, by an LSTM
    ldnet        latent dynamics networks: a `reconstruction` at points or in a basis, trained on
                 `subsampled` points, the `last_layer` exactly by ridge regression (`normal`)
    learned_solver  a learned prior and a learned descent, for windows with data
    local_score  the noise in pieces of a blurred trajectory, put together to that of all of it
    runs         interpolated runs in the place of a latent dynamics network
    incremental  a learned Gaussian law of trajectories and its analysis by a `banded` solve, on
                 `trajectory_nets`; trained to `reconstruct` them from random `masks`
    data         trajectories -> training sets; splits by trajectory; normalisation
    train        one loop, `fit`: early stop, resume to the same bits; `checkpoint` is its file,
                 `losses` what it minimises, `draws` the random numbers of a run, `rollout` an
                 LSTM trained on its own forecasts
    window_net   windows of data and their precisions to states
    voronoi      images of scattered sensors; `inverse`: networks from such an image to the field
    weights      trained weights in files that hold numbers only, each with a card of its origin

What comes out of it is a `torch.nn.Module`: the model or the operator of a Problem like any other
function. The wing knows no method. `lorenz63` and `shallow_water` train the networks that are
shipped with the package, by `python -m dalearn.cases.lorenz63` and the like.
"""

from .alternating import Aligned, Alternating
from .autoencoder import Autoencoder
from .basis import Harmonics, Modes
from .chosen import Chosen, Solenoidal
from .clouds import OnClouds
from .code_prior import CodePrior
from .codebook import Codebook
from .coders import FieldCoder
from .data import Normalisation, Split, pairs, split, windows
from .encoder import HistoryEncoder, NoisySensors
from .features import SineMLP
from .graph import GraphAutoencoder
from .incremental import NeuralPrior
from .inverse import FoldedUNet, Inverse, MaskedMixer, Plain
from .last_layer import Refitted, refit, sensitivity, widened
from .ldnet import LDNet, relative_error
from .learned_solver import BilinearPrior, Direct, LearnedSolver, ModelPrior
from .local_score import LocalScore
from .losses import mean_square
from .masks import Regular, Scattered
from .nets import CNN, LSTM, MLP, Normalised, parameters, seeded
from .reconstruction import AtPoints, InBasis
from .runs import RunsNet
from .spreading import Spreading
from .subsampled import Coefficients, Subsampled
from .train import Record, fit
from .two_encoders import TwoEncoders
from .unet import UNet
from .vae import VAE, Coupled
from .voronoi import SharedCell, voronoi
from .vqvae import VQVAE, Committed
from .weights import Card, load_weights, read_card, save_weights, shipped
from .window_net import WindowNet

__all__ = [
    "CNN",
    "LSTM",
    "MLP",
    "VAE",
    "VQVAE",
    "Aligned",
    "Alternating",
    "AtPoints",
    "Autoencoder",
    "BilinearPrior",
    "Card",
    "Chosen",
    "CodePrior",
    "Codebook",
    "Coefficients",
    "Committed",
    "Coupled",
    "Direct",
    "FieldCoder",
    "FoldedUNet",
    "GraphAutoencoder",
    "Harmonics",
    "HistoryEncoder",
    "InBasis",
    "Inverse",
    "LDNet",
    "LearnedSolver",
    "LocalScore",
    "MaskedMixer",
    "ModelPrior",
    "Modes",
    "NeuralPrior",
    "NoisySensors",
    "Normalisation",
    "Normalised",
    "OnClouds",
    "Plain",
    "Record",
    "Refitted",
    "Regular",
    "RunsNet",
    "Scattered",
    "SharedCell",
    "SineMLP",
    "Solenoidal",
    "Split",
    "Spreading",
    "Subsampled",
    "TwoEncoders",
    "UNet",
    "WindowNet",
    "fit",
    "load_weights",
    "mean_square",
    "pairs",
    "parameters",
    "read_card",
    "refit",
    "relative_error",
    "save_weights",
    "seeded",
    "sensitivity",
    "shipped",
    "split",
    "voronoi",
    "widened",
    "windows",
]
