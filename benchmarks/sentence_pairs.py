"""BERT's pre-training instances, next-sentence pairs with masked tokens, from ids: tokens a second in one thread.

The peer is the definition of both in plain Python on lists of ids, with Python's own random numbers: what BERT's
program does, but for tokenizing, padding and writing. Both sides end in the same arrays, batch by batch. Before
that, they must agree on the share of random next sentences, the mean length and the number of masked tokens.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, timed
from textmill.data.masking_spec import MaskingSpec
from textmill.data.masking_vocabulary import MaskingVocabulary
from textmill.data.pairs import PairBatches, PairSpec
from textmill.data.ragged import RaggedBatch
from textmill.data.sentences import sentence_table
from textmill.data.shards import TokenShards
from textmill.data.writer import writing_shards
from textmill.ops.masking import SPECIAL

ABOUT = "BERT's instances (next-sentence pairs of 128, masked), one thread, against the definition in plain Python"
GOALS = ("plain Python: at least 50x",)

VOCAB_SIZE, CLS, SEP, MASK, FIRST_WORD = 30_000, 2, 3, 4, 5
LENGTH, PREDICTIONS, FRACTION, SHORT = 128, 20, 0.15, 0.1
BATCH = 256
Document = list[list[int]]
Instance = tuple[list[int], list[int], list[int], list[int], int]
"""(ids, types, places, targets, label)"""


def comparisons(options: Options) -> Iterator[Comparison]:
    folder = Path(tempfile.mkdtemp()) / "shards"
    documents = corpus(200 if options.quick else 3000)
    write(documents, folder)
    batches = batches_of(TokenShards.open(folder))
    steps = -(-batches.pairs_in(0) // BATCH)
    num_tokens = sum(len(sentence) for document in documents for sentence in document)
    yield Comparison(
        name="sentence pairs with masks",
        goal=Goal(kind="times", value=50),
        ours=Side(name="textmill", measure=timed(lambda: [batches.batch(step) for step in range(steps)])),
        peer=Side(name="plain Python", measure=timed(lambda: plain_batches(plain_copy(documents, random.Random(1))))),
        check=lambda: check(batches, documents),
        sizes={"tokens": num_tokens, "documents": len(documents), "pairs": batches.pairs_in(0)},
    )


def corpus(num_documents: int) -> list[Document]:
    """Documents of 3 to 39 sentences of about 20 ids each."""
    draws = np.random.default_rng(0)
    documents = []
    for count in draws.integers(3, 40, num_documents).tolist():
        lengths = np.clip(np.exp(draws.normal(3.0, 0.5, count)).astype(int), 3, 80)
        documents.append(
            [(FIRST_WORD + draws.zipf(1.2, size) % (VOCAB_SIZE - FIRST_WORD)).tolist() for size in lengths]
        )
    return documents


def write(documents: list[Document], folder: Path) -> None:
    """The documents as token shards with sentences."""
    about = {"tokenizer_fingerprint": "", "vocab_size": VOCAB_SIZE, "end_of_text_id": None}
    ids = np.concatenate([np.array(sentence) for document in documents for sentence in document])
    offsets = np.cumsum([0] + [len(sentence) for document in documents for sentence in document])
    table, starts = sentence_table([len(document) for document in documents], offsets)
    with writing_shards(folder, **about, sentences=True) as writer:  # type: ignore[arg-type]
        writer.add_documents(ids, starts, np.zeros(len(documents), np.int64), sentences=table)


def batches_of(shards: TokenShards) -> PairBatches:
    kinds = np.zeros(VOCAB_SIZE, np.uint8)
    kinds[:FIRST_WORD] = SPECIAL
    return PairBatches(
        shards,
        batch_size=BATCH,
        context_length=LENGTH,
        spec=PairSpec(short_probability=SHORT),
        masking=MaskingSpec(fraction=FRACTION, max_predictions=PREDICTIONS),
        vocabulary=MaskingVocabulary(kinds=kinds, mask_id=MASK, cls_id=CLS, sep_id=SEP),
    )


def plain_copy(documents: list[Document], rng: random.Random) -> list[Instance]:
    """All instances of one copy of the corpus, in random order."""
    instances = []
    for number in range(len(documents)):
        for a, b, label in plain_pairs(documents, number, LENGTH - 3, rng):
            types = [0] * (len(a) + 2) + [1] * (len(b) + 1)
            tokens, places, targets = plain_masks([CLS, *a, SEP, *b, SEP], rng)
            instances.append((tokens, types, places, targets, label))
    rng.shuffle(instances)
    return instances


def plain_batches(instances: list[Instance]) -> list[RaggedBatch]:
    """The instances in arrays, BATCH at a time."""
    batches = []
    for first in range(0, len(instances), BATCH):
        tokens, types, places, targets, labels = zip(*instances[first : first + BATCH], strict=True)
        starts = np.cumsum([0, *map(len, tokens)])
        batch = RaggedBatch(
            tokens=np.array([token for row in tokens for token in row]),
            starts=starts,
            places=np.array([start + place for start, row in zip(starts, places, strict=False) for place in row]),
            targets=np.array([target for row in targets for target in row]),
            types=np.array([kind for row in types for kind in row]),
            labels=np.array(labels),
        )
        batches.append(batch)
    return batches


def plain_pairs(
    documents: list[Document], number: int, most: int, rng: random.Random
) -> Iterator[tuple[list[int], list[int], int]]:
    """(A, B, label) of each pair of one document, as BERT's program makes them."""
    document = documents[number]
    target = rng.randint(2, most) if rng.random() < SHORT else most
    place = 0
    while place < len(document):
        stop, size = place, 0
        while stop < len(document) and size < target:
            size += len(document[stop])
            stop += 1
        cut = place + (rng.randint(1, stop - place - 1) if stop - place > 1 else 1)
        a = [token for sentence in document[place:cut] for token in sentence]
        label = 1 if stop - place == 1 or rng.random() < 0.5 else 0
        if label == 0:
            b = [token for sentence in document[cut:stop] for token in sentence]
        else:
            other = number
            for _ in range(10):
                other = rng.randint(0, len(documents) - 1)
                if other != number:
                    break
            b = []
            for sentence in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
                b.extend(sentence)
                if len(b) >= target - len(a):
                    break
            stop = cut
        while len(a) + len(b) > most:
            longer = a if len(a) > len(b) else b
            if rng.random() < 0.5:
                del longer[0]
            else:
                longer.pop()
        yield a, b, label
        place = stop


