"""Elman's network: a state that is written anew at every token.

    h_t = f(U x_t + b + W h_(t-1) + b')        f = tanh, or max(0, .)

The gradient through k tokens is a product of k matrices W^T diag(f'), so it fades or explodes; clip its norm, and
expect a memory of some ten tokens. `ops/recurrent/reference.py` has the step as code.

Sources: Elman 1990, "Finding Structure in Time"; as a language model, Mikolov et al. 2010; the fading, Bengio et al.
1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult"; max(0, .), Le et al. 2015, arXiv:1504.00941.
"""

from textmill.models.configs.recurrent import RnnConfig
from textmill.models.recurrent import RecurrentModel


class Rnn(RecurrentModel):
    """Elman's recurrent network as a language model."""

    config: RnnConfig
