import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError, FormatError
from textmill.ops.bpe import PieceCounter, PieceCounts, counts_file, merge_counts, spill
from textmill.ops.bpe.counts_file import MAX_COUNT, CountsReader, read_counts, write_counts
from textmill.ops.bpe.merge_counts import common_facts
from textmill.ops.bpe.sort import concatenated, in_blocks, sorted_counts, sorted_order, take
from textmill.ops.memory import PADDING, padded

FACTS = {"splitter": "gpt2", "normaliser": None}
PIECES = st.dictionaries(
    st.one_of(
        st.binary(min_size=1, max_size=30), st.lists(st.sampled_from(b"ab\0"), min_size=1, max_size=20).map(bytes)
    ),
    st.integers(1, 1 << 40),
    max_size=40,
)


def of(pieces: dict[bytes, int]) -> PieceCounts:
    return PieceCounts.from_mapping(pieces)


def as_list(counts: PieceCounts) -> list[tuple[bytes, int]]:
    return list(counts.to_mapping().items())


@given(PIECES)
def test_pieces_are_sorted_as_python_sorts_bytes(pieces) -> None:
    assert as_list(sorted_counts(of(pieces))) == sorted(pieces.items())


def test_what_lies_behind_the_pieces_does_not_matter() -> None:
    pieces = [b"abcdefgh", b"abcdefghi", b"abcdefg", b"abcdefghij", b"a"]
    counts = of(dict.fromkeys(pieces, 1))
    counts.arena[-PADDING:] = 0xFF
    assert [counts.piece(index) for index in sorted_order(counts)] == sorted(pieces)


def test_blocks_hold_all_pieces_in_order() -> None:
    counts = of({bytes([65 + i]) * (1 + i % 5): i + 1 for i in range(20)})
    blocks = list(in_blocks(counts, np.arange(20), 3, 7))
    assert all(len(block) <= 3 and (block.offsets[-1] <= 7) for block in blocks)
    assert as_list(concatenated(blocks)) == as_list(counts)
    assert as_list(take(counts, np.array([3, 1]))) == [(b"DDDD", 4), (b"BB", 2)]
    assert [len(block) for block in in_blocks(of({b"x" * 50: 1, b"y": 2}), np.arange(2), 3, 7)] == [1, 1]


@settings(deadline=None)
@given(pieces=PIECES)
def test_a_file_keeps_counts_and_facts(tmp_path_factory, pieces) -> None:
    path = tmp_path_factory.mktemp("counts") / "a.counts"
    write_counts(path, of(pieces), FACTS)
    counts, facts = read_counts(path)
    assert facts == FACTS
    assert as_list(counts) == sorted(pieces.items())
    assert counts.arena[counts.offsets[-1] :].tolist() == [0] * PADDING


def small_blocks(monkeypatch: pytest.MonkeyPatch, pieces: int = 3, size: int = 20) -> None:
    for module in (counts_file, merge_counts):
        monkeypatch.setattr(module, "BLOCK_PIECES", pieces)
        monkeypatch.setattr(module, "BLOCK_BYTES", size)


def random_pieces(seed: int, number: int) -> dict[bytes, int]:
    generator = np.random.default_rng(seed)
    return {
        bytes(generator.choice(list(b"abc\0\xff"), size=generator.integers(1, 12)).tolist()): int(count)
        for count in generator.integers(1, 1000, size=number)
    }


@pytest.mark.parametrize("max_files", [2, 3, 100])
@pytest.mark.parametrize("min_count", [1, 700])
def test_merged_files_hold_the_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_files, min_count) -> None:
    small_blocks(monkeypatch)
    monkeypatch.setattr(merge_counts, "MAX_FILES", max_files)
    parts = [random_pieces(seed, number) for seed, number in enumerate((50, 0, 200, 1, 90, 120, 3))]
    sums: dict[bytes, int] = {}
    for number, part in enumerate(parts):
        write_counts(tmp_path / f"{number}.counts", of(part), FACTS)
        for piece, count in part.items():
            sums[piece] = sums.get(piece, 0) + count
    paths = [tmp_path / f"{number}.counts" for number in range(len(parts))]
    expected = sorted((piece, count) for piece, count in sums.items() if count >= min_count)
    assert merge_counts.merge_counts(paths, tmp_path / "all.counts", min_count=min_count) == len(expected)
    counts, facts = read_counts(tmp_path / "all.counts")
    assert (as_list(counts), facts) == (expected, FACTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(path.name for path in paths), "all.counts"]


