"""Training of a WordPiece vocabulary, text to tokenizer, one thread: the same vocabulary comes out."""

import os
from collections.abc import Iterator
from typing import Any

from benchmarks import texts
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, timed

ABOUT = "train a 32k WordPiece vocabulary from text, one thread, BERT's normaliser and split"
GOALS = ("tokenizers: at least 8x",)


def comparisons(options: Options) -> Iterator[Comparison]:
    # read when tokenizers starts its threads
    os.environ["RAYON_NUM_THREADS"] = "1"
    from textmill import Tokenizer

    vocab_size = 4000 if options.quick else 32_000
    for kind in ("english", "code"):
        documents = texts.documents(texts.text(kind, 500_000 if options.quick else 15_000_000))
        strings = [document.decode() for document in documents]
        sizes: dict[str, Any] = {"bytes": sum(map(len, documents)), "vocabulary": vocab_size}

        def ours(documents: list[bytes] = documents) -> Any:
            return Tokenizer.train(documents, algorithm="wordpiece", vocab_size=vocab_size)

        def theirs(strings: list[str] = strings) -> Any:
            return _tokenizers(strings, vocab_size)

        def check(
            documents: list[bytes] = documents, strings: list[str] = strings, sizes: dict[str, Any] = sizes
        ) -> None:
            mine, peers = ours(documents), theirs(strings)
            # tokenizers numbers the marked letters in an order that changes from run to run, which decides ties
            common = len(set(mine.pipeline.ids) & set(peers.get_vocab())) / vocab_size
            tokens = [mine.count(strings[0]), len(peers.encode(strings[0], add_special_tokens=False).ids)]
            sizes["tokens in common"] = round(common, 4)
            if common < 0.98 or abs(tokens[0] - tokens[1]) > 0.01 * tokens[1]:
                raise RefusedError(f"{common:.1%} of the vocabularies are the same")

        yield Comparison(
            name=f"train WordPiece, {kind}, tokenizers",
            goal=Goal(kind="times", value=8),
            ours=Side(name="textmill", measure=timed(ours)),
            peer=Side(name="tokenizers", measure=timed(theirs)),
            check=check,
            sizes=sizes,
        )


def _tokenizers(strings: list[str], vocab_size: int) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(strings, trainer)
    return tokenizer