def plain_masks(tokens: list[int], rng: random.Random) -> tuple[list[int], list[int], list[int]]:
    """(ids, places, targets) of a sequence with tokens hidden as BERT's program does."""
    candidates = [place for place, token in enumerate(tokens) if token not in (CLS, SEP)]
    rng.shuffle(candidates)
    wanted = min(PREDICTIONS, max(1, round(len(tokens) * FRACTION)))
    places = sorted(candidates[:wanted])
    targets = [tokens[place] for place in places]
    for place in places:
        if rng.random() < 0.8:
            tokens[place] = MASK
        elif rng.random() >= 0.5:
            tokens[place] = rng.randint(0, VOCAB_SIZE - 1)
    return tokens, places, targets


def check(batches: PairBatches, documents: list[Document]) -> None:
    """Raises RefusedError when the two sides' statistics differ by more than chance explains."""
    ours = batches.rows(0, batches.pairs_in(0))
    plain = plain_copy(documents, random.Random(0))
    figures = {
        "pairs": (ours.num_rows(), len(plain), 0.02),
        "random next": (ours.labels.mean(), np.mean([label for *_, label in plain]), 0.05),  # type: ignore[union-attr]
        "mean length": (np.diff(ours.starts).mean(), np.mean([len(tokens) for tokens, *_ in plain]), 0.02),
        "masked": (ours.num_targets() / ours.num_rows(), np.mean([len(places) for _, _, places, *_ in plain]), 0.02),
    }
    for name, (mine, theirs, tolerance) in figures.items():
        if abs(mine - theirs) > tolerance * theirs * max(1, (1000 / len(documents)) ** 0.5):
            raise RefusedError(f"{name}: {mine:.4g}, plain Python {theirs:.4g}")
