"""The gated recurrent unit: a state of which a gate says how much is written anew.

    r, z = sigmoid(U x_t + b + W h_(t-1) + b')           reset and update gates
    n    = tanh(U_n x_t + b + r (W_n h_(t-1) + b'))      the candidate
    h_t  = z h_(t-1) + (1 - z) n

Three products where the LSTM has four, and one vector to remember where it has two. `ops/recurrent/reference.py` has
the step as code, and says where it differs from the paper's.

Source: Cho et al. 2014, arXiv:1406.1078, section 2.3.
"""

from textmill.models.configs.recurrent import GruConfig
from textmill.models.recurrent import RecurrentModel


class Gru(RecurrentModel):
    """The gated recurrent unit as a language model."""

    config: GruConfig
