r"""A tree of `syntax` as a deterministic machine that finds what a backtracking engine finds: the first way that works.

A thread of the machine is a place in the pattern. A state is the list of the threads that are alive after some symbols,
in the order in which a backtracking engine would come to them. When the first of them that can end does end, those
after it are dropped: what they would find comes second. The end of the match is thus the last time that a thread ended.

Whether a thread ends, or passes a look ahead such as `(?!\S)`, may depend on the symbol that follows. So both are
decided on the way out of a state: the entry of (state, class of the next symbol) says whether the text up to here is a
match, and which state comes after the symbol.

A possessive repeat of one symbol may not stop early, which is to say: it stops where the next symbol isn't one of its
own, a look ahead of one symbol.

Source: Russ Cox, "Regular Expression Matching in the Wild", 2010, for the ordered list of threads.
"""

import dataclasses

import numpy as np

from textmill.ops.split import symbols
from textmill.ops.split.syntax import Ahead, Choice, End, Node, Repeat, Sequence, Symbols, Unsupported, nullable

MOST_THREADS = 3000
MOST_STATES = 2000
MOST_WORK = 2_000_000
"""Threads visited while the states are found: about two seconds."""

END = 0
"""The class of the end of the text."""
DEAD = 0
"""The state without threads."""
_FIRST = 1
_LOWER = slice(ord("a"), ord("z") + 1)
_UPPER = slice(ord("A"), ord("Z") + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """The tables of `cpu_machine`."""

    classes: np.ndarray
    """uint8 [code points]: the class of each, from 1 on."""
    rows: np.ndarray
    """int32 [states, classes + 1]: twice the place of the next state's row in bytes; 1 more where a match may end."""
    leads: np.ndarray
    """int32 [128]: the place of the state after an ASCII byte and any letters from a to z, or also from A to Z if that
    state is one of `letters`; 0: there is no one such state, or a match may not end wherever it is left."""
    start: int
    """The place in bytes of the first state's row."""
    lower: int
    """From this place on are the states that stay as they are for every letter from a to z."""
    letters: int
    """From this place on, for A to Z too."""

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
        """The fields, in the order in which the kernels take them."""
        return self.classes, self.rows, self.leads, self.start, self.lower, self.letters


@dataclasses.dataclass
class _Threads:
    """The places of a pattern, as parallel lists: what is read or checked there, and where it goes on."""

    kinds: list[str] = dataclasses.field(default_factory=list)
    sets: list[int] = dataclasses.field(default_factory=list)
    follows: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    known: dict[Symbols, int] = dataclasses.field(default_factory=dict)

    def add(self, kind: str, follows: tuple[int, ...], symbols: Symbols | None = None) -> int:
        if len(self.kinds) >= MOST_THREADS:
            raise Unsupported(f"more than {MOST_THREADS} places in the pattern")
        self.kinds.append(kind)
        self.sets.append(-1 if symbols is None else self.known.setdefault(symbols, len(self.known)))
        self.follows.append(follows)
        return len(self.kinds) - 1

    def build(self, node: Node, after: int) -> int:
        """The place where the node begins, if `after` is where it goes on."""
        match node:
            case Symbols():
                return self.add("read", (after,), node)
            case Ahead(inside, negated):
                return self.add("unless" if negated else "if", (after,), inside)
            case End():
                return self.add("end", (after,))
            case Sequence(parts):
                for part in reversed(parts):
                    after = self.build(part, after)
                return after
            case Choice(options):
                return self.add("fork", tuple(self.build(option, after) for option in options))
        return self.repeat(node, after)

    def repeat(self, node: Repeat, after: int) -> int:
        leave = after
        if node.kind == "possessive":
            assert isinstance(node.body, Symbols)
            leave = self.add("unless", (after,), node.body)

        def fork(again: int) -> tuple[int, ...]:
            return (leave, again) if node.kind == "lazy" else (again, leave)

        if node.most is None:
            # the fork is added first, as the place to which the body goes back
            head = self.add("fork", ())
            self.follows[head] = fork(self.build(node.body, head))
        else:
            # after `most` copies nothing more could be taken, so a possessive repeat may always leave there
            head = after
            for _ in range(node.most - node.least):
                head = self.add("fork", fork(self.build(node.body, head)))
        for _ in range(node.least):
            head = self.build(node.body, head)
        return head


class _Builder:
    """Finds the states that can be reached."""

    def __init__(self, tree: Node) -> None:
        self.threads = _Threads()
        match = self.threads.add("match", ())
        self.first = self.threads.build(tree, match)
        self.classes, self.members = symbols.partition(list(self.threads.known))
        self.num_classes = self.members.shape[1]
        self.work = 0
        self.closures: dict[tuple[tuple[int, ...], bytes], tuple[list[int], bool]] = {}
        checks = {(kind, held) for kind, held in zip(self.threads.kinds, self.threads.sets, strict=True)}
        self.checks = sorted(check for check in checks if check[0] in ("if", "unless", "end"))
        # row c: which checks the class c passes
        self.passes = [[self.passed(*check, kind) for check in self.checks] for kind in range(self.num_classes)]

    def passed(self, check: str, held: int, kind: int) -> bool:
        if check == "end":
            return kind == END
        return bool(self.members[held, kind]) == (check == "if")

    def closure(self, state: tuple[int, ...], kind: int) -> tuple[list[int], bool]:
        """(the threads that read a symbol next, in order; whether one before their end ended), before class `kind`."""
        passes = self.passes[kind]
        key = (state, bytes(passes))
        if key not in self.closures:
            self.closures[key] = self.walk(state, dict(zip(self.checks, passes, strict=True)))
        return self.closures[key]

    def walk(self, state: tuple[int, ...], passes: dict[tuple[str, int], bool]) -> tuple[list[int], bool]:
        kinds, sets, follows = self.threads.kinds, self.threads.sets, self.threads.follows
        readers: list[int] = []
        seen: set[int] = set()
        waiting = list(reversed(state))
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            self.work += 1
            if kinds[place] == "match":
                return readers, True
            if kinds[place] == "read":
                readers.append(place)
            elif kinds[place] == "fork" or passes[kinds[place], sets[place]]:
                waiting += reversed(follows[place])
        return readers, False

    def step(self, state: tuple[int, ...], kind: int) -> tuple[tuple[int, ...], bool]:
        """(the state after a symbol of the class, whether the text before the symbol is a match)."""
        readers, ended = self.closure(state, kind)
        self.work += len(readers)
        sets, follows = self.threads.sets, self.threads.follows
        held = self.members[:, kind]
        return tuple(dict.fromkeys(follows[place][0] for place in readers if held[sets[place]])), ended

    def states(self) -> list[list[tuple[int, bool]]]:
        """Row s, column c: (next state, whether a match may end before the symbol); state 1 is the first."""
        numbers: dict[tuple[int, ...], int] = {(): DEAD, (self.first,): _FIRST}
        rows: list[list[tuple[int, bool]]] = [[(DEAD, False)] * self.num_classes]
        waiting: list[tuple[int, ...]] = [(self.first,)]
        for state in waiting:
            row = []
            for kind in range(self.num_classes):
                after, ended = self.step(state, kind)
                if after not in numbers:
                    numbers[after] = len(numbers)
                    waiting.append(after)
                row.append((numbers[after], ended))
            rows.append(row)
            if len(numbers) > MOST_STATES or self.work > MOST_WORK:
                raise Unsupported("too many states")
        return rows


def machine(tree: Node) -> Machine:
    """The machine that finds the tree's matches.

    Raises:
        Unsupported: the tree can match the empty text, or needs too many classes, threads or states.
    """
    if nullable(tree):
        raise Unsupported("the pattern can match the empty text")
    builder = _Builder(tree)
    states = builder.states()
    skips = _Skips(builder.classes, states)
    ranks = [skips.rank(number) for number in range(len(states))]
    # the state without threads stays the first
    order = sorted(range(len(states)), key=ranks.__getitem__)
    width = 4 * builder.num_classes
    places = {number: place * width for place, number in enumerate(order)}
    rows = [[2 * places[after] + ended for after, ended in states[number]] for number in order]
    return Machine(
        classes=builder.classes,
        rows=np.array(rows, dtype=np.int32),
        leads=np.array([places[skips.word(byte)] for byte in range(128)], dtype=np.int32),
        start=places[_FIRST],
        lower=width * ranks.count(0),
        letters=width * (ranks.count(0) + ranks.count(1)),
    )


class _Skips:
    """Where letters can be skipped; see `Machine.lower`, `Machine.letters` and `Machine.leads`."""

    def __init__(self, classes: np.ndarray, states: list[list[tuple[int, bool]]]) -> None:
        self.classes = classes
        self.states = states
        self.lower = np.unique(classes[_LOWER]).tolist()
        self.letters = np.unique(np.concatenate([classes[_LOWER], classes[_UPPER]])).tolist()

    def rank(self, number: int) -> int:
        """2: letters of either case leave the state as it is; 1: those from a to z do; 0: neither."""
        row = self.states[number]
        # where a match may end before each letter, the last such place must not matter: it may end after them too
        loops = [(number, False)] + [(number, True)] * all(ended for _, ended in row)
        kinds = (self.lower, self.letters)
        return sum(any(all(row[kind] == loop for kind in some) for loop in loops) for some in kinds) * (number != DEAD)

    def word(self, byte: int) -> int:
        """The state after the byte and one or more letters, `DEAD` if it depends on more than this."""
        after_byte = self.states[self.states[_FIRST][self.classes[byte]][0]]
        number = after_byte[self.lower[0]][0]
        rank = self.rank(number)
        row = self.states[number]
        # wherever the word is left a match ends, so that earlier ends don't matter
        alike = all(after_byte[kind][0] == number for kind in (self.lower, self.lower, self.letters)[rank])
        left = all(ended or after == number for after, ended in row)
        return number if rank and alike and left else DEAD
