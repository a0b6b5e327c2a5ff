"""The three steps, the count of parameters, the draw of the first weights, the places for a delta."""

import pytest
import torch

from textmill.errors import FormatError
from textmill.layers.delta import Delta
from textmill.models import GPT, GPTConfig, Initialisation, Llama, LlamaConfig

GPT_CONFIG = GPTConfig(vocab_size=50, context_length=16, width=24, num_layers=2, num_heads=4)
LLAMA_CONFIG = LlamaConfig(vocab_size=50, context_length=16, width=24, num_layers=2, num_heads=4, feed_forward_width=32)


def test_three_steps_and_the_output_weight() -> None:
    for model in (GPT(GPT_CONFIG), Llama(LLAMA_CONFIG)):
        tokens = torch.arange(8).view(2, 4)
        hidden = model.hidden(model.embed(tokens))
        torch.testing.assert_close(model(tokens), hidden @ model.output_weight.T)
        assert (model.output_weight is model.embedding.weight) == model.config.tied


def test_num_parameters() -> None:
    block = 24 * 72 + 72 + 24 * 24 + 24 + 2 * 24 * 96 + 96 + 24 + 4 * 24
    assert GPT(GPT_CONFIG).num_parameters() == 50 * 24 + 16 * 24 + 2 * block + 2 * 24
    assert GPT(GPT_CONFIG).num_parameters(embeddings=False) == 2 * block + 2 * 24
    assert Llama(LLAMA_CONFIG).num_parameters() == 2 * 50 * 24 + 2 * (4 * 24 * 24 + 3 * 24 * 32 + 48) + 24


def test_the_seed_alone_decides_the_first_weights() -> None:
    torch.manual_seed(1)
    one = GPT(GPT_CONFIG, seed=5).state_dict()
    torch.manual_seed(2)
    other = GPT(GPT_CONFIG, seed=5).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], GPT(GPT_CONFIG, seed=6).state_dict()["embedding.weight"])


def test_initialisation() -> None:
    wide = GPTConfig(vocab_size=400, context_length=300, width=96, num_layers=8, num_heads=4)
    block = GPT(wide).trunk.blocks[3]
    assert block.attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    # GPT-2's scaling of what writes into the stream
    assert block.feed_forward.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert block.attention.qkv.bias.abs().max() == 0
    chosen = Initialisation(std=0.5, matrices="fan_in", output_projections="zero", head="zero")
    untied = GPTConfig(vocab_size=400, context_length=300, width=96, num_layers=2, num_heads=4, tied=False)
    model = GPT(untied, init=chosen)
    assert model.embedding.weight.std().item() == pytest.approx(0.5, rel=0.05)
    assert model.trunk.blocks[0].attention.qkv.weight.std().item() == pytest.approx(96**-0.5, rel=0.05)
    assert model.trunk.blocks[0].attention.out.weight.abs().max() == 0
    assert model.output_weight.abs().max() == 0


def test_a_delta_is_called_and_not_saved() -> None:
    class Twice(Delta):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(2.0))

        def stream(self, site: str, x: torch.Tensor) -> torch.Tensor:
            return x * self.factor

    model = GPT(GPT_CONFIG)
    tokens = torch.arange(4)[None]
    before = model(tokens)
    foreign = model.to_foreign()
    model.delta = Twice()
    assert not torch.allclose(model(tokens), before)
    assert set(model.to_foreign()) == set(foreign)
    assert any(weight is model.delta.factor for weight in model.parameters())
    model.delta = None
    assert torch.equal(model(tokens), before)


def test_layout_for_decoding_changes_no_value() -> None:
    model = Llama(LLAMA_CONFIG).eval()
    tokens = torch.arange(10)[None]
    before, state = model(tokens), {name: weight.clone() for name, weight in model.state_dict().items()}
    model.lay_out_for_decoding()
    torch.testing.assert_close(model(tokens), before)
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("transformer.h.1.ln_2.bias"), "the weights lack transformer.h.1.ln_2.bias"),
        (lambda w: w.update({"transformer.h.2.ln_1.bias": torch.ones(24)}), "transformer.h.2.ln_1.bias, which this"),
        (lambda w: w.update({"transformer.wpe.weight": torch.ones(8, 24)}), r"wpe.weight \[8, 24\] don't fit"),
        (lambda w: w.update({"transformer.h.0.attn.c_attn.weight": torch.ones(24, 71)}), "c_attn.weight .* don't fit"),
    ],
)
def test_weights_that_do_not_fit(change: object, message: str) -> None:
    model = GPT(GPT_CONFIG)
    weights = model.to_foreign()
    change(weights)  # type: ignore[operator]
    with pytest.raises(FormatError, match=message):
        model.from_foreign(weights)
