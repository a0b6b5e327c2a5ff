"""Judging tokenizers: measured on a text, and side by side."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from textmill.errors import DataError
from textmill.metrics.token_groups import vocabulary_groups
from textmill.metrics.tokenizer import longest_tokens
from textmill.metrics.tokens import BYTE, SPECIAL, UNKNOWN, never_used, tally, text_figures, tiles
from textmill.report.judgement import Cell, CellKind, Comparison, Judgement
from textmill.tasks.reachable import kinds_of_ids, surface, unreachable_tokens
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel, WordPieceModel, WordsModel

NUM_SAMPLES = 6
NUM_LONGEST = 24
_SAMPLE_CHARACTERS = (24, 150)
_NUM_RANKS = 200
_NUM_EXAMPLES = 12
_SECONDS_TO_MEASURE = 0.3
_MOST_PASSES = 20


def algorithm_of(tokenizer: Tokenizer) -> str:
    """The algorithm, for people."""
    match tokenizer.pipeline.model:
        case BpeModel():
            return "byte-level BPE"
        case CharacterBpeModel(byte_fallback=fallback):
            return "BPE of characters" + (", byte fallback" if fallback else "")
        case WordPieceModel():
            return "WordPiece"
        case UnigramModel(byte_fallback=fallback):
            return "Unigram" + (", byte fallback" if fallback else "")
        case WordsModel():
            return "words"


def judge(tokenizer: Tokenizer, documents: Sequence[bytes], *, name: str, alpha: float = 2.5) -> Judgement:
    """All figures of a tokenizer on documents in UTF-8. Special tokens in them are text.

    Raises:
        DataError: the documents have no words.
    """
    kinds = kinds_of_ids(tokenizer)
    nothing = np.zeros(0, np.int64)
    counted = tally(b"", nothing, nothing, nothing, kinds)
    for document in documents:
        ids, starts, ends = tokenizer.encode_spans_array(document, unit="bytes")
        counted += tally(document, ids, starts, ends, kinds)
    figures = text_figures(counted, alpha=alpha)
    vocabulary = vocabulary_bytes(tokenizer)
    unreachable = unreachable_tokens(tokenizer).tolist()
    ranked = np.sort(counted.counts[counted.counts > 0])[::-1]
    ranks = np.unique(np.geomspace(1, len(ranked), min(len(ranked), _NUM_RANKS)).astype(np.int64))
    return Judgement(
        name=name,
        algorithm=algorithm_of(tokenizer),
        vocab_size=tokenizer.vocab_size,
        figures=figures,
        never_used=len(never_used(counted.counts)),
        unreachable=len(unreachable),
        unreachable_examples=tuple(tokenizer.id_to_token(id) for id in unreachable[:_NUM_EXAMPLES]),
        megabytes_per_second=figures.num_bytes / 1e6 / seconds_to_encode(tokenizer, documents),
        vocabulary_groups=vocabulary_groups(vocabulary),
        length_counts=tuple(np.bincount([len(token) for token in vocabulary]).tolist()),
        rank_counts=tuple((int(rank), int(ranked[rank - 1])) for rank in ranks),
        longest=tuple(token.decode("utf-8", "replace") for token in longest_tokens(vocabulary, NUM_LONGEST)),
    )


def vocabulary_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The text of each token, those without text (special tokens, the unknown one, holes in the ids) left out."""
    kinds, strings = kinds_of_ids(tokenizer), tokenizer.pipeline.strings
    kept = np.flatnonzero((kinds != SPECIAL) & (kinds != UNKNOWN)).tolist()
    return [surface(tokenizer, id) for id in kept if strings[id] is not None]


def seconds_to_encode(tokenizer: Tokenizer, documents: Sequence[bytes]) -> float:
    """How long it takes to encode the documents on one thread, the fastest of several passes after a first one."""
    tokenizer.encode_documents(documents)
    fastest, spent, passes = float("inf"), 0.0, 0
    while passes == 0 or (spent < _SECONDS_TO_MEASURE and passes < _MOST_PASSES):
        begun = time.perf_counter()
        tokenizer.encode_documents(documents)
        took = time.perf_counter() - begun
        fastest, spent, passes = min(fastest, took), spent + took, passes + 1
    return max(fastest, 1e-9)


