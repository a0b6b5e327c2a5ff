"""The definition against `tokenizers`: ids and character offsets of hostile text."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.wordpiece.hostile import TOKENS, UNKNOWN, peer_encoder, rules, texts
from tokenizers import Tokenizer, models, pre_tokenizers

from textmill.ops.wordpiece import reference
from textmill.ops.wordpiece.reference import BertRules


@settings(max_examples=200, deadline=None)
@given(texts(), rules(), st.sampled_from([1, 2, 3, 6, 100]))
def test_equals_tokenizers(text: str, rules: BertRules, longest_word: int) -> None:
    encoding = peer_encoder(rules, longest_word).encode(text, add_special_tokens=False)
    expected = [(number, *span) for number, span in zip(encoding.ids, encoding.offsets, strict=True)]
    assert reference.encode(text, TOKENS, rules, unknown=UNKNOWN, longest_word=longest_word) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.text("ab#é", min_size=1, max_size=4), max_size=15),
    st.text("ab#é", min_size=1, max_size=9),
    st.sampled_from(["##", "#", "", "ab"]),
    st.integers(1, 9),
)
def test_words_equal_tokenizers(tokens: set[str], word: str, prefix: str, longest_word: int) -> None:
    ids = {token: number for number, token in enumerate(["[UNK]", *sorted(tokens)])}
    peer = Tokenizer(
        models.WordPiece(
            ids, unk_token="[UNK]", continuing_subword_prefix=prefix, max_input_chars_per_word=longest_word
        )
    )
    peer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = reference.match(
        word.encode(),
        {token.encode(): number for token, number in ids.items()},
        unknown=0,
        prefix=prefix.encode(),
        longest_word=longest_word,
    )
    assert [number for number, _, _ in found] == peer.encode(word).ids


def test_dropout() -> None:
    tokens = {token.encode(): number for number, token in enumerate(["[UNK]", "a", "ab", "abc", "##b", "##c", "##bc"])}

    def ids(dropped: set[tuple[int, int]]) -> list[int]:
        found = reference.match(b"abc", tokens, unknown=0, dropped=lambda begin, end: (begin, end) in dropped)
        return [number for number, _, _ in found]

    assert ids(set()) == [3]
    assert ids({(0, 3)}) == [2, 5]
    assert ids({(0, 3), (0, 2)}) == [1, 6]
    # the shortest match stays
    assert ids({(0, 3), (0, 2), (0, 1), (1, 3), (1, 2), (2, 3)}) == [1, 4, 5]


def test_dropout_draws_as_often_as_asked() -> None:
    draws = [
        reference.is_dropped(seed, place, 0, end, 0.3)
        for seed in (-1, 0, 1 << 70)
        for place in range(1000)
        for end in range(2, 12)
    ]
    assert abs(sum(draws) / len(draws) - 0.3) < 0.01
    assert not reference.is_dropped(0, 0, 0, 1, 0.0)
    assert reference.is_dropped(0, 0, 0, 1, 1.0)
