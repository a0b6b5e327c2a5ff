"""Small tokenizers of every algorithm, and texts for them."""

import dataclasses

from textmill.tokenizers import Tokenizer

TEXT = [
    "The miller mills the meal, and the mill's wheel turns.\nThe wheel turned 12 times in 1999!",
    "Mehl aus der Mühle: das Rad dreht sich, dreht sich.",
    "磨坊的轮子转了十二次。轮子转了。",
] * 6
NEW_TEXT = [
    "Windmills whirl in the wind; a windmill drains the meadow, the meadow is drained.",
    "Ветряная мельница мелет зерно, мельница мелет.",
] * 4
SAMPLES = [*TEXT[:3], *NEW_TEXT[:2], "", " two  blanks ", "Über 19 wheels\n"]

SETTINGS = {
    "bpe": {"vocab_size": 320},
    "bpe, normalised": {"vocab_size": 320, "normalize": ("nfkc", "lowercase")},
    "characters": {"level": "characters", "vocab_size": 400},
    "end of word": {"end_of_word": "</w>", "vocab_size": 120},
    "wordpiece": {"algorithm": "wordpiece", "vocab_size": 150},
    "unigram": {"algorithm": "unigram", "vocab_size": 110},
    "unigram, bytes": {"algorithm": "unigram", "vocab_size": 380, "byte_fallback": True, "normalize": ("identity",)},
    "unigram, split": {"algorithm": "unigram", "vocab_size": 110, "normalize": ("nfc",), "split": "whitespace_split"},
    "words": {"algorithm": "words", "vocab_size": 60},
    "chars": {"algorithm": "chars", "vocab_size": 70},
}
BPE = ("bpe", "bpe, normalised", "ranks", "characters", "end of word")
SENTENCEPIECE = ("characters", "unigram", "unigram, bytes")


def trained(name: str, texts: list[str]) -> Tokenizer:
    if name == "ranks":
        # tiktoken's rule: the pair whose union has the lowest id
        pipeline = trained("bpe", texts).pipeline
        return Tokenizer(dataclasses.replace(pipeline, model=dataclasses.replace(pipeline.model, merges=None)))
    return Tokenizer.train(texts, allow_fewer=True, **SETTINGS[name])
