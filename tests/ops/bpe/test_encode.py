import threading

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe import OUT_SLACK, BpeEncoder, PieceCounts, TokenBytes, reference, train_merges
from textmill.ops.bpe import encode as encode_module
from textmill.ops.memory import padded
from textmill.tokenizers.byte_level import to_characters

TEXTS = {
    "runs": {b"a" * 9: 5, b"aab": 4, b"ba" * 5: 3, b"b" * 7: 2},
    "words": {b" the": 9, b"there": 7, b" then": 6, b" cat": 5, b" that": 5, b"hatter": 3, b" attic": 2},
    # the last byte of one character goes with the first of the next before either is complete
    "chinese": {"的是的不是的".encode(): 9, "不我不一我".encode(): 8, "我是一二三四".encode(): 6, "，的".encode(): 5},
}


def trained(name: str, num_merges: int) -> tuple[list[tuple[int, int, int]], dict[bytes, int]]:
    merges = train_merges(PieceCounts.from_mapping(TEXTS[name]), num_merges)
    rows = [(left, right, 256 + rank) for rank, (left, right) in enumerate(merges.pairs.tolist())]
    return rows, {token: number for number, token in enumerate(merges.token_bytes())}


def encode_pieces(encoder: BpeEncoder, pieces: list[bytes], before: bytes = b"") -> list[int]:
    ends = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    return encoder.encode(padded(before + b"".join(pieces)), len(before), ends).tolist()


def pieces_of(name: str, longest: int = 30) -> st.SearchStrategy[list[bytes]]:
    values = sorted(set(b"".join(TEXTS[name])))
    byte_pieces = st.lists(st.sampled_from(values), min_size=1, max_size=longest).map(bytes)
    characters = sorted(set(b"".join(TEXTS[name]).decode()))
    text_pieces = st.text(characters, min_size=1, max_size=longest).map(str.encode)
    return st.lists(byte_pieces | text_pieces | st.binary(min_size=1, max_size=4), max_size=12)


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), num_merges=st.integers(0, 40))
def test_equals_the_definition_and_tiktoken(name: str, data: st.DataObject, num_merges: int) -> None:
    merges, ranks = trained(name, num_merges)
    pieces = data.draw(pieces_of(name))
    from_merges = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32))
    expected = [reference.encode(piece, range(256), merges) for piece in pieces]
    # merged, then out of the cache: long Chinese pieces from the third time on
    for _ in range(3):
        assert encode_pieces(from_merges, pieces) == [number for ids in expected for number in ids]
    peer = tiktoken.Encoding("test", pat_str=r"[\s\S]+", mergeable_ranks=ranks, special_tokens={})
    from_ranks = BpeEncoder.from_ranks(ranks)
    for _ in range(3):
        assert encode_pieces(from_ranks, pieces, b"xx") == [n for p in pieces for n in peer._encode_single_piece(p)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(b"abc"), min_size=2, max_size=5).map(bytes), unique=True, max_size=12),
    st.lists(st.lists(st.sampled_from(b"abc"), min_size=1, max_size=14).map(bytes), max_size=8),
)
def test_ranks_that_no_training_would_make(tokens: list[bytes], pieces: list[bytes]) -> None:
    """Tokens in any order: parts may rank after what they make, and some tokens can never be made."""
    ranks = {bytes([value]): value for value in range(256)} | {token: 256 + i for i, token in enumerate(tokens)}
    expected = [number for piece in pieces for number in reference.encode_by_ranks(piece, ranks)]
    assert encode_pieces(BpeEncoder.from_ranks(ranks), pieces) == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_characters_whose_bytes_merge_across(data: st.DataObject) -> None:
    """Random merges over the bytes of a few characters: many cross the bounds of characters."""
    values = sorted(set("的是不".encode() + b" "))
    merges: list[tuple[int, int, int]] = []
    pool = list(values)
    for rank in range(data.draw(st.integers(0, 14))):
        pair = data.draw(st.sampled_from(pool)), data.draw(st.sampled_from(pool))
        if all(pair != row[:2] for row in merges):
            merges.append((*pair, 256 + rank))
            pool.append(256 + rank)
    pieces = data.draw(st.lists(st.text("的是不 ", min_size=1, max_size=12).map(str.encode), max_size=6))
    expected = [number for piece in pieces for number in reference.encode(piece, range(256), merges)]
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32).reshape(-1, 3))
    assert encode_pieces(encoder, pieces) == expected


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_long_pieces_of_wide_characters(data: st.DataObject) -> None:
    """Whole characters that join, parts that join across their bounds, and bytes of no character, in long pieces."""
    characters = "的是不한，"
    strings = sorted({character.encode() for character in characters})
    merges: dict[tuple[bytes, bytes], bytes] = {}
    for string in strings:
        if data.draw(st.booleans()):
            merges[string[:1], string[1:2]] = string[:2]
            merges[string[:2], string[2:]] = string
    parts = [*strings, *(string[:cut] for string in strings for cut in (1, 2)), *(string[2:] for string in strings)]
    for _ in range(data.draw(st.integers(0, 10))):
        left, right = data.draw(st.sampled_from(parts)), data.draw(st.sampled_from(parts))
        if left + right not in merges.values():
            merges[left, right] = left + right
            parts.append(left + right)
    names = [bytes([value]) for value in range(256)]
    # parts that no row makes have ids too
    names += sorted({string for pair, made in merges.items() for string in (*pair, made)} - set(names))
    rows = [(names.index(left), names.index(right), names.index(made)) for (left, right), made in merges.items()]
    text = st.text(characters + " aé", min_size=5, max_size=40).map(str.encode)
    bad = st.tuples(text, st.sampled_from([b"\xe7\x9a", b"\xe0\x80\x81", b"\xed\xa0\x80", b"\x84", b"\xf0"]), text)
    pieces = data.draw(st.lists(text | bad.map(b"".join), min_size=1, max_size=4))
    expected = [number for piece in pieces for number in reference.encode(piece, range(256), rows)]
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(rows, np.int32).reshape(-1, 3))
    for _ in range(3):
        assert encode_pieces(encoder, pieces) == expected


