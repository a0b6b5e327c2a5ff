"""Pruning: what is kept, and that nothing else changes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.surgery.samples import SAMPLES, SETTINGS, TEXT

from textmill.errors import ConfigError, DataError
from textmill.tokenizers import AddedToken, Tokenizer
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel
from textmill.tokenizers.pipeline import byte_level
from textmill.tokenizers.surgery import prune

NAMES = ["ranks", *SETTINGS]


@pytest.fixture(scope="module")
def pruned(small):
    made = {}

    def of(name):
        if name not in made:
            made[name] = prune(small(name), TEXT[:2], min_count=2)
        return made[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_dense_in_the_old_order(small, pruned, held_to_peers, name):
    old, edit = small(name), pruned(name)
    kept = np.flatnonzero(edit.old_to_new >= 0)
    assert 0 < len(kept) < old.vocab_size
    assert edit.old_to_new[kept].tolist() == list(range(len(kept)))
    assert edit.tokenizer.vocab_size == len(kept)
    assert edit.tokenizer.pipeline.strings == [old.pipeline.strings[id] for id in kept]
    assert edit.tokenizer.special_tokens.keys() == old.special_tokens.keys()
    assert edit.new_pieces == {}
    if name not in ("words", "chars"):
        # a word that is not there any more is unknown: other libraries agree where they know unknown tokens as we do
        held_to_peers(name, edit.tokenizer)


@settings(max_examples=300)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_text_of_kept_tokens_has_the_same_tokens(small, pruned, name, data):
    old, edit = small(name), pruned(name)
    words = data.draw(st.lists(st.sampled_from(" ".join(TEXT[:3]).split()), max_size=5))
    text = " ".join(words) + data.draw(st.text(st.sampled_from("thewlmir ds轮Ü"), max_size=12))
    ids = old.encode(text)
    moved = edit.old_to_new[ids]
    unknown = old.token_to_id("[UNK]")
    if (moved >= 0).all() and unknown not in ids:
        assert edit.tokenizer.encode(text) == moved.tolist()


@pytest.mark.parametrize("name", ["bpe", "ranks", "characters", "unigram, bytes"])
def test_no_text_is_lost(pruned, name):
    tokenizer = pruned(name).tokenizer
    for text in SAMPLES[:5]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", ["bpe", "ranks", "characters", "end of word"])
def test_merges_lead_to_every_kept_token(pruned, name):
    tokenizer = pruned(name).tokenizer
    unreached = []
    for token, id in tokenizer.pipeline.model.tokens.items():
        if len(token) == 1 or id in tokenizer.special_tokens.values() or token == "<unk>":
            continue
        if isinstance(token, bytes):
            text = token.decode("utf-8", "ignore")
            unreached += [token] if text.encode() == token and tokenizer.encode(text) != [id] else []
        elif name == "end of word" and token.endswith("</w>") and len(token) > 5:
            unreached += [token] if tokenizer.encode(token.removesuffix("</w>")) != [id] else []
    assert not unreached


@pytest.mark.parametrize("name", NAMES)
def test_a_size_is_kept_to(small, name):
    old = small(name)
    size = old.vocab_size - 5
    edit = prune(old, TEXT, vocab_size=size)
    assert size - 3 <= edit.tokenizer.vocab_size <= size
    most_used = np.argmax(np.bincount(old.encode(TEXT[0])))
    assert edit.old_to_new[most_used] >= 0


def test_parts_of_a_merge_stay():
    tokenizer = Tokenizer.train(["abcd", "abcd", "xy"], vocab_size=261)
    edit = prune(tokenizer, ["abcdabcd"], vocab_size=260)
    assert len(tokenizer.encode("xy")) == 1
    assert len(edit.tokenizer.encode("xy")) == 2
    assert len(edit.tokenizer.encode("abcd")) == 1
    # without room for its parts a token cannot stay
    assert len(prune(tokenizer, ["abcd"], vocab_size=259).tokenizer.encode("abcd")) > 1


def test_templates_and_padding_follow():
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]")
    tokenizer = Tokenizer.train(TEXT, algorithm="wordpiece", vocab_size=90, special_tokens=special)
    edit = prune(tokenizer, TEXT[:1], min_count=1)
    assert edit.tokenizer.vocab_size < tokenizer.vocab_size
    old, new = (made.batch(["the mill"], ["the wheel"]).ids[0].tolist() for made in (tokenizer, edit.tokenizer))
    assert edit.old_to_new[old].tolist() == new


def test_characters_may_go(small):
    for name in ("characters", "wordpiece", "unigram"):
        all_kept, some = (
            prune(small(name), TEXT[:1], min_count=1, keep_alphabet=keep).tokenizer for keep in (True, False)
        )
        assert some.vocab_size < all_kept.vocab_size
        assert some.encode(TEXT[0]) != []
        assert some.decode(some.encode(TEXT[0])) == small(name).decode(small(name).encode(TEXT[0]))


def test_named_tokens_stay(small):
    unused = small("bpe").vocab_size - 1
    assert prune(small("bpe"), ["a"], min_count=1).old_to_new[unused] == -1
    assert prune(small("bpe"), ["a"], min_count=1, keep=[unused]).old_to_new[unused] >= 0


def test_impossible_requests(small):
    tokenizer = small("bpe")
    with pytest.raises(ConfigError, match=r"at least 257, .* got 256. Fix: use a number from 257 to 319"):
        prune(tokenizer, TEXT, vocab_size=256)
    with pytest.raises(ConfigError, match=r"fewer than the 320 of now, got 320"):
        prune(tokenizer, TEXT, vocab_size=320)
    with pytest.raises(ConfigError, match="one of the two"):
        prune(tokenizer, TEXT)
    with pytest.raises(ConfigError, match="one of the two"):
        prune(tokenizer, TEXT, vocab_size=300, min_count=1)
    with pytest.raises(ConfigError, match="count must be >= 1, got 0"):
        prune(tokenizer, TEXT, min_count=0)
    with pytest.raises(ConfigError, match="no token with the id 999"):
        prune(tokenizer, TEXT, min_count=1, keep=[999])
    with pytest.raises(DataError, match="no text"):
        prune(tokenizer, [""], min_count=1)


@st.composite
def odd_vocabularies(draw: st.DrawFn) -> Tokenizer:
    """Byte-level BPE by every rule, with merges in an order of no training, and tokens that no merge makes."""
    tokens = {bytes([byte]): byte + 1 for byte in range(256)}
    parts = [b"a", b"b", b"c"]
    merges: list[tuple[bytes, bytes]] = []
    for _ in range(draw(st.integers(0, 8))):
        pair = draw(st.sampled_from(parts)), draw(st.sampled_from(parts))
        if pair not in merges:
            merges.append(pair)
            tokens.setdefault(pair[0] + pair[1], len(tokens) + 1)
            parts = list(dict.fromkeys([*parts, pair[0] + pair[1]]))
    for token in draw(st.lists(st.text("abc", min_size=2, max_size=5), max_size=3)):
        tokens.setdefault(token.encode(), len(tokens) + 1)
    rule = draw(st.sampled_from(["merges", "ranks", "whole pieces"]))
    model = BpeModel(tokens=tokens, merges=None if rule == "ranks" else merges, whole_pieces=rule == "whole pieces")
    end = AddedToken(content="<|endoftext|>", id=0)
    return Tokenizer(byte_level(model, "gpt2", added=(end,)))


@settings(max_examples=200)
@given(old=odd_vocabularies(), data=st.data(), texts=st.lists(st.text("abc ", max_size=12), min_size=1, max_size=6))
def test_odd_vocabularies(old, data, texts):
    edit = prune(old, [data.draw(st.text("abc ", min_size=1, max_size=12))], min_count=1)
    for text in texts:
        moved = edit.old_to_new[old.encode(text)]
        if (moved >= 0).all():
            assert edit.tokenizer.encode(text) == moved.tolist()
        assert edit.tokenizer.decode(edit.tokenizer.encode(text)) == text


@settings(max_examples=200)
@given(
    scores=st.dictionaries(st.text("▁ab", min_size=1, max_size=4), st.integers(-30, -1), max_size=10),
    seen=st.text("ab ", min_size=1, max_size=12),
    texts=st.lists(st.text("ab c", max_size=12), min_size=1, max_size=6),
    unigram=st.booleans(),
)
def test_odd_scores(small, scores, seen, texts, unigram):
    scores = {"▁": -3, "a": -4, "b": -5} | scores
    tokens = {"<unk>": 0} | {token: id for id, token in enumerate(scores, start=1)}
    if unigram:
        pieces = [("<unk>", 0.0), *((piece, float(score)) for piece, score in scores.items())]
        model = UnigramModel(pieces=pieces, unknown=0, kinds={0: "unknown"}, precision="float32")
    else:
        model = CharacterBpeModel(
            tokens=tokens,
            merges=None,
            scores={token: float(score) for token, score in scores.items()},
            kinds={"<unk>": "unknown"},
            unknown="<unk>",
            fuse_unknown=True,
        )
    front = small("unigram, bytes").pipeline
    old = Tokenizer(dataclasses.replace(front, model=model, added=(AddedToken(content="<unk>", id=0),)))
    edit = prune(old, [seen], min_count=1)
    for text in texts:
        moved = edit.old_to_new[old.encode(text)]
        if (moved >= 0).all():
            assert edit.tokenizer.encode(text) == moved.tolist()
