"""The definition of Unigram training, by plain loops and enumeration: slow, for tests and readers.

Texts are strings here and log probabilities natural. The steps are those of `train`, which explains where they come
from; `train.train_unigram` must give the same pieces.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

from textmill.ops.unigram.piece_rules import BLANK, SCRIPTS, PieceRules, script_table

EXPECTED_AT_LEAST = 0.5
LONG_VOWEL = "\u30fc"


def script_of(character: str) -> str:
    """The script, with Hiragana, Katakana and their long vowel sign as Han."""
    name = SCRIPTS[script_table()[ord(character)]]
    return "Han" if name in ("Hiragana", "Katakana") or character == LONG_VOWEL else name


def may_be_piece(text: str, rules: PieceRules) -> bool:
    """Whether the rules allow a piece, as SentencePiece decides it from the piece alone.

    >>> [may_be_piece(text, PieceRules()) for text in ("▁the", "the▁", "a1", "カナ漢", "12", "1.", "▁")]
    [True, False, False, True, True, True, True]
    """
    previous = None
    for place, character in enumerate(text):
        if character == BLANK:
            inside, last = place > 0, place == len(text) - 1
            if inside and (rules.split_by_whitespace or last):
                return False
            continue
        script: str | None = script_of(character)
        if script == "Inherited":
            script = previous
        if character in "0123456789":
            if rules.split_digits and len(text) > 1:
                return False
            if not rules.split_by_number:
                script = None
        if rules.split_by_unicode_script and None not in (script, previous) and script != previous:
            return False
        previous = script
    return True


def cut(word: str, characters: str, rules: PieceRules) -> list[str]:
    """The units of a word: what is left of it between the cuts, without unknown characters.

    >>> cut("▁go2日本◌", "▁go2日本", PieceRules())
    ['▁go', '2', '日本']
    """
    cuts = [0, *(place for place in range(1, len(word)) if _is_cut(word, place, characters, rules)), len(word)]
    units = [word[start:end] for start, end in pairwise(cuts)]
    return [unit for unit in units if unit and all(character in characters for character in unit)]


def _is_cut(word: str, place: int, characters: str, rules: PieceRules) -> bool:
    """Whether no piece may hold the characters in front of and at `place`."""
    pair = word[place - 1 : place + 1]
    if any(character not in characters or (rules.split_digits and character in "0123456789") for character in pair):
        return True
    if word[place] == BLANK:
        if rules.split_by_whitespace:
            return True
        # blanks inside a piece belong to what follows: they part two scripts in front of the first blank
        after = place + len(word[place:]) - len(word[place:].lstrip(BLANK))
        if word[place - 1] == BLANK or after == len(word) or word[after] not in characters:
            return False
        return _scripts_differ(word, place, after, characters, rules)
    if word[place - 1] == BLANK:
        # a cut, if any, is in front of the blanks
        return False
    return _scripts_differ(word, place, place, characters, rules)


def _scripts_differ(word: str, before: int, at: int, characters: str, rules: PieceRules) -> bool:
    if not rules.split_by_unicode_script or (rules.split_digits and word[at] in "0123456789"):
        return False
    left, right = (_script_in(word, place, characters, rules) for place in (before - 1, at))
    return None not in (left, right) and left != right


def _script_in(word: str, place: int, characters: str, rules: PieceRules) -> str | None:
    """The script of a character in its word; a mark has that of what stands before it, None stands beside any."""
    while True:
        character = word[place]
        if character not in characters:
            return None
        if character in "0123456789" and (rules.split_digits or not rules.split_by_number):
            return None
        if character != BLANK and script_of(character) != "Inherited":
            return script_of(character)
        if place == 0 or (character == BLANK and rules.split_by_whitespace):
            return None
        place -= 1


def seeds(units: Mapping[str, int], characters: str, seed_size: int, max_length: int, enough: int) -> dict[str, float]:
    """Log probabilities of the characters and of the `seed_size` best strings, by count x length.

    A string must occur twice, may not end in ▁, and loses its place to a longer one that begins with it and occurs as
    often. Of equal values the string smaller by code points wins. While `enough` strings stay, those that occur fewer
    than five, four or three times are left out.
    """
    counts: dict[str, int] = {}
    for unit, count in units.items():
        for start in range(len(unit)):
            for end in range(start + 1, min(start + max_length, len(unit)) + 1):
                counts[unit[start:end]] = counts.get(unit[start:end], 0) + count
    good = {text: count for text, count in counts.items() if len(text) > 1 and count > 1 and text[-1] != BLANK}
    longest = [
        text
        for text, count in good.items()
        if not any(len(other) > len(text) and other.startswith(text) and good[other] == count for other in good)
    ]
    for least in (5, 4, 3):
        often = [text for text in longest if good[text] >= least]
        if len(often) >= enough:
            longest = often
            break
    best = sorted(longest, key=lambda text: (-good[text] * len(text), text))[:seed_size]
    values = {character: max(float(counts.get(character, 0)), EXPECTED_AT_LEAST) for character in characters}
    values |= {text: float(good[text] * len(text)) for text in best}
    total = math.log(sum(values.values()))
    return {text: math.log(value) - total for text, value in values.items()}


def segmentations(text: str, scores: Mapping[str, float]) -> Iterator[list[str]]:
    """Every way to write the text as pieces.

    >>> list(segmentations("aab", {"a": -1.0, "b": -1.0, "ab": -1.0}))
    [['a', 'a', 'b'], ['a', 'ab']]
    """
    if not text:
        yield []
    for end in range(1, len(text) + 1):
        if text[:end] in scores:
            for rest in segmentations(text[end:], scores):
                yield [text[:end], *rest]


def expect(units: Mapping[str, int], scores: Mapping[str, float]) -> dict[str, float]:
    """E step: how often each piece is expected, each segmentation of a unit weighing as much as it is probable."""
    expected = dict.fromkeys(scores, 0.0)
    for unit, count in units.items():
        ways = [(way, math.exp(sum(scores[piece] for piece in way))) for way in segmentations(unit, scores)]
        total = sum(probability for _, probability in ways)
        for way, probability in ways:
            for piece in way:
                expected[piece] += count * probability / total
    return expected


def digamma(x: float) -> float:
    """The derivative of log gamma: by the recurrence up to 50, then by the first terms of its series.

    >>> round(digamma(1.0), 6)  # minus Euler's constant
    -0.577216
    """
    if x < 50:
        return digamma(x + 1) - 1 / x
    return math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)


def maximise(expected: Mapping[str, float], characters: str) -> dict[str, float]:
    """M step: scores of the pieces that are expected often enough; characters stay in any case."""
    counts = {piece: count for piece, count in expected.items() if count >= EXPECTED_AT_LEAST}
    counts |= {character: max(expected[character], EXPECTED_AT_LEAST) for character in characters}
    total = digamma(sum(counts.values()))
    return {piece: digamma(count) - total for piece, count in counts.items()}


def best_segmentation(text: str, scores: Mapping[str, float]) -> list[str] | None:
    """The segmentation of the largest sum of scores; of equal ones that whose last pieces are longer."""
    ways = list(segmentations(text, scores))
    key = lambda way: (sum(scores[piece] for piece in way), [len(piece) for piece in reversed(way)])  # noqa: E731
    return max(ways, key=key) if ways else None


def losses(units: Mapping[str, int], scores: Mapping[str, float]) -> dict[str, float]:
    """By how much the log likelihood of best segmentations falls when a piece gives way to its best segmentation into
    others, which then occur that much more often. Infinite for a character; minus infinity for a piece that is chosen
    nowhere or whose parts are the better choice."""
    counts = dict.fromkeys(scores, 0)
    for unit, count in units.items():
        for piece in best_segmentation(unit, scores) or []:
            counts[piece] += count
    total = sum(counts.values())
    found = {}
    for piece, count in counts.items():
        others = {other: score for other, score in scores.items() if other != piece}
        parts = best_segmentation(piece, others)
        if len(piece) == 1:
            found[piece] = math.inf
        elif count == 0 or parts is None or sum(scores[part] for part in parts) > scores[piece]:
            found[piece] = -math.inf
        else:
            new_total = math.log(total + count * (len(parts) - 1))
            alternative = sum(math.log(counts[part] + count) - new_total for part in parts)
            found[piece] = count * (math.log(count) - math.log(total) - alternative)
    return found


def train(
    words: Mapping[str, int],
    vocab_size: int,
    characters: str,
    rules: PieceRules,
    *,
    seed_size: int = 1_000_000,
    max_length: int = 16,
    shrinking_factor: float = 0.75,
    num_sub_iterations: int = 2,
) -> dict[str, float]:
    """The pieces with their scores, at most `vocab_size`."""
    units: dict[str, int] = {}
    for word, count in words.items():
        for unit in cut(word, characters, rules):
            units[unit] = units.get(unit, 0) + count
    scores = seeds(units, characters, seed_size, max_length, 4 * vocab_size)
    target = int(1.1 * vocab_size)
    while True:
        for _ in range(num_sub_iterations):
            scores = maximise(expect(units, scores), characters)
        if len(scores) <= target:
            break
        missed = losses(units, scores)
        most = max(target, int(shrinking_factor * len(scores)))
        kept = sorted((piece for piece in scores if missed[piece] > -math.inf), key=lambda piece: -missed[piece])
        scores = {piece: scores[piece] for piece in kept[:most]}
    others = sorted((piece for piece in scores if len(piece) > 1), key=lambda piece: -scores[piece])
    chosen = [*characters, *others[: vocab_size - len(characters)]]
    return {piece: scores[piece] for piece in chosen}
