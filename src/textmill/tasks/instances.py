"""Text to one batch of what a model would learn from it, for a person to look at."""

import itertools
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textmill.data.batches import Batch, PackedBatches
from textmill.data.build import build_shards
from textmill.data.masked import MaskedBatches, MaskingVocabulary
from textmill.data.masking_spec import MaskingSpec, Unit
from textmill.data.pair_spec import PairSpec
from textmill.data.pairs import PairBatches
from textmill.data.ragged import RaggedBatch
from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.spec import TokenizerSpec

MOST_DOCUMENTS = 10_000
"""No more are read: a look needs no more."""
VOCAB_SIZES = (500, 8000)
"""The least and the most tokens of a tokenizer that is trained for the purpose."""
BYTES_A_TOKEN = 150
"""Text that such a tokenizer is given for each of its tokens."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Which instances to show.

    Raises:
        ConfigError: no instance, or a batch before the first.
    """

    objective: Literal["next-token", "mlm", "nsp", "sop", "replaced"] = "mlm"
    unit: Unit = "token"
    """What is hidden at once."""
    sentences: Literal["text", "lines"] = "text"
    """Where sentences begin, for pairs."""
    context_length: int = 64
    count: int = 3
    step: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("step", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} must be at least {least}, got {getattr(self, name)}", fix=f"set {name} to {least} or more"
                )


def instances(
    documents: Iterable[bytes], tokenizer: Path | None, wanted: Instances
) -> tuple[Batch | RaggedBatch, Tokenizer]:
    """A batch as training makes it, and the tokenizer that its ids belong to.

    Args:
        tokenizer: a folder or file; None trains a small one on the text, WordPiece for all but next-token.

    Raises:
        ConfigError: a tokenizer without the marks that the objective needs.
        DataError: too little text.
    """
    read = list(itertools.islice(documents, MOST_DOCUMENTS))
    algorithm: Any = "bpe" if wanted.objective == "next-token" else "wordpiece"
    if tokenizer is None:
        least, most = VOCAB_SIZES
        vocab_size = min(most, max(least, sum(map(len, read)) // BYTES_A_TOKEN))
        loaded = Tokenizer.train(read, TokenizerSpec(algorithm=algorithm, vocab_size=vocab_size, allow_fewer=True))
    else:
        loaded = Tokenizer.load(tokenizer)
    paired = wanted.objective in ("nsp", "sop")
    spec = ShardSpec(validation_fraction=0.0, sentences=wanted.sentences if paired else "none")
    with tempfile.TemporaryDirectory(prefix="textmill-") as scratch:
        build_shards(read, loaded, Path(scratch) / "shards", spec)
        shards = TokenShards.open(Path(scratch) / "shards", "train", verify=False)
        return _batches(shards, loaded, wanted).batch(wanted.step), loaded


def _batches(shards: TokenShards, tokenizer: Tokenizer, wanted: Instances) -> Any:
    settings: dict[str, Any] = {
        "batch_size": wanted.count,
        "context_length": wanted.context_length,
        "seed": wanted.seed,
    }
    if wanted.objective == "next-token":
        return PackedBatches(shards, **settings)
    settings |= {
        "vocabulary": MaskingVocabulary.of(tokenizer),
        "masking": MaskingSpec(unit="replaced" if wanted.objective == "replaced" else wanted.unit),
    }
    if wanted.objective in ("mlm", "replaced"):
        return MaskedBatches(shards, **settings)
    kind: Any = "sentence_order" if wanted.objective == "sop" else "next_sentence"
    return PairBatches(shards, **settings, spec=PairSpec(kind=kind))
