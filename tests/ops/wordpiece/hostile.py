"""Text made to break BERT's tokenizer, and the tokenizer of `tokenizers` to compare with."""

import functools

import numpy as np
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from textmill.ops.wordpiece import characters as c
from textmill.ops.wordpiece.reference import BertRules

UNKNOWN = "[UNK]"
MARKS = [chr(code) for code in np.flatnonzero(c.combining_classes())]
KEPT_MARKS = [char for char in MARKS if not c.flags()[ord(char)] & c.MARK]
"""Marks that `strip_accents` leaves in place: only these make the order of marks matter."""
DECOMPOSED = [chr(code) for code in c.decompositions()]
CONTROLS = [chr(code) for code in np.flatnonzero(c.flags() & c.CONTROL)[:90]]

_WHOLE = ["a", "b", "ab", "abc", "c", "e", "i", "i\u0307", "中", "!", "=", "$", "\u1100", "\ufffd", "#", "ss", "\u1b44"]
_PARTS = ["a", "b", "ab", "bc", "abab", "e", "i", "\u0307", "\u1161", "\u11a8", "\ufffd", "ß", "\u1b44", "\0"]
_TOKENS = [UNKNOWN, *_WHOLE, *KEPT_MARKS[:40], *("##" + part for part in _PARTS + KEPT_MARKS[:60])]
TOKENS = {token: 3 * number for number, token in enumerate(dict.fromkeys(_TOKENS))}


def texts(max_size: int = 40) -> st.SearchStrategy[str]:
    """Letters, marks, controls, blanks, punctuation, Chinese, Hangul and any code point, in any order."""
    pieces = st.one_of(
        st.sampled_from(["a", "b", "c", "A", "B", "é", "É", "abc", " "]),
        st.sampled_from(MARKS),
        st.sampled_from(KEPT_MARKS),
        st.sampled_from(DECOMPOSED),
        st.sampled_from(CONTROLS),
        st.sampled_from(list(" \t\n\r\u3000\u2028\x85\x0b\0\ufffd")),
        st.sampled_from(list("!.,≠≮`$中文İΣSßﬃ\u1fef\u037e\uf900\U0002f800😀")),
        st.sampled_from(["각", "\u0344", "\u0f73", "\u0f81", "\u1f82", "\U0001d160", "a" * 101, "é" * 100]),
        st.characters(exclude_categories=["Cs"]),
    )
    return st.lists(pieces, max_size=max_size).map("".join)


def rules() -> st.SearchStrategy[BertRules]:
    """Any rules."""
    return st.builds(
        BertRules,
        clean_text=st.booleans(),
        chinese=st.booleans(),
        strip_accents=st.sampled_from([None, True, False]),
        lowercase=st.booleans(),
    )


@functools.cache
def peer_encoder(rules: BertRules, longest_word: int) -> Tokenizer:
    """The tokenizer of `tokenizers` for `TOKENS`."""
    peer = Tokenizer(models.WordPiece(TOKENS, unk_token=UNKNOWN, max_input_chars_per_word=longest_word))
    peer.normalizer = normalizers.BertNormalizer(
        clean_text=rules.clean_text,
        handle_chinese_chars=rules.chinese,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return peer
