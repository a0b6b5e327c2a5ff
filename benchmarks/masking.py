"""Masked tokens in a batch, one thread: the kernel, BERT's algorithm in plain Python, and transformers' collator.

All sides hide 15 % of the same English sequences of WordPiece tokens, 80/10/10; but the collator always writes the mask
over whole words, and there ours does, too. Each side is timed by the seconds of
its thread, and says what share it chose and what it wrote there before anything is timed.
"""

import random
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from benchmarks import texts
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side

ABOUT = "masked-language-model batches, single tokens and whole words, one thread"
GOALS = (
    "BERT's algorithm in plain Python: at least 50x, single tokens and whole words",
    "transformers' DataCollatorForLanguageModeling: at least 150x on single tokens",
    "the same with whole_word_mask: at least 400x",
)

LENGTH = 128
FRACTION = 0.15
VOCABULARY = 8192

Rows = list[list[int]]
Figures = tuple[float, float, float, float]
"""What each side says of its output: the shares chosen, masked, kept and random."""


def comparisons(options: Options) -> Iterator[Comparison]:
    num_rows = 64 if options.quick else 1024
    tokenizer, rows, spans = _data(num_rows)
    goals = {"token": 150.0, "whole_word": 400.0}
    for unit, collator_goal in goals.items():
        for name, goal, (work, other) in (
            ("plain Python", 50.0, _plain(tokenizer, rows, unit)),
            ("transformers", collator_goal, _collator(tokenizer, rows, spans, unit)),
        ):
            always = unit == "whole_word" and name == "transformers"
            ours, figures = _ours(tokenizer, rows, unit, always)
            yield Comparison(
                name=f"masking, {unit.replace('_', ' ')}, against {name}",
                goal=Goal(kind="times", value=goal),
                ours=Side(name="textmill", measure=_of_thread(ours, 20)),
                peer=Side(name=name, measure=_of_thread(work, 1)),
                check=_check(figures, other),
                sizes={"tokens": num_rows * LENGTH, "sequence": LENGTH},
            )


def _check(ours: Callable[[], Figures], peer: Callable[[], Figures]) -> Callable[[], None]:
    def check() -> None:
        mine, other = ours(), peer()
        for name, first, second in zip(("chosen", "masked", "kept", "random"), mine, other, strict=True):
            # 64 sequences hold 1,200 chosen tokens: three standard deviations
            if abs(first - second) > 0.035:
                raise RefusedError(f"share {name}: {first:.3f} by textmill, {second:.3f} by the other")

    return check


def _of_thread(work: Callable[[], Any], times: int) -> Callable[[], float]:
    """Seconds of this thread that one call takes, of `times` calls in a row."""

    def measure() -> float:
        begun = time.thread_time()
        for _ in range(times):
            work()
        return (time.thread_time() - begun) / times

    return measure


@cache
def _tokenizer() -> Any:
    from textmill import Tokenizer
    from textmill.tokenizers import TokenizerSpec

    text = texts.text("english", 2_000_000).decode(errors="ignore")
    return Tokenizer.train([text], spec=TokenizerSpec(algorithm="wordpiece", vocab_size=VOCABULARY))


def _data(num_rows: int) -> tuple[Any, Rows, list[list[tuple[int, int]]]]:
    """(tokenizer, sequences between [CLS] and [SEP], where each token stands in its text)."""
    tokenizer = _tokenizer()
    text = texts.text("english", 2_000_000).decode(errors="ignore")
    ids, spans = tokenizer.encode_with_spans(text[: 12 * LENGTH * num_rows])
    first, last = tokenizer.special_tokens["[CLS]"], tokenizer.special_tokens["[SEP]"]
    inner = LENGTH - 2
    if len(ids) < inner * num_rows:
        raise RefusedError(f"the text gives {len(ids)} tokens, {inner * num_rows} are needed")
    parts = [slice(begin, begin + inner) for begin in range(0, inner * num_rows, inner)]
    return (
        tokenizer,
        [[first, *ids[part], last] for part in parts],
        [[(0, 0), *spans[part], (0, 0)] for part in parts],
    )


def _figures(tokenizer: Any, seen: np.ndarray, places: np.ndarray, targets: np.ndarray) -> Figures:
    """Shares of what was made: of all tokens chosen, of the chosen masked, kept and random."""
    masked, kept = seen[places] == tokenizer.special_tokens["[MASK]"], seen[places] == targets
    if np.isin(targets, list(tokenizer.special_tokens.values())).any():
        raise RefusedError("a special token was chosen")
    random_share = 1 - masked.mean() - kept.mean()
    return len(places) / seen.size, float(masked.mean()), float(kept.mean()), float(random_share)