def compare(
    tokenizers: Mapping[str, Tokenizer],
    documents: Sequence[bytes],
    *,
    text: str,
    alpha: float = 2.5,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Comparison:
    """Tokenizers, by name, on the same documents. `text` names the documents for people.

    Raises:
        DataError: no tokenizer, or no words.
    """
    if not tokenizers:
        raise DataError("there must be a tokenizer to judge, got none", fix="name one or more")
    judgements = []
    for number, (name, tokenizer) in enumerate(tokenizers.items()):
        progress(number, len(tokenizers))
        judgements.append(judge(tokenizer, documents, name=name, alpha=alpha))
    progress(len(tokenizers), len(tokenizers))
    lines = sample_lines(documents)
    return Comparison(
        text=text,
        num_bytes=sum(map(len, documents)),
        judgements=tuple(judgements),
        samples=tuple(side_by_side([cells(one, line) for one in tokenizers.values()]) for line in lines),
    )


def sample_lines(documents: Sequence[bytes], num: int = NUM_SAMPLES) -> list[str]:
    """Lines from documents all over the text, neither short nor long; long ones are cut after a word."""
    least, most = _SAMPLE_CHARACTERS
    found: dict[str, None] = {}
    places = np.linspace(0, len(documents) - 1, min(4 * num, len(documents))).astype(np.int64).tolist()
    for place in places:
        lines = [line.strip() for line in documents[place].decode("utf-8", "replace").split("\n")]
        longest_first = sorted((line for line in lines if line), key=lambda line: -min(len(line), least))
        found |= dict.fromkeys(_cut(line, most) for line in longest_first[: 1 if len(documents) >= num else num])
    lines = list(found)
    chosen = np.linspace(0, len(lines) - 1, min(num, len(lines))).astype(np.int64).tolist()
    return [lines[place] for place in chosen]


def _cut(line: str, most: int) -> str:
    if len(line) <= most:
        return line
    end = line.rfind(" ", 0, most)
    return line[: end if end > most // 2 else most]


def cells(tokenizer: Tokenizer, text: str, *, allow_special: bool = False) -> tuple[Cell, ...]:
    """The tokens of a text, each with the characters that begin in it. What no token stands for goes with the next."""
    kinds = kinds_of_ids(tokenizer)
    data = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    text = data.decode()
    ids, starts, ends = tokenizer.encode_spans_array(data, unit="bytes", allow_special=allow_special)
    begins: np.ndarray = np.concatenate([(np.frombuffer(data, np.uint8) & 0xC0) != 0x80, [True]])
    # entry b is the number of characters that begin before byte b
    before = np.concatenate([[0], np.cumsum(begins)])
    bounds = tiles(ends, len(data))
    inside = (ends > starts) & ~(begins[np.minimum(starts, len(data))] & begins[np.minimum(ends, len(data))])
    found = []
    for i, id in enumerate(ids.tolist()):
        start, end = int(bounds[i]), int(bounds[i + 1])
        kind: CellKind = "part" if inside[i] or kinds[id] == BYTE else "text"
        if kinds[id] in (UNKNOWN, SPECIAL):
            kind = "unknown" if kinds[id] == UNKNOWN else "special"
        found.append(
            Cell(
                id=id,
                spelling=tokenizer.id_to_token(id),
                text=text[before[start] : before[end]],
                data=tokenizer.id_to_bytes(id),
                start=start,
                end=end,
                kind=kind,
            )
        )
    return tuple(found)


def side_by_side(rows: Sequence[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """The rows with the cells marked that differ: the first row's from any other row, the others' from the first."""
    places: list[set[tuple[int, int]]] = [{(cell.start, cell.end) for cell in row} for row in rows]
    common = set.intersection(*places) if places else set()
    marked = []
    for number, row in enumerate(rows):
        same = common if number == 0 else places[0]
        marked.append(tuple(dataclasses.replace(cell, differs=(cell.start, cell.end) not in same) for cell in row))
    return tuple(marked)
