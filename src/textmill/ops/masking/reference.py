"""The definition of masking and of longest matching, in plain Python.

A row's *units* are its tokens, or its words with all their tokens; special tokens belong to none. They are taken in
random order until enough tokens are chosen, and a unit that would go beyond that is left out, as BERT's own program
does (`create_masked_lm_predictions`). A run of several units begins at the unit whose turn it is and grows to the right
until it has the length that was drawn, meets a special token, the row's end or a chosen unit, or would be too much.

Random numbers are SplitMix64's: draw k (from 1) of a row is mix(key + k * GOLDEN).

Sources: Devlin et al. 2019, BERT, section 3.1 (15 %, 80/10/10); the whole-word models of google-research/bert; Lan et
al. 2019, ALBERT (runs, p(n) ~ 1/n); Joshi et al. 2020, SpanBERT (geometric lengths, one fate for a span); Clark et al.
2020, ELECTRA (replaced tokens; the generator here draws evenly).
"""

from collections.abc import Collection, Iterator, Sequence

from textmill.ops.masking.rules import CONTINUES, SPECIAL, MaskingRules
from textmill.ops.permutation.reference import GOLDEN, mix


def mask_row(
    tokens: Sequence[int], key: int, rules: MaskingRules, inside: Sequence[bool] | None = None
) -> tuple[list[int], list[int]]:
    """(what the model sees, the places to predict in ascending order).

    Args:
        inside: whether each token continues the word of the token before it, beside what its kind says.

    >>> import numpy as np
    >>> kinds = np.array([SPECIAL, 0, 0, 0, CONTINUES], np.uint8)
    >>> rules = MaskingRules(kinds, mask_id=0, fraction=0.4, whole_words=True)
    >>> mask_row([0, 1, 4, 2, 3], key=3, rules=rules)  # tokens 1 and 2 are one word
    ([0, 0, 0, 2, 3], [1, 2])
    """
    draws = random_words(key)
    specials = rules.specials().tolist()
    if rules.everywhere:
        return _replaced(tokens, draws, rules, specials)
    units = units_of(tokens, rules, inside)
    wanted = num_wanted(len(tokens), rules)
    seen, chosen = list(tokens), set[int]()
    order = list(range(len(units)))
    for turn in range(len(units)):
        if len(chosen) >= wanted:
            break
        other = turn + below(next(draws), len(units) - turn)
        order[turn], order[other] = order[other], order[turn]
        run = _run(units, order[turn], chosen, wanted, draws, rules)
        fate = share(next(draws)) if run and rules.one_fate else 0.0
        for place in run:
            if not rules.one_fate:
                fate = share(next(draws))
            if fate < rules.mask_share:
                seen[place] = rules.mask_id
            elif fate < rules.mask_share + rules.random_share:
                seen[place] = random_id(next(draws), len(rules.kinds), specials)
        chosen.update(run)
    return seen, sorted(chosen)


def units_of(tokens: Sequence[int], rules: MaskingRules, inside: Sequence[bool] | None = None) -> list[list[int]]:
    """The places of each unit, in order."""
    units: list[list[int]] = []
    for place, token in enumerate(tokens):
        if rules.kinds[token] == SPECIAL:
            continue
        continues = rules.kinds[token] == CONTINUES or (inside is not None and inside[place])
        if rules.whole_words and continues and units and units[-1][-1] == place - 1:
            units[-1].append(place)
        else:
            units.append([place])
    return units


def num_wanted(length: int, rules: MaskingRules) -> int:
    """How many tokens of a row to predict: round(length * fraction), half to even, at least 1 and at most the limit."""
    if rules.fraction == 0:
        return 0
    return min(rules.max_predictions, max(1, round(length * rules.fraction)))


def _run(
    units: list[list[int]], first: int, chosen: Collection[int], wanted: int, draws: Iterator[int], rules: MaskingRules
) -> list[int]:
    """The places of the run that begins at unit `first`; none if that unit is chosen already or too much."""
    if units[first][0] in chosen:
        return []
    length = 1
    if len(rules.run_lengths) > 1:
        drawn = share(next(draws))
        length = 1 + sum(drawn >= bound for bound in rules.run_lengths[:-1])
    run: list[int] = []
    for unit in units[first : first + length]:
        apart = bool(run) and unit[0] != run[-1] + 1
        if apart or unit[0] in chosen or len(chosen) + len(run) + len(unit) > wanted:
            break
        run += unit
    return run


def _replaced(
    tokens: Sequence[int], draws: Iterator[int], rules: MaskingRules, specials: Sequence[int]
) -> tuple[list[int], list[int]]:
    seen, places = list(tokens), []
    for place, token in enumerate(tokens):
        if rules.kinds[token] == SPECIAL:
            continue
        places.append(place)
        if share(next(draws)) < rules.fraction:
            seen[place] = random_id(next(draws), len(rules.kinds), specials)
    return seen, places


def random_words(key: int) -> Iterator[int]:
    """The endless draws of a row, 64 random bits each."""
    while True:
        key += GOLDEN
        yield mix(key)


def below(draw: int, count: int) -> int:
    """A whole number in range(count), for counts below 2**32: the draw's upper half seen as a fraction of `count`."""
    return ((draw >> 32) * count) >> 32


def share(draw: int) -> float:
    """A number in [0, 1): the draw's first 53 bits."""
    return (draw >> 11) * 2.0**-53


def random_id(draw: int, vocab_size: int, specials: Sequence[int]) -> int:
    """An id that is not special, each with the same probability; `specials` ascend.

    >>> sorted({random_id(draw << 60, 6, [0, 2]) for draw in range(16)})
    [1, 3, 4, 5]
    """
    id = below(draw, vocab_size - len(specials))
    for special in specials:
        id += id >= special
    return id


def continues_words(tokens: Sequence[int], words: Collection[tuple[int, ...]]) -> list[bool]:
    """Whether each token continues a word, by forward maximum matching: the longest word that begins here is taken, or
    else the token alone, and matching goes on behind it.

    >>> continues_words([1, 2, 3, 4, 9], {(1, 2), (1, 2, 3), (3, 4)})
    [False, True, True, False, False]
    """
    longest = max(map(len, words), default=1)
    inside: list[bool] = []
    while len(inside) < len(tokens):
        here = len(inside)
        lengths = [n for n in range(1, min(longest, len(tokens) - here) + 1) if tuple(tokens[here : here + n]) in words]
        inside += [False] + [True] * (max(lengths, default=1) - 1)
    return inside