def test_more_long_pieces_than_are_kept_in_mind() -> None:
    count, size = 300_000, 6
    codes = 0x4E00 + (np.arange(count)[:, None] // 9 ** np.arange(size)) % 9
    text = codes.astype("<u4").tobytes().decode("utf-32-le").encode()
    encoder = BpeEncoder.from_merges(np.arange(256), np.empty((0, 3)))
    ends = np.arange(1, count + 1, dtype=np.int32) * 3 * size
    for _ in range(3):
        assert encoder.encode(padded(text), 0, ends).astype(np.uint8).tobytes() == text


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_merges_in_any_order(data: st.DataObject) -> None:
    """Rows before those that make their parts, rows that stand twice, several ways to one token, and parts that nothing
    makes: as in `tokenizers`, whose vocabulary gives equal strings one id."""
    alphabet = data.draw(st.sampled_from(["ab", "a的", "的是不"]))
    strings = [bytes([value]) for value in sorted(set(alphabet.encode()))]
    pairs: list[tuple[bytes, bytes]] = []
    for _ in range(data.draw(st.integers(0, 12))):
        pair = data.draw(st.sampled_from(strings)), data.draw(st.sampled_from(strings))
        # one string in five is not made by any row
        if data.draw(st.integers(0, 4)):
            pairs.append(pair)
        strings.append(pair[0] + pair[1])
    if pairs:
        pairs += data.draw(st.lists(st.sampled_from(pairs), max_size=3))
    pairs = data.draw(st.permutations(pairs))
    used = {part for pair in pairs for part in (*pair, pair[0] + pair[1])}
    names = data.draw(st.permutations(sorted(used | {bytes([value]) for value in range(256)})))
    ids = {name: 3 * number for number, name in enumerate(names)}
    merges = [(ids[left], ids[right], ids[left + right]) for left, right in pairs]
    byte_ids = [ids[bytes([value])] for value in range(256)]
    vocabulary = {to_characters(name): number for name, number in ids.items()}
    peer = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [(to_characters(left), to_characters(right)) for left, right in pairs])
    )
    peer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    encoder = BpeEncoder.from_merges(np.array(byte_ids), np.array(merges, np.int32).reshape(-1, 3))
    for size in (20, 200):
        text = data.draw(st.text(alphabet, min_size=1, max_size=size))
        expected = reference.encode(text.encode(), byte_ids, merges)
        assert encode_pieces(encoder, [text.encode()]) == expected == peer.encode(text).ids


