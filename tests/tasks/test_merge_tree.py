"""Merge trees against the encoder: the roots are the tokens that the symbols are encoded to."""

from collections.abc import Iterator

import pytest

from textmill.errors import DataError, NotSupportedError
from textmill.tasks.merge_tree import Node, as_json, find_token, merge_tree
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, WordsModel
from textmill.tokenizers.pipeline import WHOLE, Pipeline, byte_level

TEXTS = [f"paragraph {number}: the naïve list of items that 猫 {number} returns".encode() for number in range(40)]
BPE = Tokenizer.train(TEXTS, vocab_size=320, special_tokens=())
BYTES = {bytes([byte]): byte for byte in range(256)}


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for part in node.parts:
        yield from nodes(part)


def test_the_tree_of_every_trained_token() -> None:
    merges = BPE.pipeline.model.merges
    for id in range(BPE.vocab_size):
        (root,) = merge_tree(BPE, str(BPE.id_to_token(id)))
        assert root.id == id
        leaves = [node for node in nodes(root) if not node.parts]
        assert "".join(leaf.spelling for leaf in leaves) == root.spelling
        assert len(leaves) == len(BPE.id_to_bytes(id))
        for node in nodes(root):
            if node.parts:
                left, right = merges[node.rank]
                assert [BPE.id_to_bytes(part.id) for part in node.parts] == [left, right]


def test_a_token_that_its_merges_do_not_make() -> None:
    tokens = BYTES | {b"ab": 256, b"bc": 257, b"abc": 258}
    listed = BpeModel(tokens=tokens, merges=[(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")])
    roots = merge_tree(Tokenizer(byte_level(listed, WHOLE)), "abc")
    assert [(root.spelling, root.id, root.rank) for root in roots] == [("ab", 256, 0), ("c", 99, None)]
    # by tiktoken's rule any two tokens whose union is a token merge
    ranked = BpeModel(tokens=tokens, merges=None)
    (root,) = merge_tree(Tokenizer(byte_level(ranked, WHOLE)), "abc")
    assert (root.id, root.rank, [part.id for part in root.parts]) == (258, 258, [256, 99])


def test_marks_of_the_place_in_a_word() -> None:
    tokens = {"?": 0, "a": 1, "##b": 2, "##c</w>": 3, "ab": 4, "abc</w>": 5, "##bc</w>": 6}
    merges = [("a", "##b"), ("ab", "##c</w>"), ("##b", "##c</w>")]
    model = CharacterBpeModel(tokens=tokens, merges=merges, unknown="?", prefix="##", suffix="</w>")
    tokenizer = Tokenizer(Pipeline(model=model))
    (root,) = merge_tree(tokenizer, "abc</w>")
    assert as_json(root) == {
        "spelling": "abc</w>",
        "id": 5,
        "rank": 1,
        "parts": [
            {
                "spelling": "ab",
                "id": 4,
                "rank": 0,
                "parts": [{"spelling": "a", "id": 1, "rank": None}, {"spelling": "##b", "id": 2, "rank": None}],
            },
            {"spelling": "##c</w>", "id": 3, "rank": None},
        ],
    }
    (root,) = merge_tree(tokenizer, "##bc</w>")
    assert (root.id, root.rank) == (6, 2)


def test_scores_decide_as_in_sentencepiece() -> None:
    tokens = {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "bc": 5, "abc": 6}
    scores = {"bc": -1.0, "ab": -2.0, "abc": -3.0}
    model = CharacterBpeModel(tokens=tokens, merges=None, scores=scores, kinds={"<unk>": "unknown"}, unknown="<unk>")
    (root,) = merge_tree(Tokenizer(Pipeline(model=model)), "abc")
    assert [part.spelling for part in root.parts] == ["a", "bc"]


def test_tokens_go_by_spelling_text_and_id() -> None:
    id = BPE.token_to_id(b" the")
    assert {find_token(BPE, name) for name in ("Ġthe", " the", str(id))} == {id}
    # a digit is itself before it is an id
    assert find_token(BPE, "1") == BPE.token_to_id(b"1")
    with pytest.raises(DataError, match="the vocabulary has no token 'paragraphs'"):
        find_token(BPE, "paragraphs")
    with pytest.raises(DataError, match="give its spelling, its text or its id"):
        find_token(BPE, "99999")


def test_only_bpe_merges() -> None:
    tokenizer = Tokenizer(Pipeline(model=WordsModel(tokens={"a": 0})))
    with pytest.raises(NotSupportedError, match="tokenizer that does not merge"):
        merge_tree(tokenizer, "a")
