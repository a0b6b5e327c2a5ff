"""`textmill pretrain bert|modern-bert`"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from textmill.cli.pretrain import Transformer


@dataclass(frozen=True, kw_only=True)
class _Encoder(Transformer):
    """What encoders share."""

    masking: Literal["token", "whole_word", "ngram", "span"] = "token"
    """What is hidden at once: a token, a word with all its tokens, 1 to 3 words, or a span of geometric length."""
    masked: float = 0.15
    """The share of tokens to predict."""

    def adjusted(self, settings: Any) -> Any:
        """A WordPiece tokenizer, which has the marks that encoders need, and the masking asked for."""
        learning = settings.learning
        masking = dataclasses.replace(learning.masking, unit=self.masking, fraction=self.masked)
        return dataclasses.replace(
            settings,
            tokenizer=dataclasses.replace(settings.tokenizer, algorithm="wordpiece"),
            learning=dataclasses.replace(learning, masking=masking),
        )


_HEADS: dict[str, Any] = {
    "sentence-pairs": "pretraining",
    "masked-token": "masked_token",
    "replaced-token": "replaced_token",
}


@dataclass(frozen=True, kw_only=True)
class Bert(_Encoder):
    """Train a BERT from text: masked tokens, and pairs of sentences to tell apart.

    Documents are made of sentences, which are found in running text, or stand one to a line with a blank line between
    documents, as BERT's own program reads them.

    Examples:
      textmill pretrain bert my.txt -o runs/bert
      textmill pretrain bert wiki.txt --sentences lines --documents paragraph --pairs sentence_order -o runs/albert
      textmill pretrain bert my.txt --objective masked-token --masking whole_word -o runs/roberta
    """

    ARCHITECTURE: ClassVar = "bert"

    objective: Literal["sentence-pairs", "masked-token", "replaced-token"] = "sentence-pairs"
    """sentence-pairs: masked tokens and pairs, as published. replaced-token: tell random tokens from the text's."""
    pairs: Literal["next_sentence", "sentence_order"] = "next_sentence"
    """next_sentence: does B follow A? sentence_order: do A and B stand in their order?"""
    sentences: Literal["text", "lines"] = "text"
    """text: sentences are found in running text. lines: one stands on each line."""
    norm: Literal["post", "pre"] = "post"
    """Norms after the sub-layers, as published, or before them, which trains more steadily."""

    def model(self) -> Any:
        from textmill.models.configs import BertConfig

        return BertConfig(**self.sizes(), norm_position=self.norm, heads=_HEADS[self.objective])

    def adjusted(self, settings: Any) -> Any:
        settings = super().adjusted(settings)
        learning = dataclasses.replace(
            settings.learning, pairs=dataclasses.replace(settings.learning.pairs, kind=self.pairs)
        )
        if self.objective == "replaced-token":
            learning = dataclasses.replace(learning, masking=dataclasses.replace(learning.masking, unit="replaced"))
        sentences = self.sentences if self.objective == "sentence-pairs" else "none"
        return dataclasses.replace(
            settings, learning=learning, shards=dataclasses.replace(settings.shards, sentences=sentences)
        )


@dataclass(frozen=True, kw_only=True)
class ModernBert(_Encoder):
    """Train a modern encoder from text: rotary positions, GeGLU, local and global attention, no padding.

    Examples:
      textmill pretrain modern-bert my.txt --masked 0.3 -o runs/encoder
    """

    ARCHITECTURE: ClassVar = "modern-bert"

    masked: float = 0.3
    """The share of tokens to predict."""
    window: int = 128
    """Tokens that a local layer sees, half of them to each side."""
    global_every: int = 3
    """Every so many layers one sees all tokens."""

    def model(self) -> Any:
        from textmill.models.configs import ModernBertConfig

        return ModernBertConfig(
            **self.sizes(),
            feed_forward_width=-(-8 * self.width // (3 * 32)) * 32,
            window=self.window,
            global_every=self.global_every,
        )