def test_a_repeated_merge_delays_the_characters_it_makes() -> None:
    """The pair of the character's first bytes ranks last, so the blanks after it join before the character is whole."""
    first, second, third = "的".encode()
    merges = [
        (first, second, 256),
        (256, third, 257),
        (257, 32, 258),
        (32, 32, 259),
        (first, second, 256),
    ]
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges))
    piece = "的  ".encode()
    assert encode_pieces(encoder, [piece]) == reference.encode(piece, range(256), merges) == [257, 259]


def test_ids_need_not_follow_ranks() -> None:
    byte_ids = np.arange(256)[::-1] + 1000
    merges = [(1255 - 97, 1255 - 98, 7), (7, 1255 - 97, 3), (1255 - 98, 1255 - 97, 900)]
    encoder = BpeEncoder.from_merges(byte_ids, np.array(merges))
    for piece in (b"aba", b"abba", b"bab", b"c"):
        assert encode_pieces(encoder, [piece]) == reference.encode(piece, byte_ids.tolist(), merges)


def test_a_repeated_merge_counts_from_its_last_row() -> None:
    encoder = BpeEncoder.from_merges(np.arange(256), np.array([[97, 98, 256], [98, 97, 257], [97, 98, 256]]))
    assert encode_pieces(encoder, [b"aba"]) == [97, 257]


def test_whole_pieces_are_not_merged() -> None:
    encoder = BpeEncoder.from_merges(np.arange(256), np.array([[97, 98, 256]]), {b"abc": 300, b"ab" * 20: 301})
    assert encode_pieces(encoder, [b"abc", b"ab", b"ab" * 20, b"abcd"]) == [300, 256, 301, 256, 99, 100]


def test_long_whole_pieces_of_wide_characters() -> None:
    piece, other = "的是不的是不".encode(), "的是不的是的".encode()
    encoder = BpeEncoder.from_merges(np.arange(256), np.array([[97, 98, 256]]), {piece: 300})
    for _ in range(3):
        assert encode_pieces(encoder, [piece, other]) == [300, *other]


def test_a_whole_piece_has_its_own_id_though_merging_makes_another() -> None:
    encoder = BpeEncoder.from_merges(np.arange(256), np.array([[97, 98, 256]]), {b"ab": 300})
    for _ in range(2):
        assert encode_pieces(encoder, [b"ab", b"abc"]) == [300, 256, 99]


@pytest.mark.parametrize("name", TEXTS)
def test_short_and_long_pieces(name: str) -> None:
    """Up to `SHORT_BYTES` bytes by a scan, beyond that by a heap."""
    merges, _ = trained(name, 30)
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32))
    generator = np.random.default_rng(0)
    pool = [*TEXTS[name], b"a", b"\xe4", "不".encode()]
    for length in (*range(1, 20), 60, 100, 300):
        piece = b"".join(pool[i] for i in generator.integers(0, len(pool), size=length))
        assert encode_pieces(encoder, [piece]) == reference.encode(piece, range(256), merges), length


@pytest.mark.parametrize("unit", [b"a", b"ba", "的".encode(), "的是不".encode(), b"\xe7"])
def test_a_megabyte_without_a_break(unit: bytes) -> None:
    merges, _ = trained("runs" if unit[0] < 128 else "chinese", 30)
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32))
    piece = unit * (1_000_000 // len(unit))
    ids = encode_pieces(encoder, [piece])
    assert TokenBytes(token_bytes(merges)).decode(ids) == piece


def token_bytes(merges: list[tuple[int, int, int]]) -> list[bytes]:
    tokens = [bytes([value]) for value in range(256)]
    for left, right, _ in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


def test_the_cache_grows_and_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    merges, _ = trained("words", 20)
    generator = np.random.default_rng(1)
    letters = list(b" thecar")
    pieces = [bytes(generator.choice(letters, size=size)) for size in generator.integers(1, 40, size=3000)] * 2
    expected = [number for piece in pieces for number in reference.encode(piece, range(256), merges)]
    encode = {}
    for first_buckets, first_arena, cache_bytes in ((2, 1 << 14, 1 << 30), (2, 1 << 14, 0), (4, 1 << 14, 1 << 16)):
        monkeypatch.setattr(encode_module, "_FIRST_BUCKETS", first_buckets)
        monkeypatch.setattr(encode_module, "_FIRST_ARENA_BYTES", first_arena)
        encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32), cache_bytes=cache_bytes)
        assert encode_pieces(encoder, pieces) == expected
        assert encode_pieces(encoder, pieces) == expected
        encode[cache_bytes] = encoder
    assert encode[1 << 30].cache_bytes > 1 << 17
    assert encode[0].cache_bytes < 1 << 15


