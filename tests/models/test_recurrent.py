"""The recurrent models: what all language models have, the first weights, the folder they are saved in."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from textmill.data.batches import Batch
from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.folder import load, save_folder
from textmill.layers.delta import Delta
from textmill.models import Gru, GruConfig, Lstm, LstmConfig, Nnlm, NnlmConfig, Rnn, RnnConfig
from textmill.models.carrying import CarryingModel
from textmill.models.configs.recurrent import RecurrentModelConfig
from textmill.objectives import NextToken

SIZES = {"vocab_size": 13, "width": 6}
MODELS = {
    "textmill-rnn": lambda: Rnn(RnnConfig(**SIZES, activation="relu"), seed=1),
    "textmill-lstm": lambda: Lstm(LstmConfig(**SIZES, hidden_width=5, num_layers=3, tied=False), seed=1),
    "textmill-gru": lambda: Gru(GruConfig(**SIZES, num_layers=1), seed=1),
    "textmill-nnlm": lambda: Nnlm(NnlmConfig(**SIZES, order=4, hidden_width=5), seed=1),
}
TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]])


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> CarryingModel:
    return MODELS[request.param]()


def test_logits_and_the_output_weight(model: CarryingModel) -> None:
    hidden = model.hidden(model.embed(TOKENS))
    bias = 0 if model.output_bias is None else model.output_bias
    torch.testing.assert_close(model(TOKENS), hidden @ model.output_weight.T + bias)
    assert (model.output_weight is model.embedding.weight) == model.config.tied


def test_the_past_alone_counts(model: CarryingModel) -> None:
    changed = TOKENS.clone()
    changed[:, 3] = 0
    one, other = model(TOKENS), model(changed)
    assert torch.equal(one[:, :3], other[:, :3])
    assert not torch.allclose(one[:, 3:], other[:, 3:])
    # so padding on the right changes nothing before it
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    torch.testing.assert_close(model(TOKENS, real)[1, :3], model(TOKENS[1:, :3])[0])


def test_next_token_takes_any_batch(model: CarryingModel) -> None:
    """Without a memory from before, as for any other language model."""
    batch = Batch(tokens=TOKENS.numpy(), targets=TOKENS.roll(-1, 1).numpy())
    expected = nn.functional.cross_entropy(model(TOKENS).flatten(0, 1), TOKENS.roll(-1, 1).flatten(), reduction="sum")
    torch.testing.assert_close(NextToken()(model, batch)["loss"], expected)


def test_the_seed_alone_decides_the_first_weights(model: CarryingModel) -> None:
    again = MODELS[model.config.model_type]().state_dict()
    other = type(model)(model.config, seed=2).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())
    assert all(torch.isfinite(weight).all() for weight in again.values())
    assert not torch.equal(other["embedding.weight"], again["embedding.weight"])


def test_lstm_begins_with_open_forget_gates() -> None:
    model = Lstm(LstmConfig(vocab_size=13, width=64), seed=1)
    block = model.trunk.blocks[1]
    assert block.input_bias.view(4, 64).mean(1).tolist() == [0, 1, 0, 0]
    assert block.hidden_bias.abs().max() == 0
    assert block.hidden_weight.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert not torch.equal(block.hidden_weight, block.input_weight)


def test_num_parameters() -> None:
    model = Lstm(LstmConfig(**SIZES, hidden_width=5, num_layers=3, tied=False))
    trunk = 20 * (6 + 5 + 2) + 20 * (5 + 5 + 2) + 24 * (5 + 6 + 2)
    assert model.num_parameters(embeddings=False) == trunk
    assert model.num_parameters() == trunk + 2 * 13 * 6
    assert Gru(GruConfig(**SIZES, num_layers=1)).num_parameters() == 13 * 6 + 18 * (6 + 6 + 2)


def test_embedding_dropout_forgets_words() -> None:
    model = Gru(GruConfig(vocab_size=40, width=6, embedding_dropout=0.5), seed=1).train()
    torch.manual_seed(0)
    tokens = torch.arange(40).repeat(2, 3)
    ratio = model.embed(tokens) / model.embedding.weight[tokens]
    assert ratio.detach().unique().tolist() == pytest.approx([0, 2])
    # all places of a word alike
    assert (ratio.view(2, 3, 40, 6) == ratio.view(2, 3, 40, 6)[:1, :1, :, :1]).all()
    assert torch.equal(model.eval().embed(tokens), model.embedding.weight[tokens])


# --- the model folder


def test_saved_and_loaded(model: CarryingModel, tmp_path: Path) -> None:
    save_folder(tmp_path / "m", model=model)
    written = json.loads((tmp_path / "m" / "config.json").read_text())
    assert MODELS[written["model_type"]]().config == model.config
    opened = load(tmp_path / "m")
    assert opened.config == model.config
    assert type(opened.model) is type(model)
    assert torch.equal(opened.model(TOKENS), model.eval()(TOKENS))
    facts = opened.facts()
    assert (facts["architecture"], facts["parameters"]) == (type(model).__name__, model.num_parameters())


def test_bf16_folder(model: CarryingModel, tmp_path: Path) -> None:
    save_folder(tmp_path / "m", model=model)
    assert load(tmp_path / "m", precision="bf16").model(TOKENS).dtype == torch.bfloat16


@pytest.mark.parametrize("keep", [5, 200, -4])
def test_truncated_weights(model: CarryingModel, tmp_path: Path, keep: int) -> None:
    save_folder(tmp_path / "m", model=model)
    (tmp_path / "m" / "run.json").unlink()
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match=r"model\.safetensors is not a whole safetensors"):
        _ = load(tmp_path / "m").model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 7}, r"the weights .* don't fit config\.json"),
        ({"width": "wide"}, r"config\.json: width must be"),
        ({"width": 0}, "width must be at least 1"),
        ({"width": 1 << 40}, "width must be at most"),
        ({"windth": 6}, r"config\.json has no setting 'windth'"),
        ({"vocab_size": 14}, r"embedding\.weight \[13, 6\] don't fit"),
    ],
)
def test_a_tampered_config(model: CarryingModel, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    save_folder(tmp_path / "m", model=model)
    (tmp_path / "m" / "run.json").unlink()
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(FormatError, match=message):
        _ = load(tmp_path / "m").model


def test_weights_that_lack_or_exceed(model: CarryingModel) -> None:
    weights = model.to_foreign()
    with pytest.raises(FormatError, match="the weights hold extra"):
        type(model).with_weights(model.config, {**weights, "extra": torch.zeros(1)})
    del weights["embedding.weight"]
    with pytest.raises(FormatError, match=r"the weights lack embedding\.weight"):
        type(model).with_weights(model.config, weights)


# --- what they don't do


def test_refusals(model: CarryingModel) -> None:
    embedded = model.embed(TOKENS)
    with pytest.raises(NotSupportedError, match=r"reads padding on the left as text.*pad the rows on the right"):
        model.hidden(embedded, torch.tensor([[True] * 5, [False] + [True] * 4]))
    with pytest.raises(NotSupportedError, match="keeps its activations"):
        model.set_recompute("block")
    model.set_recompute("none")
    with pytest.raises(ConfigError, match="token ids must be in"):
        model.embed(TOKENS + 13)
    model.delta = Delta()
    with pytest.raises(NotSupportedError, match="does not take a delta"):
        model.hidden(embedded)


@pytest.mark.parametrize("config", [RnnConfig, LstmConfig, GruConfig])
def test_settings_out_of_range(config: type[RecurrentModelConfig]) -> None:
    with pytest.raises(ConfigError, match=r"weight_drop must be in \[0, 1\), got 1"):
        config(weight_drop=1)
    with pytest.raises(ConfigError, match="num_layers must be at least 1"):
        config(num_layers=0)