def test_files_that_were_counted_otherwise_are_refused(tmp_path: Path) -> None:
    write_counts(tmp_path / "a", of({b"a": 1}), {"splitter": "gpt2"})
    write_counts(tmp_path / "b", of({b"a": 1}), {"splitter": "cl100k"})
    with pytest.raises(DataError, match=r'counted alike: .*a has \{"splitter": "gpt2"\}, .*b has .*cl100k'):
        merge_counts.merge_counts([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert common_facts([tmp_path / "a"]) == {"splitter": "gpt2"}


def test_a_broken_file_leaves_no_result(tmp_path: Path) -> None:
    write_counts(tmp_path / "a", of({b"a": 1}), FACTS)
    write_counts(tmp_path / "b", of({b"b": 1, b"c": 5}), FACTS)
    data = bytearray((tmp_path / "b").read_bytes())
    data[-40] ^= 1
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(FormatError):
        merge_counts.merge_counts([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_every_changed_or_missing_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    path = tmp_path / "a"
    write_counts(path, of(random_pieces(1, 12)), FACTS)
    whole = path.read_bytes()
    assert as_list(read_counts(path)[0]) == sorted(random_pieces(1, 12).items())
    for place in range(len(whole)):
        for bit in (0, 7):
            broken = bytearray(whole)
            broken[place] ^= 1 << bit
            path.write_bytes(broken)
            with pytest.raises(FormatError):
                read_counts(path)
        path.write_bytes(whole[:place])
        with pytest.raises(FormatError):
            read_counts(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(FormatError, match="checksum"):
        read_counts(path)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (struct.pack("<II", 1, (1 << 31) - 1), "cut short"),
        (struct.pack("<II", 1, (1 << 32) - 1), "impossible size"),
        (struct.pack("<II", (1 << 32) - 1, (1 << 32) - 1), "impossible size"),
        (struct.pack("<II", 2, 1), "impossible size"),
        (struct.pack("<IIIq", 1, 1, 2, 1) + b"a", "impossible lengths"),
        (struct.pack("<IIIq", 1, 1, 1, 0) + b"a", "impossible lengths or counts"),
        (struct.pack("<IIIq", 1, 1, 1, MAX_COUNT + 1) + b"a", "impossible lengths or counts"),
        (struct.pack("<IIIIqq", 2, 2, 1, 1, 1, 1) + b"ba", "not in order"),
        (struct.pack("<IIIIqq", 2, 2, 1, 1, 1, 1) + b"aa", "not in order"),
        (2 * (struct.pack("<IIIq", 1, 1, 1, 1) + b"a"), "not in order"),
        (struct.pack("<IIQ", 0, 0, 3), "number of pieces"),
    ],
)
def test_impossible_blocks(tmp_path: Path, tail: bytes, message: str) -> None:
    header = b'{"facts": {}}'
    path = tmp_path / "a"
    path.write_bytes(struct.pack("<8sII", b"TMCOUNTS", 1, len(header)) + header + tail)
    with pytest.raises(FormatError, match=message):
        read_counts(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (struct.pack("<8sII", b"TMCOUNTX", 1, 2) + b"{}", "does not begin as one"),
        (struct.pack("<8sII", b"TMCOUNTS", 2, 2) + b"{}", "is of version 2 of counts, this program reads 1"),
        (struct.pack("<8sII", b"TMCOUNTS", 1, 1 << 31), "header is too long"),
        (struct.pack("<8sII", b"TMCOUNTS", 1, 2) + b"[]", "no facts"),
        (struct.pack("<8sII", b"TMCOUNTS", 1, 2) + b"{x", "not JSON"),
        (struct.pack("<8sII", b"TMCOUNTS", 1, 2) + b"\xff\xff", "not JSON"),
        (struct.pack("<8sII", b"TMCOUNTS", 1, 200_000) + b"[" * 200_000, "not JSON"),
    ],
)
def test_impossible_headers(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_counts(tmp_path / "a")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cannot read .*: No such file"):
        CountsReader(tmp_path / "none")


def test_counts_that_no_file_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"counts of 1 to 2\*\*55, got 0"):
        write_counts(tmp_path / "a", of({b"a": 0}), FACTS)
    with pytest.raises(DataError, match="the facts of counts take"):
        write_counts(tmp_path / "a", of({b"a": 1}), {"long": "x" * (1 << 21)})
    with pytest.raises(DataError, match="no counts to merge"):
        merge_counts.merge_counts([], tmp_path / "a")
    with pytest.raises(ConfigError, match="min_count must be >= 1, got 0"):
        merge_counts.merge_counts([tmp_path / "x"], tmp_path / "a", min_count=0)
    assert list(tmp_path.iterdir()) == []


def blocks_of_pieces(seed: int, number: int) -> list[list[bytes]]:
    generator = np.random.default_rng(seed)
    return [
        [bytes(generator.choice(list(b"abcdef "), size=generator.integers(1, 40)).tolist()) for _ in range(size)]
        for size in generator.integers(1, 4000, size=number)
    ]


def add(counter: PieceCounter, pieces: list[bytes]) -> None:
    ends = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    counter.add(padded(b"".join(pieces)), 0, ends)


@pytest.mark.parametrize("limit", [1 << 22, 3 << 21, 1 << 24, 1 << 26])
def test_a_spilling_counter_counts_alike_whatever_its_limit(tmp_path: Path, monkeypatch, limit: int) -> None:
    monkeypatch.setattr(merge_counts, "MAX_FILES", 2)
    monkeypatch.setattr(spill, "MAX_FILES", 2)
    plain = PieceCounter()
    with spill.SpillingCounter(limit, tmp_path) as counter:
        for pieces in blocks_of_pieces(5, 40):
            add(plain, pieces)
            add(counter, pieces)
            assert counter.memory_bytes <= limit // 2
        assert (counter.num_runs > 1) == (limit <= 3 << 21)
        number = counter.finish_to(tmp_path / "all.counts", FACTS, min_count=2)
        assert as_list(counter.finish()) == sorted(plain.counts().to_mapping().items())
        again = counter.counts()
        assert as_list(again) == sorted(plain.counts().to_mapping().items())
    counts, facts = read_counts(tmp_path / "all.counts")
    assert facts == FACTS
    assert len(counts) == number
    assert as_list(counts) == [(piece, count) for piece, count in as_list(again) if count >= 2]
    assert [path.name for path in tmp_path.iterdir()] == ["all.counts"]


def test_a_piece_longer_than_the_limit_is_counted(tmp_path: Path) -> None:
    with spill.SpillingCounter(spill.SMALLEST_LIMIT, tmp_path) as counter:
        add(counter, [b"x" * (5 << 20), b"a", b"x" * (5 << 20)])
        assert counter.finish().to_mapping() == {b"a": 1, b"x" * (5 << 20): 2}


def test_a_spilling_counter_without_pieces(tmp_path: Path) -> None:
    with spill.SpillingCounter(spill.SMALLEST_LIMIT, tmp_path) as counter:
        assert len(counter.finish()) == 0
        assert counter.finish_to(tmp_path / "a", FACTS) == 0
    assert len(read_counts(tmp_path / "a")[0]) == 0
    with pytest.raises(ConfigError, match="limit_bytes must be >= 4194304, got 5"):
        spill.SpillingCounter(5, tmp_path)