def test_token_ends_tile_the_text() -> None:
    merges, _ = trained("words", 20)
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32))
    text = b"xx the cat attic"
    ids, ends = encoder.encode_with_ends(padded(text), 2, np.array([4, 8, 14], np.int32))
    tokens = token_bytes(merges)
    assert [text[2:][begin:end] for begin, end in zip([0, *ends], ends, strict=False)] == [tokens[i] for i in ids]
    assert ends.dtype == np.int32
    assert ends[-1] == 14


def test_clones_work_in_threads() -> None:
    merges, _ = trained("words", 20)
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32))
    pieces = [b" the", b"there", b" attic", b" cat" * 5] * 500
    expected = encode_pieces(encoder, pieces)
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(encode_pieces(one, pieces)))
        for one in (encoder, encoder, encoder.clone(), encoder.clone())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    merges, _ = trained("words", 20)
    encoder = BpeEncoder.from_merges(np.arange(256), np.array(merges, np.int32))
    pieces = [b" the", b"there" * 9, b" attic", b" cat", b"x"] * 3
    expected = encode_pieces(encoder, pieces, b"before")
    for size in (1, 2, 7, 15):
        monkeypatch.setattr(encode_module, "_PIECES_PER_BLOCK", size)
        assert encode_pieces(encoder, pieces, b"before") == expected
    with pytest.raises(DataError, match="must grow"):
        encoder.encode(padded(b"abc"), 0, np.array([2, 1, 3], np.int32))


def test_no_pieces() -> None:
    encoder = BpeEncoder.from_merges(np.arange(256), np.empty((0, 3)))
    assert encoder.encode(padded(b""), 0, np.empty(0, np.int32)).tolist() == []
    assert encoder.encode(padded(b"ab"), 0, np.array([1, 2], np.int32), 1).tolist() == [97]


def test_broken_input() -> None:
    encoder = BpeEncoder.from_merges(np.arange(256), np.empty((0, 3)))
    out = np.empty(3 + OUT_SLACK, np.int32)
    with pytest.raises(DataError, match="out must be contiguous int32 of 19 or more, got 18 of int32"):
        encoder.encode_into(padded(b"abc"), 0, np.array([3], np.int32), None, out[1:])
    for ends in ([2, 1, 3], [0, 3], [1, 1 << 30, 3], [-5, 3]):
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            encoder.encode_into(padded(b"abc"), 0, np.array(ends, np.int32), None, out)
    with pytest.raises(DataError, match="needs 64 bytes of padding"):
        encoder.encode(np.zeros(10, np.uint8), 0, np.array([3], np.int32))


def test_broken_vocabularies() -> None:
    ranks = {bytes([value]): value for value in range(256)}
    with pytest.raises(ConfigError, match="256 distinct ids"):
        BpeEncoder.from_merges(np.zeros(256), np.empty((0, 3)))
    with pytest.raises(ConfigError, match=r"ids in merges must be >= 0, got -1"):
        BpeEncoder.from_merges(np.arange(256), np.array([[1, 2, -1]]))
    with pytest.raises(ConfigError, match=r"id 256 stands for b'ab' and for b'bb'. Fix: give each token its own id"):
        BpeEncoder.from_merges(np.arange(256), np.array([[97, 98, 256], [98, 98, 256]]))
    with pytest.raises(ConfigError, match=r"the id 98 stands for b'b' and for b'abc'"):
        BpeEncoder.from_merges(np.arange(256), np.empty((0, 3)), {b"abc": 98})
    with pytest.raises(ConfigError, match=r"all 256 single bytes, b'a' is missing"):
        BpeEncoder.from_ranks({token: number for token, number in ranks.items() if token != b"a"})
    for extra in ({b"ab": 5}, {b"": 256}, {b"ab": -1}, {b"ab": 1 << 31}):
        with pytest.raises(ConfigError, match="distinct ids"):
            BpeEncoder.from_ranks(ranks | extra)
    with pytest.raises(NotSupportedError, match="a ranked token may have at most 4096 bytes, got 4097"):
        BpeEncoder.from_ranks(ranks | {b"a" * 4097: 256})
