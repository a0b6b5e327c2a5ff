"""The parts of a tokenizer as plain data: what the file formats read and write, and what `Tokenizer` runs.

text -> added tokens cut out -> normalised -> normalised added tokens cut out -> split into pieces -> model -> ids
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

from textmill.errors import FormatError
from textmill.tokenizers.byte_level import to_bytes, to_characters
from textmill.tokenizers.models import BpeModel, Model, UnigramModel, WordPieceModel, WordsModel, tokens_of
from textmill.tokenizers.steps import (
    ByteLevel,
    ByteLevelOffsets,
    DecodeByteLevel,
    Decoder,
    Finish,
    Normalizer,
    Padding,
    Pattern,
    Split,
    Truncation,
)

MOST_IDS = 1 << 24
"""An id this large is a damaged file: the tables are as long as the largest id."""

Buffer = bytes | memoryview
Part = tuple[int, int, int]
"""(start, stop, id) in bytes: an added token, or `TEXT` between added tokens."""
TEXT = -1

KNOWN_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
WHOLE = r"[\s\S]+"
"""The pattern that does not split."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A string with an id of its own, found in the text before the text is split."""

    content: str
    id: int
    special: bool = True
    """Special tokens are found only on request: in untrusted text they are text."""
    normalized: bool = False
    """Looked for in the normalised text, after those that are looked for in the text as it is."""
    single_word: bool = False
    """Found only where no word character stands beside it."""
    lstrip: bool = False
    """Takes the white space before it along."""
    rstrip: bool = False
    """Takes the white space after it along."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline:
    """All there is to know about a tokenizer."""

    model: Model
    normalizers: tuple[Normalizer, ...] = ()
    """In the order in which they are applied."""
    splits: tuple[Split, ...] = ()
    added: tuple[AddedToken, ...] = ()
    finish: tuple[Finish, ...] = ()
    """What is done to the ids: a template around them, spans trimmed."""
    decoders: tuple[Decoder, ...] = ()
    truncation: Truncation | None = None
    """Of `Tokenizer.batch`, where the caller says nothing else."""
    padding: Padding | None = None
    """Of `Tokenizer.batch`, where the caller says nothing else."""
    end_of_text: str | None = None
    """The special token that ends a text."""

    @functools.cached_property
    def vocab_size(self) -> int:
        """One more than the largest id.

        Raises:
            FormatError: as `strings` does.
        """
        ids = self._distinct_ids()
        if ids is None or (ids and not 0 <= min(ids) <= max(ids) < MOST_IDS):
            # the table names what is wrong, if anything is
            return len(self.strings)
        return max(ids, default=-1) + 1

    def _distinct_ids(self) -> set[int] | None:
        """All ids, where a glance shows that each is one token's; None: it takes a look at the tokens' strings."""
        model = self.model
        byte_level = isinstance(model, BpeModel)
        tokens: Mapping[Any, int] = model.tokens if isinstance(model, BpeModel) else tokens_of(model)
        ids = set(range(len(model.pieces)) if isinstance(model, UnigramModel) else tokens.values())
        if len(ids) < len(tokens):
            return None
        contents: dict[str, int] = {}
        for token in self.added:
            content, id = token.content, token.id
            named = tokens.get(to_bytes(content) if byte_level else content, id)
            is_known = tokens.get(content.encode() if byte_level else content) == id
            if not id == named == contents.setdefault(content, id) or (id in ids and not is_known):
                return None
        added = set(contents.values())
        return ids | added if len(added) == len(contents) else None

    @functools.cached_property
    def strings(self) -> list[str | None]:
        """The spelling of each id, as in the Hugging Face vocabulary; None where the ids have a hole.

        Raises:
            FormatError: two tokens share an id, an id is out of range, or an added token is named like another one.
        """
        vocabulary = tokens_of(self.model)
        contents: dict[str, int] = {}
        for token in self.added:
            # in files a token is known by its string, so that string must have one id
            same = vocabulary.get(token.content, token.id)
            if not token.id == same == contents.setdefault(token.content, token.id):
                raise FormatError(f"the added token {token.content!r} with id {token.id} stands there with another id")
        pieces = self.model.pieces if isinstance(self.model, UnigramModel) else ()
        # a piece that stands twice has two ids, of which `tokens_of` knows the first
        named = [(piece, id) for id, (piece, _) in enumerate(pieces)] or list(vocabulary.items())
        byte_level = isinstance(self.model, BpeModel)
        largest = max((id for _, id in [*named, *contents.items()]), default=-1)
        smallest = min((id for _, id in [*named, *contents.items()]), default=0)
        if largest >= MOST_IDS or smallest < 0:
            wrong = largest if largest >= MOST_IDS else smallest
            raise FormatError(f"ids must be from 0 to {MOST_IDS - 1}, the vocabulary has {wrong}")
        table: list[str | None] = [None] * (largest + 1)
        for string, id in named:
            if table[id] not in (None, string):
                first, second = (to_bytes(str(table[id])), to_bytes(string)) if byte_level else (table[id], string)
                raise FormatError(f"the tokens {first!r} and {second!r} have the same id {id}")
            table[id] = string
        for content, id in contents.items():
            # the model's token with this id, if there is one, stands for the same text
            if table[id] not in (None, to_characters(content.encode()) if byte_level else content):
                first, second = (to_bytes(str(table[id])), content.encode()) if byte_level else (table[id], content)
                raise FormatError(f"the tokens {first!r} and {second!r} have the same id {id}")
            table[id] = content
        return table

    @functools.cached_property
    def token_bytes(self) -> list[bytes | None]:
        """Of a byte-level tokenizer, the bytes of each id; None where the ids have a hole.

        Raises:
            FormatError: as `strings` does.
        """
        assert isinstance(self.model, BpeModel)
        table: list[bytes | None] = [None] * len(self.strings)
        for token, id in self.model.tokens.items():
            table[id] = token
        for added in self.added:
            table[added.id] = added.content.encode()
        return table

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """Id of each token by its string, as in the Hugging Face vocabulary: byte-level, added tokens as they are."""
        return {**tokens_of(self.model), **{token.content: token.id for token in self.added}}

    @property
    def special_tokens(self) -> dict[str, int]:
        return {token.content: token.id for token in self.added if token.special}

    @property
    def matched_model(self) -> Model:
        """The model without the special tokens among its words: what stands in a text is never one of them."""
        model = self.model
        if not isinstance(model, WordPieceModel | WordsModel):
            return model
        special = {token.content for token in self.added if token.special} - {model.unknown}
        if special.isdisjoint(model.tokens):
            return model
        return dataclasses.replace(model, tokens={word: id for word, id in model.tokens.items() if word not in special})

    @property
    def byte_level_split(self) -> str | None:
        """The splitting pattern of a byte-level tokenizer that has one pattern alone: a name or a regular expression.

        None: it is not byte-level, or its splitting is more than a pattern.
        """
        if isinstance(self.model, BpeModel):
            match self.splits:
                case (ByteLevel(add_prefix_space=False, use_regex=use_regex),):
                    return "gpt2" if use_regex else WHOLE
                case (Pattern() as step, ByteLevel(add_prefix_space=False, use_regex=False)):
                    return step.pattern if step == Pattern(pattern=step.pattern) else None
                case (Pattern(), Pattern(), Pattern(), ByteLevel(add_prefix_space=False, use_regex=False)):
                    return self._deepseek()
        return None

    def _deepseek(self) -> str | None:
        """The name of the pattern that does the same as DeepSeek's three splits, if those are the first three."""
        from textmill.ops.split.reference import DEEPSEEK_STEPS

        return "deepseek" if self.splits[:3] == tuple(Pattern(pattern=step) for step in DEEPSEEK_STEPS) else None

    @property
    def trim_offsets(self) -> bool:
        """Whether spans leave out a token's blanks at both ends."""
        return any(step.trim_offsets for step in self.finish)

    def find_end_of_text(self) -> "Pipeline":
        """The same with `end_of_text` set, if it was not and a special token has one of the customary names."""
        special = self.special_tokens
        known = [name for name in KNOWN_END_OF_TEXT if name in special]
        return dataclasses.replace(self, end_of_text=known[0]) if known and self.end_of_text is None else self


