"""`Tokenizer`: text to ids and back."""

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import TokenBytes
from textmill.tokenizers import files, spans
from textmill.tokenizers.decoding import Decoder, Stream
from textmill.tokenizers.engines import Place, Spans, engine_of, joined_spans
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, Kind, UnigramModel
from textmill.tokenizers.pipeline import TEXT, AddedTokenFinder, Buffer, Pipeline, fingerprint, utf8
from textmill.tokenizers.spec import TokenizerSpec
from textmill.tokenizers.steps import DecodeByteLevel
from textmill.tokenizers.streaming import StreamDecoder


class Tokenizer:
    """Text <-> ids. Owns the vocabulary; immutable, safe to share between threads and forked processes.

    A special token's string inside a text is plain text, unless `allow_special=True` is said: a text from a stranger
    cannot end a document. Added tokens that are not special are always found.

    Text that is not valid UTF-8, given as bytes, is encoded and decoded without loss. A lone surrogate in a `str`
    counts as U+FFFD.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._decoder = _decoder_of(pipeline)
        self._engine = engine_of(pipeline)
        raw = [token for token in pipeline.added if not token.normalized]
        plain = [token for token in raw if not token.special]
        # [allow_special]: the tokens looked for before normalisation; None if there are none
        self._finders = [AddedTokenFinder(tokens) if tokens else None for tokens in (plain, raw)]

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Pipeline]]:
        return type(self), (self.pipeline,)

    def __repr__(self) -> str:
        model = type(self.pipeline.model).__name__.removesuffix("Model")
        return f"Tokenizer({model}, vocab_size={self.vocab_size})"

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: the rows that a model's embedding needs."""
        return len(self.pipeline.strings)

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
        """The ids of the text."""
        return self._encode(utf8(text), allow_special).tolist()

    def encode_batch(self, texts: Iterable[str], *, allow_special: bool = False) -> list[list[int]]:
        """The ids of each text."""
        return [self._encode(utf8(text), allow_special).tolist() for text in texts]

    def encode_array(self, data: str | Buffer, *, allow_special: bool = False) -> np.ndarray:
        """int32 ids of UTF-8 data: the fast path. Releases the GIL while it works.

        Raises:
            DataError: 2 GiB or more in one text.
        """
        return self._encode(utf8(data) if isinstance(data, str) else _flat(data), allow_special)

    def encode_documents(
        self, documents: Iterable[Buffer], *, allow_special: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets): document i has ids[offsets[i]:offsets[i + 1]]."""
        arrays = [self._encode(_flat(document), allow_special) for document in documents]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return _joined(arrays), offsets

    def spans(self, text: str, *, allow_special: bool = False) -> list[tuple[int, int]]:
        """(start, end) in characters of the text, for each id of `encode`; see `encode_with_spans`."""
        return self.encode_with_spans(text, allow_special=allow_special)[1]

    def encode_with_spans(self, text: str, *, allow_special: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        """(ids, spans): span i holds the characters of which token i has at least one byte.

        Neighbours overlap by a character where a token ends inside one. These are the offsets of `tokenizers`.
        They are characters of the text as it was given, also where it was normalised.
        """
        data = utf8(text)
        ids, starts, ends = self._encode_with_spans(data, allow_special)
        if self.pipeline.trim_offsets:
            found = spans.trimmed(data, ids, starts, ends, self._added_strings)
        else:
            found = spans.in_characters(data, starts, ends)
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
        return self._decoder.decode(_whole_numbers(ids))

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes of the ids: with byte-level BPE exactly what was encoded.

        Raises:
            DataError: an id is not in the vocabulary.
        """
        if isinstance(self._decoder, TokenBytes):
            return self._decoder.decode(_whole_numbers(ids))
        return self._decoder.decode_bytes(_whole_numbers(ids))

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
        **settings: Any,
    ) -> Self:
        """A tokenizer made from the texts, which are read once, one at a time.

        Args:
            spec: what to train, or its fields as keywords: `Tokenizer.train(texts, vocab_size=8000)`.
            progress: called as progress(merges done, merges wanted).

        Raises:
            ConfigError: a setting out of range or unknown.
            DataError: no text, or too little for the vocabulary.
        """
        from textmill.tokenizers import training

        return cls(training.train(texts, training.resolve(spec, settings), progress))

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
    def _fingerprint(self) -> str:
        return fingerprint(self.pipeline)

    @functools.cached_property
    def _ids_of_bytes(self) -> dict[bytes, int]:
        known = (id for id, token in enumerate(self.pipeline.strings) if token is not None)
        return {self.id_to_bytes(id): id for id in known}

    @functools.cached_property
    def _added_strings(self) -> dict[int, str]:
        return {token.id: token.content for token in self.pipeline.added}

    def _encode(self, data: Buffer, allow_special: bool) -> np.ndarray:
        finder = self._finders[allow_special]
        if finder is None:
            return _joined(self._engine.encode(data, Place(True, allow_special)))
        blocks = []
        for start, stop, id in finder.cut(data, 0, len(data)):
            if id == TEXT:
                blocks += self._engine.encode(data[start:stop], Place(start == 0, allow_special))
            else:
                blocks.append(np.array([id], dtype=np.int32))
        return _joined(blocks)

    def _encode_with_spans(self, data: Buffer, allow_special: bool) -> Spans:
        finder = self._finders[allow_special]
        if finder is None:
            return self._engine.encode_with_spans(data, Place(True, allow_special))
        rows = []
        for start, stop, id in finder.cut(data, 0, len(data)):
            if id == TEXT:
                ids, starts, ends = self._engine.encode_with_spans(data[start:stop], Place(start == 0, allow_special))
                rows.append((ids, starts + start, ends + start))
            else:
                rows.append((np.array([id], dtype=np.int32), np.array([start]), np.array([stop])))
        return joined_spans(rows)


def _decoder_of(pipeline: Pipeline) -> TokenBytes | Decoder:
    if isinstance(pipeline.model, BpeModel) and pipeline.decoders == (DecodeByteLevel(),):
        return TokenBytes(pipeline.token_bytes)
    kinds: dict[int, Kind] = {}
    if isinstance(pipeline.model, UnigramModel):
        kinds = dict(pipeline.model.kinds)
    elif isinstance(pipeline.model, CharacterBpeModel):
        kinds = {pipeline.model.tokens[token]: kind for token, kind in pipeline.model.kinds.items()}
    added = {token.id: token.content for token in pipeline.added}
    return Decoder(pipeline.strings, pipeline.decoders, added=added, kinds=kinds)


def _whole_numbers(ids: Sequence[int] | np.ndarray) -> np.ndarray:
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise DataError(f"ids must be whole numbers of 64 bits, got {array.dtype}", fix="give token ids")
    return array.astype(np.int64, copy=False).ravel()


def _flat(data: Buffer) -> Buffer:
    """The data as bytes, or as a view whose elements are bytes."""
    if isinstance(data, memoryview) and data.format == "B" and data.ndim == 1 and data.c_contiguous:
        return data
    return bytes(data)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int32)
