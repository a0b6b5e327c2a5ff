"""`tokenizers` as an oracle: offsets of single characters and of pieces, and pipelines trained with it."""

import json

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

UNKNOWN = "[UNK]"


def words_tokenizer():
    return tokenizers.Tokenizer(models.WordLevel({UNKNOWN: 0}, UNKNOWN))


def normalized(step, text):
    """(the text that the step makes, the offsets of each of its characters)."""
    tokenizer = words_tokenizer()
    tokenizer.normalizer = step
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(length=1)
    return step.normalize_str(text), tokenizer.encode(text).offsets


def pieces(step, text):
    """(the pieces, the offsets of each)."""
    tokenizer = words_tokenizer()
    tokenizer.pre_tokenizer = step
    return [piece for piece, _ in step.pre_tokenize_str(text)], tokenizer.encode(text).offsets


def trained(kind):
    """A tokenizer as the well-known models have it, trained on a little text."""
    return globals()[f"_{kind}"]()


KINDS = ("bert", "t5", "albert", "llama", "roberta", "clip", "words", "gpt2")

_LINES = [
    "The quick brown fox jumps over the lazy dog, and doesn't it run?",
    "She sells sea shells by the sea shore; the shells she sells are surely seashells!",
    "In 1984 there were 12 ``quoted'' words and 345 numbers (or 6,789).",
    "How much wood would a woodchuck chuck if a woodchuck could chuck wood?",
    "Ünïcödé çafé naïve résumé ﬁne ① ½ straße",
] * 20


def _train(tokenizer, trainer):
    tokenizer.train_from_iterator(_LINES, trainer)
    return tokenizer


def _template(**special):
    names = list(special.items())
    (first, first_id), (last, last_id) = names[0], names[-1]
    first, last = f"<{first}>", f"<{last}>"
    return processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(first, first_id), (last, last_id)],
    )


def _bert():
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [UNKNOWN, "<cls>", "<sep>"]
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False))
    tokenizer.post_processor = _template(cls=1, sep=2)
    return tokenizer


def _unigram(normalizer, splitter):
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.Metaspace()
    special = ["<pad>", "<s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False)
    return _train(tokenizer, trainer)


def _t5():
    from textmill.ops.normalize import build_charsmap

    charsmap = build_charsmap({"ﬁ": "fi", "①": "1", "½": "1/2", "e\u0301": "é", "\t": " ", "\x01": ""})
    squeeze = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    tokenizer = _unigram(normalizers.Sequence([normalizers.Precompiled(charsmap), squeeze]), pre_tokenizers.Metaspace())
    tokenizer.post_processor = _template(s=1)
    return tokenizer


def _albert():
    steps = [normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer = _unigram(normalizers.Sequence(steps), splitter)
    tokenizer.post_processor = processors.BertProcessing(("<s>", 1), ("<pad>", 0))
    return tokenizer


def _llama():
    tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    special = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    _train(
        tokenizer,
        trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False, max_token_length=6),
    )
    schema = json.loads(tokenizer.to_str())
    # byte tokens are the model's own
    schema["added_tokens"] = schema["added_tokens"][:2]
    return tokenizers.Tokenizer.from_str(json.dumps(schema))


def _byte_level_bpe(special, **options):
    tokenizer = tokenizers.Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {key: value for key, value in options.items() if key == "end_of_word_suffix"}
    return _train(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False, **options
        ),
    )


def _roberta():
    tokenizer = _byte_level_bpe(["<s>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=False)
    return tokenizer


def _clip():
    tokenizer = _byte_level_bpe(["<start>", "<end>"], unk_token="<end>", end_of_word_suffix="</w>")
    whitespace = normalizers.Replace(tokenizers.Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), whitespace, normalizers.Lowercase()])
    words = tokenizers.Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.BPEDecoder()
    return tokenizer


def _words():
    tokenizer = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    return _train(tokenizer, trainers.WordLevelTrainer(special_tokens=[UNKNOWN], show_progress=False))


def _gpt2():
    tokenizer = _byte_level_bpe(["<|endoftext|>"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_tokens(["zzz"])
    return tokenizer