def byte_level(
    model: BpeModel,
    split: str,
    *,
    added: tuple[AddedToken, ...] = (),
    trim_offsets: bool = False,
    end_of_text: str | None = None,
) -> Pipeline:
    """A byte-level tokenizer whose pieces come from one pattern: a name or a regular expression."""
    marker = ByteLevel(use_regex=False)
    return Pipeline(
        model=model,
        splits=(ByteLevel(),) if split == "gpt2" else (Pattern(pattern=split), marker),
        added=added,
        finish=(ByteLevelOffsets(trim_offsets=trim_offsets, add_prefix_space=False),),
        decoders=(DecodeByteLevel(),),
        end_of_text=end_of_text,
    )


def fingerprint(pipeline: Pipeline) -> str:
    """A SHA-256, equal for pipelines whose parts are all equal, however they are spelled."""
    from textmill.ops.split import splitter

    def canonical(value: Any) -> Any:
        # mappings by id: the order in which a file lists its tokens means nothing
        if isinstance(value, Mapping):
            ids = list(map(str, value.values()))
            names = map(str, value) if len(set(ids)) < len(ids) else repeat("", len(ids))
            return [item for _, _, item in sorted(zip(ids, names, value.items(), strict=True), key=itemgetter(0, 1))]
        if isinstance(value, Pattern) and value.is_regex:
            # the same pattern may go by its name or be written out in several ways
            value = dataclasses.replace(value, pattern=splitter(value.pattern).name or value.pattern)
        if dataclasses.is_dataclass(value):
            fields = [(field.name, canonical(getattr(value, field.name))) for field in dataclasses.fields(value)]
            return [type(value).__name__, fields]
        if not isinstance(value, list | tuple):
            return value
        # merges are tens of thousands of pairs of strings or bytes, and plain
        pairs = set(map(type, value)) == {tuple} and set(map(type, chain.from_iterable(value))) <= {str, bytes}
        return list(map(list, value)) if pairs else [canonical(item) for item in value]

    return hashlib.sha256(repr(canonical(pipeline)).encode()).hexdigest()


def utf8(text: str) -> bytes:
    r"""The text as UTF-8. Surrogates that pair up become their character, the others U+FFFD, as in tiktoken.

    >>> utf8("a\ud83d\ude00\ud83d").decode()
    'a😀�'
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
