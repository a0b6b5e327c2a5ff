"""`Tokenizer`: text to ids and back."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe import TokenBytes
from textmill.tokenizers import files, spans
from textmill.tokenizers.added import finders_of
from textmill.tokenizers.arguments import check_threads, flat_bytes, several, text_bytes, whole_numbers
from textmill.tokenizers.batching import PadTo, TokenBatch, batch_rows, padding_of, token_batch
from textmill.tokenizers.decoding import Decoder, Stream
from textmill.tokenizers.engines import (
    DocumentEngine,
    Noise,
    PatternEngine,
    Place,
    Spans,
    check_noise,
    decoder_of,
    engine_of,
    joined_ids,
    joined_spans,
)
from textmill.tokenizers.pipeline import TEXT, Buffer, Pipeline, fingerprint
from textmill.tokenizers.spec import TokenizerSpec
from textmill.tokenizers.steps import Truncation
from textmill.tokenizers.stream_encoding import check_streamable, cut_stream
from textmill.tokenizers.streaming import StreamDecoder
from textmill.tokenizers.templates import trimmed


class Tokenizer:
    """Text <-> ids. Owns the vocabulary; immutable, safe to share between threads and forked processes.

    A special token's string inside a text is plain text, unless `allow_special=True` is said: a text from a stranger
    cannot end a document. Added tokens that are not special are always found.

    Text that is not valid UTF-8, given as bytes, is encoded and decoded without loss. A lone surrogate in a `str`
    counts as U+FFFD.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._engine = engine_of(pipeline)
        # [allow_special]: what looks for tokens before normalisation; None if there are none to be found
        self._finders = finders_of([token for token in pipeline.added if not token.normalized])

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Pipeline]]:
        return type(self), (self.pipeline,)

    def __repr__(self) -> str:
        model = type(self.pipeline.model).__name__.removesuffix("Model")
        return f"Tokenizer({model}, vocab_size={self.vocab_size})"

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: the rows that a model's embedding needs."""
        return self.pipeline.vocab_size

    @property
    def special_tokens(self) -> dict[str, int]:
        """Id of each special token."""
        return self.pipeline.special_tokens

    @property
    def end_of_text_id(self) -> int | None:
        """The id that ends a text, if there is one."""
        return None if self.pipeline.end_of_text is None else self.special_tokens[self.pipeline.end_of_text]

    def token_to_id(self, token: str | bytes) -> int | None:
        """The id of a token, given as its bytes or as its string in the vocabulary; None if there is no such token."""
        return self.pipeline.ids.get(token) if isinstance(token, str) else self._ids_of_bytes.get(token)

    def id_to_bytes(self, id: int) -> bytes:
        """The bytes that the id stands for inside a text: of "▁the" those of " the".

        Raises:
            DataError: there is no such id.
        """
        if not 0 <= id < self.vocab_size or self.pipeline.strings[id] is None:
            raise DataError(
                f"there is no token with the id {id}, the ids are 0 to {self.vocab_size - 1}",
                fix="use the tokenizer that gave the ids",
            )
        if isinstance(self._decoder, TokenBytes):
            return self.pipeline.token_bytes[id] or b""
        return self._decoder.known(id)

    def id_to_token(self, id: int) -> str:
        """The id's string in the vocabulary: for example "Ġthe", "##ing", "▁the", or an added token as it is.

        Raises:
            DataError: there is no such id.
        """
        self.id_to_bytes(id)
        return str(self.pipeline.strings[id])

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of the text, a string; see `encode_array` for bytes."""
        return self._encode(text_bytes(text), allow_special).tolist()

    def encode_batch(self, texts: Iterable[str], *, allow_special: bool = False) -> list[list[int]]:
        """The ids of each text."""
        return [self._encode(text_bytes(text), allow_special).tolist() for text in several(texts)]

    def encode_array(self, data: str | Buffer, *, allow_special: bool = False) -> np.ndarray:
        """int32 ids of UTF-8 data: the fast path. Releases the GIL while it works.

        Raises:
            DataError: neither a string nor bytes, or 2 GiB or more in one text.
        """
        return self._encode(flat_bytes(data), allow_special)

    def encode_documents(
        self, documents: Iterable[str | Buffer], *, allow_special: bool = False, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets): document i has ids[offsets[i]:offsets[i + 1]].

        The fastest way to encode many texts; the result is the same for any number of threads.

        Raises:
            ConfigError: one text in place of a list, or threads below 1.
            DataError: 2 GiB or more in one document.
        """
        check_threads(threads)
        texts = [flat_bytes(document) for document in several(documents, "documents")]
        if isinstance(self._engine, DocumentEngine) and self._finders[allow_special] is None:
            return self._engine.encode_documents(texts, Place(True, allow_special), threads)
        arrays = [self._encode(text, allow_special) for text in texts]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return joined_ids(arrays), offsets

    def encode_spans_array(
        self, data: str | Buffer, *, unit: Literal["characters", "bytes"] = "characters", allow_special: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(int32 ids, starts, ends): token i came from data[starts[i]:ends[i]], counted in the unit; int32 or int64.

        In characters, a token that has only some bytes of a character has all of it; blanks are not trimmed. The
        arrays may share memory.

        Raises:
            ConfigError: another unit.
            DataError: 2 GiB or more in one text.
        """
        if unit not in ("characters", "bytes"):
            raise ConfigError(f"unit must be 'characters' or 'bytes', got {unit!r}", fix="use one of the two")
        text = flat_bytes(data)
        if isinstance(self._engine, PatternEngine) and self._finders[allow_special] is None:
            workspace = self._engine.workspace
            return workspace.byte_spans(text) if unit == "bytes" else workspace.character_spans(text)
        ids, starts, ends = self._encode_with_spans(text, allow_special)
        return ids, *((starts, ends) if unit == "bytes" else spans.character_arrays(bytes(text), starts, ends))

    def batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        pad_to: PadTo = "longest",
        multiple_of: int | None = None,
        template: bool = True,
        allow_special: bool = False,
    ) -> TokenBatch:
        """The rows that a model takes, one for each text, or for each text and its pair.

        Args:
            max_length: what is longer is cut, the longer text of a pair first; None: as the tokenizer's file says.
            pad_to: "longest" of the rows, or "max_length"; None: rows must have one length as they are.
            multiple_of: rows are padded up to a multiple of this.
            template: puts the tokenizer's special tokens around, such as [CLS] and [SEP].

        Raises:
            ConfigError: no room for the special tokens, not as many pairs as texts, no list, or a wrong `pad_to`.
            NotSupportedError: there is no token to pad with.
        """
        own = self.pipeline.truncation
        rows = batch_rows(
            [self._encode(text_bytes(text), allow_special) for text in several(texts)],
            None if pairs is None else [self._encode(text_bytes(text), allow_special) for text in several(pairs)],
            self.pipeline,
            truncation=own if max_length is None else dataclasses.replace(own or Truncation(), max_length=max_length),
            padding=padding_of(self.pipeline, pad_to, max_length, multiple_of),
            template=template,
        )
        return token_batch(rows)

    def count(self, text: str | Buffer, *, allow_special: bool = False) -> int:
        """How many ids the text has."""
        return len(self.encode_array(text, allow_special=allow_special))

    def encode_stream(self, chunks: Iterable[str | Buffer], *, allow_special: bool = False) -> Iterator[np.ndarray]:
        """int32 ids of a text of any length, as it comes: joined, those of `encode_array` of the whole.

        Memory holds one part of the text, some 64 KiB if it has blanks.

        Raises:
            DataError: 2 GiB without a place to cut.
            NotSupportedError: tokens of this tokenizer may depend on text that is far away.
        """
        check_streamable(self.pipeline, allow_special=allow_special)
        parts = cut_stream(map(flat_bytes, several(chunks, "chunks")))
        return (self._encode(part, allow_special) for part in parts)

    def encode_sampled(
        self,
        text: str,
        *,
        seed: int,
        dropout: float | None = None,
        alpha: float | None = None,
        allow_special: bool = False,
    ) -> list[int]:
        """Ids that the best segmentation gives but for chance: regularisation. The same seed gives the same ids.

        Args:
            dropout: of BPE (Provilkov et al. 2020) and WordPiece (Hiraoka 2022), the probability with which a merge or
                a match is passed over; 0.1 is usual.
            alpha: of Unigram (Kudo 2018), segmentations are drawn with their probability to this power; 0.1 is usual.

        Raises:
            ConfigError: a setting that the model has no use for, or that is out of range.
        """
        noise = Noise(seed, dropout, alpha)
        check_noise(self.pipeline.model, noise)
        return self._encode(text_bytes(text), allow_special, noise).tolist()

    def n_best(self, text: str, n: int) -> list[tuple[float, list[int]]]:
        """(log probability, ids) of the n best segmentations of a Unigram model, the best first.

        Raises:
            NotSupportedError: the model has no probabilities, or is not a sentencepiece one.
        """
        if not hasattr(self._engine, "n_best"):
            raise NotSupportedError(
                "the n best segmentations of this tokenizer", fix="use a sentencepiece unigram model"
            )
        return self._engine.n_best(text_bytes(text), n)

    def spans(self, text: str, *, allow_special: bool = False) -> list[tuple[int, int]]:
        """(start, end) in characters of the text, for each id of `encode`; see `encode_with_spans`."""
        return self.encode_with_spans(text, allow_special=allow_special)[1]

    def encode_with_spans(self, text: str, *, allow_special: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        """(ids, spans): span i holds the characters of which token i has at least one byte.

        Neighbours overlap by a character where a token ends inside one. These are the offsets of `tokenizers`.
        They are characters of the text as it was given, also where it was normalised.
        """
        data = text_bytes(text)
        ids, starts, ends = self._encode_with_spans(data, allow_special)
        found = spans.in_characters(data, starts, ends)
        if self.pipeline.trim_offsets:
            strings = [str(self.pipeline.strings[id]) for id in ids.tolist()]
            for step in self.pipeline.finish:
                if step.trim_offsets:
                    found = trimmed(strings, found, add_prefix_space=step.add_prefix_space)
        return ids.tolist(), spans.in_original(text, data, found)

    def decode(self, ids: Sequence[int] | np.ndarray, *, skip_special: bool = False) -> str:
        """The text of the ids; bytes that are not UTF-8 become U+FFFD.

        Raises:
            DataError: an id is not in the vocabulary.
        """
        if skip_special:
            special = set(self.special_tokens.values())
            ids = [id for id in ids if id not in special]
        if isinstance(self._decoder, TokenBytes):
            return self.decode_bytes(ids).decode("utf-8", "replace")
        return self._decoder.decode(whole_numbers(ids))

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes of the ids: with byte-level BPE exactly what was encoded.

        Raises:
            DataError: an id is not in the vocabulary.
        """
        if isinstance(self._decoder, TokenBytes):
            return self._decoder.decode(whole_numbers(ids))
        return self._decoder.decode_bytes(whole_numbers(ids))

    def stream(self) -> StreamDecoder | Stream:
        """A decoder that takes ids one at a time."""
        return StreamDecoder(self.id_to_bytes) if isinstance(self._decoder, TokenBytes) else self._decoder.stream()

    def fingerprint(self) -> str:
        """A SHA-256, equal for tokenizers that give equal ids because all their parts are equal."""
        return self._fingerprint

    @classmethod
    def train(
        cls,
        texts: Iterable[str | bytes],
        spec: TokenizerSpec | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        threads: int = 1,
        start: "Tokenizer | None" = None,
        **settings: Any,
    ) -> Self:
        """A tokenizer made from the texts, which are read once, one at a time.

        Args:
            spec: what to train, or its fields as keywords: `Tokenizer.train(texts, vocab_size=8000)`.
            progress: called as progress(merges done, merges wanted).
            threads: at work on counting; the result is the same for any number.
            start: a bpe tokenizer whose merges come first: training goes on from there, as if it had never stopped.

        Raises:
            ConfigError: a setting out of range or unknown, or one text in place of a list.
            DataError: no text, or too little for the vocabulary.
        """
        from textmill.tokenizers import training

        spec = training.resolve(spec, settings)
        first = None if start is None else start.pipeline
        return cls(training.train(several(texts), spec, progress, threads=threads, start=first))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a folder that `transformers.AutoTokenizer` opens, or, to a path ending in .json, tokenizer.json alone.

        Raises:
            OutputError: the path can't be written.
        """
        files.save(self.pipeline, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, split: str | None = None) -> Self:
        """The tokenizer in a folder, a tokenizer.json, a .tiktoken file, or a folder with vocab.json and merges.txt.

        Args:
            split: the splitting pattern, for the formats that don't hold it.

        Raises:
            FormatError: missing or malformed.
            NotSupportedError: a format, or a part of it, that is not implemented.
        """
        with files.collector_paused():
            return cls(files.load(Path(path), split))

    @classmethod
    def from_tiktoken(
        cls,
        path: str | os.PathLike[str],
        *,
        split: str | None = None,
        special_tokens: dict[str, int] | None = None,
    ) -> Self:
        """The tokenizer of a tiktoken rank file; split and special tokens come from the file's name, or as given."""
        from textmill.tokenizers.tiktoken_format import read_tiktoken

        return cls(read_tiktoken(Path(path), split=split, special_tokens=special_tokens))

    @functools.cached_property
    def _decoder(self) -> TokenBytes | Decoder:
        return decoder_of(self.pipeline)

    @functools.cached_property
    def _fingerprint(self) -> str:
        with files.collector_paused():
            return fingerprint(self.pipeline)

    @functools.cached_property
    def _ids_of_bytes(self) -> dict[bytes, int]:
        known = (id for id, token in enumerate(self.pipeline.strings) if token is not None)
        return {self.id_to_bytes(id): id for id in known}

    def _encode(self, data: Buffer, allow_special: bool, noise: Noise | None = None) -> np.ndarray:
        finder = self._finders[allow_special]
        if finder is None:
            return joined_ids(self._engine.encode(data, Place(True, allow_special, noise)))
        blocks = []
        for start, stop, id in finder.cut(data, 0, len(data), allow_special=allow_special):
            if id == TEXT:
                blocks += self._engine.encode(data[start:stop], Place(start == 0, allow_special, noise))
            else:
                blocks.append(np.array([id], dtype=np.int32))
        return joined_ids(blocks)

    def _encode_with_spans(self, data: Buffer, allow_special: bool) -> Spans:
        finder = self._finders[allow_special]
        if finder is None:
            return self._engine.encode_with_spans(data, Place(True, allow_special))
        rows = []
        for start, stop, id in finder.cut(data, 0, len(data), allow_special=allow_special):
            if id == TEXT:
                ids, starts, ends = self._engine.encode_with_spans(data[start:stop], Place(start == 0, allow_special))
                rows.append((ids, starts + start, ends + start))
            else:
                rows.append((np.array([id], dtype=np.int32), np.array([start]), np.array([stop])))
        return joined_spans(rows)
