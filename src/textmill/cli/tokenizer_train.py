"""`textmill tokenizer train` and `textmill tokenizer count`."""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from textmill.cli.options import Inputs, Output, Reading, Saying
from textmill.errors import ConfigError

if TYPE_CHECKING:
    from textmill.corpus import ReadReport
    from textmill.tokenizers.spec import TokenizerSpec

Counts = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE...")]
_NO_INPUTS = ("builtin",)
_LEAST_GIGABYTES = 0.004
CountsOutput = Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class Splitting(Reading, Saying):
    """What happens to the text before a vocabulary is learned."""

    algorithm: Literal["bpe", "wordpiece", "unigram", "words", "chars"] = "bpe"
    """bpe: byte-pair encoding, as in GPT. wordpiece: as in BERT. unigram: as in T5 and ALBERT."""
    level: Literal["bytes", "characters"] = "bytes"
    """Of bpe: start from bytes, as in GPT-2, or from characters with ▁ for blanks, as in Llama and Mistral."""
    split: str | None = None
    """How text is cut first: gpt2, cl100k, o200k, llama3, qwen2, deepseek, tekken, bert, metaspace, whitespace,
    whitespace_split, characters, or a regular expression. None: what suits the algorithm."""
    normalize: tuple[str, ...] | None = None
    """nfc, nfd, nfkc, nfkd, lowercase, strip_accents, bert, bert_cased, or sentencepiece's identity, nmt_nfkc,
    nmt_nfkc_cf, nfkc_cf. None: what suits the algorithm."""
    digits: Literal["as_split", "runs", "single"] = "as_split"
    """Keep runs of digits apart from the rest, or every single digit."""
    end_of_word: str = ""
    """Of bpe: spelled at the end of every word, such as </w>; makes it character-level, as first published."""

    def run(self) -> int:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Those of `TokenizerSpec` that counting needs."""
        names = ("algorithm", "level", "split", "normalize", "digits", "end_of_word")
        return {name: getattr(self, name) for name in names}

    @contextlib.contextmanager
    def texts(self, inputs: tuple[str, ...]) -> "Iterator[tuple[Iterator[bytes], ReadReport]]":
        """(the documents with a progress bar, what was read)."""
        from textmill.cli.terminal import reading_bar
        from textmill.corpus import ReadReport, read_documents, resolve_inputs

        report = ReadReport()
        sources = list(resolve_inputs(inputs))
        documents = read_documents(
            sources, field=self.field, errors=self.errors, documents=self.documents, report=report
        )
        with reading_bar(sources, report, quiet=self.quiet) as watched:
            yield watched(documents), report


@dataclass(frozen=True, kw_only=True)
class Train(Splitting):
    """Learn a vocabulary from text and write it as a folder with a tokenizer.json.

    Examples:
      textmill tokenizer train my.txt --vocab-size 8000 -o tok
      textmill tokenizer train 'code/**/*.txt' --split cl100k --vocab-size 32000 -o tok
      textmill tokenizer train my.txt --algorithm unigram --vocab-size 8000 -o tok
      textmill tokenizer train my.txt --algorithm wordpiece --vocab-size 30000 -o bert-tok
      textmill tokenizer train --counts monday.counts tuesday.counts --vocab-size 32000 -o tok
    """

    inputs: Inputs = _NO_INPUTS
    """Files, folders, globs, - or builtin."""
    output: Output = Path("tokenizer")
    """The folder to write."""
    vocab_size: int = 8192
    """How many tokens, special tokens and the alphabet included."""
    counts: Counts = ()
    """Files of 'textmill tokenizer count', in place of text; their counts are added up."""
    start: Path | None = None
    """Of bpe: a tokenizer's folder or file whose merges come first; training goes on from there."""
    special_tokens: tuple[str, ...] | None = None
    """Tokens that no text encodes to by itself. None: what suits the algorithm; of bpe, one that ends a document."""
    min_frequency: int = 0
    """A pair or a word seen less often than this is left out."""
    max_token_length: int | None = None
    """Longer tokens are not made."""
    initial_alphabet: str = ""
    """Characters that get a token whether the text has them or not."""
    limit_alphabet: int | None = None
    """At most so many characters get a token, the most frequent ones."""
    character_coverage: float | None = None
    """The share of the text's characters that get a token; 0.9995 for unigram and character-level bpe."""
    byte_fallback: bool = False
    """Of unigram: a character without a token becomes tokens of its bytes. (Of character-level bpe it always does.)"""
    score: Literal["frequency", "likelihood"] = "frequency"
    """Of wordpiece: merge the most frequent pair, or the one that raises the likelihood most, as published."""
    super_words: int = 0
    """Of byte-level bpe: from this vocabulary size on, tokens may hold several words (SuperBPE)."""
    threads: int = 1
    """The vocabulary is the same for any number."""
    force: bool = False
    """Write into a folder that holds something else."""

    def run(self) -> int:
        from textmill.cli.terminal import stderr
        from textmill.files import claim_output
        from textmill.tokenizers import Tokenizer
        from textmill.tokenizers.counting import read_counted
        from textmill.tokenizers.fronts import counting_front
        from textmill.tokenizers.training import train, train_on_counts

        if self.counts and self.inputs != _NO_INPUTS:
            raise ConfigError(
                f"--counts takes the place of text, got {', '.join(self.inputs)} as well",
                fix="leave one of the two out",
            )
        spec = self._spec()
        start = None if self.start is None else Tokenizer.load(self.start).pipeline
        claim_output(self.output, marker="tokenizer.json", force=self.force)
        if self.counts:
            counts = read_counted(self.counts, counting_front(spec))
            read = f"{len(counts):,} pieces of {len(self.counts)} files of counts"
            pipeline = train_on_counts(counts, spec, threads=self.threads, start=start)
        else:
            with self.texts(self.inputs) as (documents, report):
                pipeline = train(documents, spec, threads=self.threads, start=start)
            read = report.summary()
        tokenizer = Tokenizer(pipeline)
        tokenizer.save(self.output)
        if not self.quiet:
            stderr().print(f"{read} -> {tokenizer.vocab_size:,} tokens in {self.output}")
        if self.json:
            print(json.dumps({"folder": str(self.output), "vocab_size": tokenizer.vocab_size}))
        return 0

    def _spec(self) -> "TokenizerSpec":
        from textmill.tokenizers.spec import TokenizerSpec

        return TokenizerSpec(
            **self.settings(),
            vocab_size=self.vocab_size,
            special_tokens=self.special_tokens,
            min_frequency=self.min_frequency,
            max_token_length=self.max_token_length,
            initial_alphabet=tuple(self.initial_alphabet),
            limit_alphabet=self.limit_alphabet,
            character_coverage=self.character_coverage,
            byte_fallback=True if self.byte_fallback else None,
            score=self.score,
            super_words=self.super_words,
        )


