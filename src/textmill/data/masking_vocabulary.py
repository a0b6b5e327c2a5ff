"""What masking must know of a tokenizer: which ids continue a word, which are special, which is the mask."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from textmill.data.masking_spec import LONGEST_RUNS, MaskingSpec
from textmill.errors import ConfigError, NotSupportedError
from textmill.ops.masking import (
    BEGINS,
    CONTINUES,
    SPECIAL,
    MaskingRules,
    WordMatcher,
    geometric_lengths,
    harmonic_lengths,
)
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel, WordPieceModel

MASK_NAMES = ("[MASK]", "<mask>", "<|mask|>")
FIRST_NAMES = ("[CLS]", "<s>", "<cls>", "<|cls|>")
LAST_NAMES = ("[SEP]", "</s>", "<sep>", "<|sep|>")
METASPACE = "▁"
WHITE_SPACE = (b" ", b"\t", b"\n", b"\v", b"\f", b"\r")


@dataclass(frozen=True, kw_only=True)
class MaskingVocabulary:
    """The ids that masking treats in their own way."""

    kinds: np.ndarray
    """uint8 [vocabulary]: BEGINS, CONTINUES or SPECIAL of `textmill.ops.masking`."""
    mask_id: int | None
    """Written over hidden tokens; None: the tokenizer has no mask."""
    cls_id: int | None = None
    """Begins every sequence, if there is one."""
    sep_id: int | None = None
    """Ends every sequence, if there is one."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "MaskingVocabulary":
        """The tokenizer's, its marks known by their customary names.

        Raises:
            NotSupportedError: words that are known by their ends only (`</w>`).
        """
        special = tokenizer.special_tokens
        mask, first, last = (
            next((special[name] for name in names if name in special), None)
            for names in (MASK_NAMES, FIRST_NAMES, LAST_NAMES)
        )
        return cls(kinds=kinds_of(tokenizer), mask_id=mask, cls_id=first, sep_id=last)

    def rules(self, spec: MaskingSpec) -> MaskingRules:
        """What the kernel needs.

        Raises:
            ConfigError: the mask is to be written and there is none.
        """
        replaced = spec.unit == "replaced"
        if self.mask_id is None and spec.mask_share > 0 and not replaced:
            raise ConfigError(
                f"the tokenizer has no mask token: none of {', '.join(MASK_NAMES)} is among its special tokens",
                fix="train one with a mask token, or set mask_share to 0",
            )
        rules = MaskingRules(
            self.kinds,
            0 if self.mask_id is None else self.mask_id,
            fraction=spec.fraction,
            mask_share=spec.mask_share,
            random_share=spec.random_share,
            whole_words=spec.unit in ("whole_word", "ngram", "span"),
            one_fate=spec.unit == "span",
            everywhere=replaced,
        )
        if spec.max_predictions is not None:
            rules = rules._replace(max_predictions=spec.max_predictions)
        if spec.unit in LONGEST_RUNS:
            lengths = harmonic_lengths if spec.unit == "ngram" else geometric_lengths
            rules = rules._replace(run_lengths=lengths(spec.longest))
        return rules


def kinds_of(tokenizer: Tokenizer) -> np.ndarray:
    """uint8 [vocabulary]: SPECIAL for special tokens and ids without a token, CONTINUES for tokens that stand inside a
    word: WordPiece's "##ing", byte-level tokens that do not begin with white space, and sentencepiece's without "▁".

    >>> tokenizer = Tokenizer.train(["a b"], vocab_size=257)
    >>> [int(kinds_of(tokenizer)[id]) for id in tokenizer.encode("a b")]  # "a" has no space before it
    [1, 0, 1]

    Raises:
        NotSupportedError: words that are known by their ends only (`</w>`).
    """
    strings = tokenizer.pipeline.strings
    special = set(tokenizer.special_tokens.values())
    kinds = np.full(tokenizer.vocab_size, BEGINS, np.uint8)
    model = tokenizer.pipeline.model
    prefix = model.prefix if isinstance(model, WordPieceModel | CharacterBpeModel) else ""
    if isinstance(model, CharacterBpeModel) and model.suffix:
        raise NotSupportedError(
            f"masking by words needs tokens that show where a word begins; these show its end ({model.suffix})",
            fix="use a WordPiece, byte-level or sentencepiece tokenizer",
        )
    spaced = isinstance(model, CharacterBpeModel | UnigramModel) and any(
        (s or "").startswith(METASPACE) for s in strings
    )
    for id, string in enumerate(strings):
        if string is None or id in special:
            kinds[id] = SPECIAL
        elif isinstance(model, BpeModel):
            kinds[id] = BEGINS if tokenizer.id_to_bytes(id).startswith(WHITE_SPACE) else CONTINUES
        elif prefix:
            kinds[id] = CONTINUES if string.startswith(prefix) else BEGINS
        elif spaced:
            kinds[id] = BEGINS if string.startswith(METASPACE) else CONTINUES
    return kinds


def word_matcher(tokenizer: Tokenizer, words: Iterable[str]) -> WordMatcher:
    """Finds these words in ids: for Chinese, whose characters BERT's tokenizer makes single tokens.

    A word with an unknown or another special token in it is left out.
    """
    special = set(tokenizer.special_tokens.values())
    encoded = tokenizer.encode_batch(word for word in words if word)
    return WordMatcher(ids for ids in encoded if not special.intersection(ids))
