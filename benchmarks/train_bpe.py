"""Training of a byte-level BPE vocabulary with GPT-2's splitting, on the same documents to the same merges."""

from collections.abc import Iterator
from typing import Any

from benchmarks import texts
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, timed

ABOUT = "train a 32k byte-level BPE on 10 MB; each side with its default threads; merges must be equal"
GOALS = ("tokenizers, English and code: at least 5x", "tokenizers, Chinese: at least 2x")


def comparisons(options: Options) -> Iterator[Comparison]:
    vocab_size = 1000 if options.quick else 32_000
    for kind in texts.KINDS:
        whole = texts.text(kind, 300_000 if options.quick else 10_000_000)
        strings = [document.decode() for document in texts.documents(whole)]
        yield _comparison(kind, strings, vocab_size, len(whole))


def _comparison(kind: str, strings: list[str], vocab_size: int, num_bytes: int) -> Comparison:
    def ours() -> Any:
        from textmill import Tokenizer

        return Tokenizer.train(strings, algorithm="bpe", vocab_size=vocab_size)

    def theirs() -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        # ours counts its end-of-text token in the size as well
        special = ["<|endoftext|>"]
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=special, show_progress=False
        )
        tokenizer.train_from_iterator(strings, trainer)
        return tokenizer

    def check() -> None:
        mine, other = ours(), theirs()
        if mine.vocab_size != other.get_vocab_size():
            raise RefusedError(f"vocabularies of {mine.vocab_size} and {other.get_vocab_size()} tokens")
        for string in strings[:200]:
            other_bytes = [other.id_to_token(token) for token in other.encode(string, add_special_tokens=False).ids]
            if _bytes(other_bytes) != [mine.id_to_bytes(token) for token in mine.encode(string)]:
                raise RefusedError("a text is cut into different tokens, so the merges differ")

    return Comparison(
        name=f"train BPE {kind}",
        goal=Goal(kind="times", value=2 if kind == "chinese" else 5),
        ours=Side(name="textmill", measure=timed(ours)),
        peer=Side(name="tokenizers", measure=timed(theirs)),
        check=check,
        sizes={"bytes": num_bytes, "vocabulary": vocab_size},
        warm_up=0,  # the check has run both
    )


def _bytes(tokens: list[str]) -> list[bytes]:
    from benchmarks.vocabularies import characters_of_bytes

    byte_of = characters_of_bytes()
    return [bytes(byte_of[character] for character in token) for token in tokens]