@dataclass(frozen=True, kw_only=True)
class Count(Splitting):
    """Count the pieces of text, for 'textmill tokenizer train --counts'. Files from many machines add up.

    The text is streamed; what does not fit into the memory goes to temporary files beside the result.

    Examples:
      textmill tokenizer count monday.txt -o monday.counts
      textmill tokenizer count 'crawl/*.jsonl.zst' --memory 4 --min-count 2 -o crawl.counts
    """

    inputs: Inputs = ("builtin",)
    """Files, folders, globs, - or builtin."""
    output: CountsOutput = Path("text.counts")
    """The file to write."""
    memory: float = 2.0
    """Gigabytes for the counts."""
    min_count: int = 1
    """Leave out pieces that were seen less often."""

    def run(self) -> int:
        from textmill.cli.terminal import stderr
        from textmill.tokenizers.counting import count_to_file
        from textmill.tokenizers.fronts import counting_front
        from textmill.tokenizers.spec import TokenizerSpec

        if not _LEAST_GIGABYTES <= self.memory < math.inf:
            raise ConfigError(
                f"--memory must be at least {_LEAST_GIGABYTES} gigabytes, got {self.memory:g}", fix="use --memory 2"
            )
        front = counting_front(TokenizerSpec(**self.settings()))
        memory_bytes = int(self.memory * (1 << 30))
        with self.texts(self.inputs) as (documents, report):
            number = count_to_file(documents, front, self.output, memory_bytes=memory_bytes, min_count=self.min_count)
        if not self.quiet:
            stderr().print(f"{report.summary()} -> {number:,} different pieces in {self.output}")
        if self.json:
            print(json.dumps({"file": str(self.output), "pieces": number}))
        return 0
