"""The long short-term memory: a cell that is added to, and gates that say what goes in, stays and comes out.

    i, f, o = sigmoid(U x_t + b + W h_(t-1) + b')        the three gates
    g       = tanh(U x_t + b + W h_(t-1) + b')           what there is to let in
    c_t     = f c_(t-1) + i g
    h_t     = o tanh(c_t)

Where f is near 1 the gradient runs through c unweakened, over hundreds of tokens. With the dropouts of its settings it
is AWD-LSTM. `ops/recurrent/reference.py` has the step as code.

Sources: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory"; the forget gate, Gers et al. 2000, "Learning to
Forget"; AWD-LSTM, Merity et al. 2017, arXiv:1708.02182.
"""

from textmill.models.configs.recurrent import LstmConfig
from textmill.models.recurrent import RecurrentModel


class Lstm(RecurrentModel):
    """The long short-term memory as a language model."""

    config: LstmConfig