def _ours(
    tokenizer: Any, rows: Rows, unit: Any, always_masked: bool
) -> tuple[Callable[[], Any], Callable[[], Figures]]:
    from textmill.data.masking_spec import MaskingSpec
    from textmill.data.masking_vocabulary import MaskingVocabulary
    from textmill.ops.masking import Masker, row_keys

    mask_share, random_share = (1.0, 0.0) if always_masked else (0.8, 0.1)
    spec = MaskingSpec(unit=unit, fraction=FRACTION, mask_share=mask_share, random_share=random_share)
    masker = Masker(MaskingVocabulary.of(tokenizer).rules(spec))
    tokens = np.array(rows, np.int64).reshape(-1)
    starts = np.arange(len(rows) + 1) * LENGTH

    def work() -> Any:
        return masker(tokens, starts, row_keys(0, 0, np.arange(len(rows))))

    return work, lambda: _figures(tokenizer, *work())


def _plain(tokenizer: Any, rows: Rows, unit: str) -> tuple[Callable[[], Any], Callable[[], Figures]]:
    """BERT's algorithm as a Python programmer writes it, with Python's own random numbers."""
    special = set(tokenizer.special_tokens.values())
    ordinary = [id for id in range(tokenizer.vocab_size) if id not in special]
    continues = {id for id in ordinary if tokenizer.id_to_token(id).startswith("##")} if unit == "whole_word" else set()
    mask = tokenizer.special_tokens["[MASK]"]

    def masked(row: list[int], draws: random.Random) -> tuple[list[int], list[int], list[int]]:
        units: list[list[int]] = []
        for place, token in enumerate(row):
            if token in special:
                continue
            if token in continues and units:
                units[-1].append(place)
            else:
                units.append([place])
        draws.shuffle(units)
        wanted = max(1, round(len(row) * FRACTION))
        seen, places = list(row), list[int]()
        for own in units:
            if len(places) >= wanted:
                break
            if len(places) + len(own) > wanted:
                continue
            for place in own:
                places.append(place)
                if draws.random() < 0.8:
                    seen[place] = mask
                elif draws.random() >= 0.5:
                    seen[place] = ordinary[draws.randrange(len(ordinary))]
        places.sort()
        return seen, places, [row[place] for place in places]

    def work() -> list[tuple[list[int], list[int], list[int]]]:
        draws = random.Random(0)
        return [masked(row, draws) for row in rows]

    def figures() -> Figures:
        made = work()
        places = [number * LENGTH + place for number, (_, own, _) in enumerate(made) for place in own]
        seen, targets = (np.array([id for each in made for id in each[part]]) for part in (0, 2))
        return _figures(tokenizer, seen, np.array(places), targets)

    return work, figures


def _collator(
    tokenizer: Any, rows: Rows, spans: list[list[tuple[int, int]]], unit: str
) -> tuple[Callable[[], Any], Callable[[], Figures]]:
    """Lists of ids in, a batch out, as a DataLoader calls it."""
    import tempfile
    from pathlib import Path

    import torch
    from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.txt"
        vocabulary.write_text("\n".join(map(tokenizer.id_to_token, range(tokenizer.vocab_size))) + "\n", "utf-8")
        peer = BertTokenizerFast(vocab_file=str(vocabulary), do_lower_case=True)
    words = unit == "whole_word"
    # it warns that it does not replace words by random ones
    warnings.filterwarnings("ignore", message="Random token replacement is not supported")
    collate = DataCollatorForLanguageModeling(peer, mlm_probability=FRACTION, whole_word_mask=words, seed=0)
    edges = [1] + [0] * (LENGTH - 2) + [1]
    offsets = [{"offset_mapping": own} for own in spans] if words else [{}] * len(rows)
    examples = [{"input_ids": row, "special_tokens_mask": edges, **own} for row, own in zip(rows, offsets, strict=True)]

    def work() -> Any:
        return collate([dict(example) for example in examples])

    def figures() -> Figures:
        made = work()
        labels, seen = made["labels"].numpy().reshape(-1), made["input_ids"].numpy().reshape(-1)
        places = np.flatnonzero(labels != -100)
        return _figures(tokenizer, seen, places, labels[places])

    return work, figures
