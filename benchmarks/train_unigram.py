"""Training of a Unigram vocabulary on the same lines with the same splitting rules, judged on held-out text as well.

The rules are sentencepiece's defaults: pieces stay in a word and in a script. Both sides begin with lists of strings
and have two threads. The last tenth of the text is held out; how many tokens each side's vocabulary needs for it is
counted by one and the same search for the best segmentation.
"""

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks import texts
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, timed

ABOUT = "train a 32k Unigram vocabulary, two threads each; no more tokens on held-out text than the peer"
GOALS = ("sentencepiece: at least 3x", "tokenizers: at least 10x")

_THREADS = 2
_COVERAGE = 0.9995
_BLANK = "▁"
# sentencepiece counts <unk>, <s> and </s> in the size
_RESERVED = 3
# how many more tokens ours may need: small texts scatter
_QUICK_TOLERANCE = 1.02
# the scripts of the English text; the splitter UnicodeScripts parts ▁ from a word that follows punctuation
_SCRIPTS = ("Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Han", "Hangul")
_ONE_SCRIPT = "|".join(
    [
        *(rf"▁?\p{{{script}}}+" for script in _SCRIPTS),
        "▁?[^▁" + "".join(rf"\p{{{script}}}" for script in _SCRIPTS) + "]+",
    ]
)

Pieces = list[tuple[str, float]]


def comparisons(options: Options) -> Iterator[Comparison]:
    # read when tokenizers starts its threads
    os.environ.setdefault("RAYON_NUM_THREADS", str(_THREADS))
    vocab_size = 6000 if options.quick else 32_000
    for kind in ("english", "chinese"):
        whole = texts.text(kind, 1_000_000 if options.quick else None).decode()
        cut = whole.rindex("\n", 0, len(whole) * 9 // 10)
        lines, held_out = _lines(whole[:cut]), _lines(whole[cut:])
        peers: dict[str, tuple[float, Callable[[list[str], int], Pieces]]] = {"sentencepiece": (3, _sentencepiece)}
        if kind == "english":
            # minutes on Chinese
            peers["tokenizers"] = (10, _tokenizers)
        for name, (goal, train) in peers.items():
            yield _comparison(kind, name, goal, train, lines, held_out, vocab_size, options.quick)


def _comparison(
    kind: str,
    name: str,
    goal: float,
    train: Callable[[list[str], int], Pieces],
    lines: list[str],
    held_out: list[str],
    vocab_size: int,
    quick: bool,
) -> Comparison:
    sizes: dict[str, Any] = {"bytes": sum(len(line.encode()) + 1 for line in lines), "vocabulary": vocab_size}

    def check() -> None:
        mine, theirs = _textmill(lines, vocab_size), train(lines, vocab_size)
        if len(mine) != len(theirs):
            raise RefusedError(f"vocabularies of {len(mine)} and {len(theirs)} pieces")
        tokens, peers_tokens = (num_tokens(pieces, held_out) for pieces in (mine, theirs))
        sizes.update({"held-out tokens": tokens, "held-out tokens of the peer": peers_tokens})
        if tokens > peers_tokens * (_QUICK_TOLERANCE if quick else 1):
            raise RefusedError(f"{tokens} tokens on held-out text, the peer's vocabulary needs {peers_tokens}")

    return Comparison(
        name=f"train Unigram {kind}, {name}",
        goal=Goal(kind="times", value=goal),
        ours=Side(name="textmill", measure=timed(lambda: _textmill(lines, vocab_size))),
        peer=Side(name=name, measure=timed(lambda: train(lines, vocab_size))),
        check=check,
        sizes=sizes,
        warm_up=0,  # the check has run both
        rounds=2 if quick else 3,  # the peers take minutes
    )


def _lines(text: str) -> list[str]:
    """Lines without empty ones, one blank between words."""
    return [" ".join(line.split()) for line in text.split("\n") if line.strip()]


def _textmill(lines: list[str], vocab_size: int) -> Pieces:
    from textmill.ops.unigram.train import train_unigram

    words = count_words(lines)
    return train_unigram(
        words, vocab_size - _RESERVED, required_characters=_most_frequent_characters(words), threads=_THREADS
    )


def count_words(lines: list[str]) -> Any:
    """Each distinct word with ▁ in front, and its count."""
    from textmill.ops.bpe import PieceCounter
    from textmill.ops.memory import PADDING, padded
    from textmill.ops.split import BLOCK_PIECES, splitter

    def count(part: list[str]) -> PieceCounter:
        counter, cut, ends = PieceCounter(), splitter("metaspace"), np.empty(BLOCK_PIECES, np.int32)
        buffer = padded((_BLANK + " ".join(part).replace(" ", _BLANK)).encode())
        for origin, block in cut.blocks(buffer, 0, len(buffer) - PADDING, ends):
            counter.add(buffer, origin, block)
        return counter

    half = len(lines) // _THREADS + 1
    with ThreadPoolExecutor(_THREADS) as pool:
        first, *others = pool.map(count, [lines[start : start + half] for start in range(0, len(lines), half)])
    for other in others:
        first.merge(other)
    return first.counts()


def _most_frequent_characters(words: Any) -> list[str]:
    """As many as cover the share of the text that sentencepiece has by default."""
    text = words.arena[: words.offsets[-1]].tobytes().decode()
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    is_first = (words.arena[: words.offsets[-1]] & 0xC0) != 0x80
    counts = np.repeat(words.counts, np.diff(words.offsets))[is_first]
    totals = np.bincount(codes, weights=counts)
    order = np.argsort(-totals, kind="stable")
    covered = np.cumsum(totals[order])
    kept = int(np.searchsorted(covered, _COVERAGE * covered[-1])) + 1
    return [chr(code) for code in order[:kept].tolist()]


def _sentencepiece(lines: list[str], vocab_size: int) -> Pieces:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        num_threads=_THREADS,
        character_coverage=_COVERAGE,
        normalization_rule_name="identity",
        max_sentence_length=1 << 24,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [(processor.id_to_piece(piece), processor.get_score(piece)) for piece in range(_RESERVED, vocab_size)]


def _tokenizers(lines: list[str], vocab_size: int) -> Pieces:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(_ONE_SCRIPT), "isolated")]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special, unk_token=special[0], show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    return [(piece, score) for piece, score in pieces if piece not in special]


def num_tokens(pieces: Pieces, lines: list[str]) -> int:
    """Tokens of the best segmentation of each word; a character that no piece has is one token."""
    scores = dict(pieces)
    longest, unknown, total = max(map(len, scores)), min(scores.values()) - 10, 0
    for word, count in Counter(word for line in lines for word in line.split(" ")).items():
        text = _BLANK + word
        best, tokens = [0.0] + [-1e300] * len(text), [0] * (len(text) + 1)
        for start in range(len(text)):
            for end in range(start + 1, min(len(text), start + longest) + 1):
                score = scores.get(text[start:end], unknown if end == start + 1 else None)
                if score is not None and best[start] + score > best[end]:
                    best[end], tokens[end] = best[start] + score, tokens[start] + 1
        total += count * tokens[-1]
    return total
