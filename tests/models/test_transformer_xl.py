"""Transformer-XL: the memory in training, measuring, writing and stored; settings, first weights, the folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.cli.pretrain import TransformerXl as Command
from textmill.data.batches import Batch
from textmill.data.streams import StreamBatch
from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.folder import load, save_folder
from textmill.generation.config import GenerationConfig
from textmill.generation.decoding import Decoding
from textmill.layers.delta import Delta
from textmill.models import TransformerXl, TransformerXlConfig
from textmill.models.configs import Initialisation
from textmill.objectives import CarriedNextToken, NextToken
from textmill.training.groups import roles
from textmill.training.placement import split_rows
from textmill.training.tensor_file import write_tensors

SIZES: dict[str, Any] = {"vocab_size": 13, "width": 12, "num_layers": 3, "num_heads": 3, "memory_length": 16}
TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]])
PROMPTS = [[1, 2, 3, 4, 5], [7], [9, 8, 7, 6, 5, 4, 3, 2], [11], [12, 10]]


def new(seed: int = 1, **changes: Any) -> TransformerXl:
    config: Any = TransformerXlConfig(**{**SIZES, **changes})
    return TransformerXl(config, seed=seed)


def loud(**changes: Any) -> TransformerXl:
    """With large weights, so that what the memory holds tells."""
    model = new(**changes).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.5)
    return model


def streams(num_batches: int, rows: int = 4, time: int = 3) -> list[StreamBatch]:
    ids = np.random.default_rng(0).integers(0, 13, (rows, num_batches * time + 1))
    return [
        StreamBatch(
            tokens=ids[:, start : start + time], targets=ids[:, start + 1 : start + time + 1], continues=start > 0
        )
        for start in range(0, num_batches * time, time)
    ]


def losses(objective: CarriedNextToken, model: TransformerXl, batches: list[StreamBatch]) -> list[float]:
    return [objective(model, batch)["loss"].item() for batch in batches]


# --- as a language model


@pytest.mark.parametrize("changes", [{}, {"norm_position": "pre", "tied": False}])
def test_logits_and_the_past_alone(changes: dict[str, Any]) -> None:
    model = loud(**changes)
    torch.testing.assert_close(model(TOKENS), model.hidden(model.embed(TOKENS)) @ model.output_weight.T)
    assert (model.output_weight is model.embedding.weight) == model.config.tied
    later = TOKENS.clone()
    later[:, 3] = 0
    one, other = model(TOKENS), model(later)
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert not torch.allclose(one[:, 3:], other[:, 3:])
    # so padding on the right changes nothing before it
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    torch.testing.assert_close(model(TOKENS, real)[1, :3], model(TOKENS[1:, :3])[0])


def test_next_token_takes_any_batch() -> None:
    model = new()
    batch = Batch(tokens=TOKENS.numpy(), targets=TOKENS.roll(-1, 1).numpy())
    expected = F.cross_entropy(model(TOKENS).flatten(0, 1), TOKENS.roll(-1, 1).flatten(), reduction="sum")
    torch.testing.assert_close(NextToken()(model, batch)["loss"], expected)


def test_first_weights_and_parameters() -> None:
    sizes: dict[str, Any] = {"width": 64, "num_layers": 2, "num_heads": 4}
    model = new(**sizes)
    again, other = (new(seed, **sizes).state_dict() for seed in (1, 2))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again[name])
        assert weight.dim() == 1 or not torch.equal(weight, other[name])
    assert model.trunk.content_bias.std().item() == pytest.approx(0.02, rel=0.2)
    assert not torch.equal(model.trunk.content_bias, model.trunk.position_bias)
    assert model.embed(TOKENS).std().item() == pytest.approx(8 * 0.02, rel=0.2)
    # five matrices of attention, two norms, the feed-forward layer with its biases; u and v
    block = 5 * 64 * 64 + 4 * 64 + 2 * 64 * 256 + 256 + 64
    assert model.num_parameters(embeddings=False) == 2 * block + 2 * 64
    assert model.num_parameters() == 2 * block + 2 * 64 + 13 * 64
    config: Any = model.config
    scaled = TransformerXl(config, seed=1, init=Initialisation(output_projections="zero"))
    assert (scaled.trunk.blocks[0].attention.out.weight == 0).all()


def test_u_and_v_are_trained_as_biases() -> None:
    found = roles(new())
    assert found["trunk.content_bias"] == found["trunk.position_bias"] == "vector"
    assert found["trunk.blocks.0.attention.positions.weight"] == "matrix"


# --- the memory


@pytest.mark.parametrize("norm_position", ["post", "pre"])
@pytest.mark.parametrize("training", [True, False])
def test_pieces_equal_one_long_window(norm_position: str, training: bool) -> None:
    """The losses of the pieces are those of a text read at once, while the memory holds all of it."""
    model, batches = loud(norm_position=norm_position).train(training), streams(4)
    tokens, targets = (
        torch.from_numpy(np.concatenate([getattr(batch, name) for batch in batches], 1))
        for name in ("tokens", "targets")
    )
    each = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="none")
    with torch.set_grad_enabled(training):
        found = losses(CarriedNextToken(), model, batches)
    assert found == pytest.approx(each.view(4, 4, 3).sum((0, 2)).tolist(), rel=1e-5)


def test_what_is_forgotten_tells() -> None:
    """A memory that is too short gives other losses, from the second piece on; the first knows of none."""
    batches = streams(4)
    whole, short, none = (losses(CarriedNextToken(), loud(memory_length=m), batches) for m in (16, 2, 0))
    assert whole[0] == short[0] == none[0]
    assert all(len({a, b, c}) == 3 for a, b, c in zip(whole[1:], short[1:], none[1:], strict=True))


def test_gradients_stop_at_the_border() -> None:
    model, batches = loud().train(), streams(2)
    objective = CarriedNextToken()
    objective(model, batches[0])
    found = torch.autograd.grad(objective(model, batches[1])["loss"], list(model.parameters()))
    _, memory = model.hidden_with_memory(model.embed(torch.from_numpy(batches[0].tokens)), model.new_memory(4))
    hidden, _ = model.hidden_with_memory(model.embed(torch.from_numpy(batches[1].tokens)), memory)
    loss = F.cross_entropy(
        model.logits(hidden).flatten(0, 1), torch.from_numpy(batches[1].targets).flatten(), reduction="sum"
    )
    for one, other in zip(found, torch.autograd.grad(loss, list(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("memory_length", [4, 16])
def test_parts_find_their_own_rows(rows: int, memory_length: int) -> None:
    model = loud(memory_length=memory_length).train()
    whole = losses(CarriedNextToken(), model, streams(3))
    objective = CarriedNextToken()
    parts = [sum(losses(objective, model, split_rows(batch, rows))) for batch in streams(3)]
    assert parts == pytest.approx(whole, rel=1e-5)


def test_the_stored_memory_goes_on(tmp_path: Path) -> None:
    model = loud(memory_length=5).train()
    objective, other = CarriedNextToken(), CarriedNextToken()
    losses(objective, model, streams(4)[:2])
    state = objective.state()
    assert sorted(state) == ["memory.known", *(f"memory.states.{layer}" for layer in range(3))]
    assert state["memory.known"].tolist() == [5] * 4
    assert state["memory.states.2"].shape == (4, 5, 12)
    write_tensors(tmp_path / "memory", state)
    other.load_state({name: tensor.clone() for name, tensor in state.items()})
    rest = streams(4)[2:]
    assert losses(objective, model, rest) == losses(other, model, rest)


def test_a_longer_memory_for_measuring(tmp_path: Path) -> None:
    """No weight depends on its length."""
    model = loud(memory_length=3)
    save_folder(tmp_path / "m", model=model)
    opened = load(tmp_path / "m")
    longer = TransformerXl.with_weights(replace(opened.config, memory_length=16), opened.model.to_foreign()).eval()
    found = losses(CarriedNextToken(), longer, streams(4))
    assert found == pytest.approx(losses(CarriedNextToken(), loud(memory_length=16), streams(4)), rel=1e-5)


def test_memory_in_bf16() -> None:
    model = loud().bfloat16()
    found = losses(CarriedNextToken(), model, streams(4))
    assert found == pytest.approx(losses(CarriedNextToken(), loud(), streams(4)), rel=0.05)
    assert model.hidden_with_memory(model.embed(TOKENS), model.new_memory(2))[1]["states"][1].dtype == torch.bfloat16


# --- generation


def tokens(model: TransformerXl, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    end_ids = settings.pop("end_ids", ())
    decoding = Decoding(model, prompts, GenerationConfig(**settings), end_ids=end_ids)
    written: list[list[int]] = [[] for _ in prompts]
    while step := decoding.step():
        for prompt, token in step:
            written[prompt].append(token)
    return written


@torch.no_grad()
def by_whole_passes(model: TransformerXl, prompt: list[int], count: int) -> list[int]:
    text = list(prompt)
    for _ in range(count):
        text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("norm_position", ["post", "pre"])
@pytest.mark.parametrize(("max_tokens", "changes"), [(6, {}), (40, {"memory_length": 64})])
def test_greedy_equals_whole_passes(norm_position: str, max_tokens: int, changes: dict[str, Any]) -> None:
    model = loud(norm_position=norm_position, **changes)
    found = tokens(model, PROMPTS, temperature=0.0, max_tokens=max_tokens)
    assert found == [by_whole_passes(model, prompt, max_tokens) for prompt in PROMPTS]
    assert len({tuple(written) for written in found}) > 1


def test_rows_of_every_length_past_the_memory_and_rows_that_end() -> None:
    """With segments of one token a whole pass forgets as writing does."""
    model = loud(memory_length=4, segment_length=1)
    assert tokens(model, PROMPTS, temperature=0.0, max_tokens=20) == [
        by_whole_passes(model, prompt, 20) for prompt in PROMPTS
    ]
    alone = [tokens(model, [prompt], max_tokens=20, seed=3)[0] for prompt in PROMPTS]
    end = alone[0][4]
    expected = [written[: written.index(end)] if end in written else written for written in alone]
    assert tokens(model, PROMPTS, max_tokens=20, seed=3, end_ids=[end]) == expected


# --- the folder


@pytest.mark.parametrize("changes", [{}, {"norm_position": "pre", "tied": False, "feed_forward_width": 5}])
def test_saved_and_loaded(changes: dict[str, Any], tmp_path: Path) -> None:
    model = new(**changes)
    save_folder(tmp_path / "m", model=model)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["model_type"] == "textmill-transformer-xl"
    opened = load(tmp_path / "m")
    assert opened.config == model.config
    assert type(opened.model) is TransformerXl
    assert torch.equal(opened.model(TOKENS), model.eval()(TOKENS))
    facts = opened.facts()
    assert (facts["architecture"], facts["parameters"]) == ("TransformerXl", model.num_parameters())
    assert load(tmp_path / "m", precision="bf16").model(TOKENS).dtype == torch.bfloat16


@pytest.mark.parametrize("keep", [5, 200, -4])
def test_truncated_weights(tmp_path: Path, keep: int) -> None:
    save_folder(tmp_path / "m", model=new())
    (tmp_path / "m" / "run.json").unlink()
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match=r"model\.safetensors is not a whole safetensors"):
        _ = load(tmp_path / "m").model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 15}, r"the weights .* don't fit config\.json"),
        ({"width": 13}, "num_heads must divide width"),
        ({"memory_length": -1}, "memory_length must be from 0 to 16777216, got -1"),
        ({"memory_length": "long"}, r"config\.json: memory_length must be"),
        ({"segment_length": 0}, "segment_length must be at least 1"),
        ({"norm_position": "middle"}, "norm_position"),
        ({"dropout": 1.5}, r"dropout must be in \[0, 1\), got 1.5"),
        ({"norm_eps": 0.0}, "norm_eps must be > 0"),
        ({"memry_length": 6}, r"config\.json has no setting 'memry_length'"),
    ],
)
def test_a_tampered_config(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    save_folder(tmp_path / "m", model=new())
    (tmp_path / "m" / "run.json").unlink()
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(FormatError, match=message):
        _ = load(tmp_path / "m").model


def test_a_tampered_file_is_told_by_its_checksum(tmp_path: Path) -> None:
    save_folder(tmp_path / "m", model=new())
    path = tmp_path / "m" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="its SHA-256 differs"):
        _ = load(tmp_path / "m").model


# --- what it doesn't do, and the command


def test_refusals() -> None:
    model = new()
    embedded: Tensor = model.embed(TOKENS)
    with pytest.raises(NotSupportedError, match=r"reads padding on the left as text.*pad the rows on the right"):
        model.hidden(embedded, torch.tensor([[True] * 5, [False] + [True] * 4]))
    with pytest.raises(NotSupportedError, match="recompute is not there"):
        model.set_recompute("block")
    with pytest.raises(ConfigError, match="token ids must be in"):
        model.embed(TOKENS + 13)
    with pytest.raises(NotSupportedError, match="TransformerXl has no recurrent layers"):
        CarriedNextToken(activation=1.0)(model.train(), streams(1)[0])
    model.delta = Delta()
    with pytest.raises(NotSupportedError, match="does not take a delta"):
        model.hidden(embedded)


def test_the_command_s_settings() -> None:
    plain = Command(context=64).model()
    assert (plain.memory_length, plain.segment_length, plain.norm_position) == (64, 64, "post")
    assert Command(context=64, memory=0, norm="pre").model() == replace(plain, memory_length=0, norm_position="pre")
