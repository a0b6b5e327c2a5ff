"""Oracle: `tokenizers`, with tokenizers of every kind that it trained, and `transformers`."""

import itertools
import json
import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers import peers

from textmill.errors import NotSupportedError, TextmillError
from textmill.ops.normalize import build_charsmap
from textmill.tokenizers import Tokenizer, steps
from textmill.tokenizers.decoding import Decoder
from textmill.tokenizers.models import CharacterBpeModel, UnigramModel
from textmill.tokenizers.normalizing import normalize
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.tokenizer_json import from_schema, to_schema
from textmill.tokenizers.tokenizer_json.own_steps import equivalent

PARTS = [
    " ", "  ", "the ", "fox", "①", "ﬁ", "é", "e\u0301", "中", "▁", "\t", "\n", "123", "don't", "!", "😀", "``", "İ",
    "Σ", "ab", "\u3000", "THE", "zzz", "The quick brown fox", "seashells!", "wood, if", "straße", "\x01",
]  # fmt: skip


def texts(count):
    generator = random.Random(0)
    return ["".join(generator.choices(PARTS, k=generator.randrange(7))) for _ in range(count)]


@pytest.fixture(scope="module", params=peers.KINDS)
def theirs(request):
    return peers.trained(request.param)


def test_ids_offsets_and_texts_are_theirs(theirs):
    pipeline = from_schema(json.loads(theirs.to_str()))
    ours = Tokenizer(pipeline)
    decoder = Decoder(pipeline.strings, pipeline.decoders)
    for text in texts(150):
        expected = theirs.encode(text, add_special_tokens=False)
        ids, spans = ours.encode_with_spans(text, allow_special=True)
        assert ids == ours.encode(text, allow_special=True) == expected.ids, ascii(text)
        assert spans == expected.offsets, ascii(text)
        assert decoder.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


def test_what_is_written_is_the_same_tokenizer(theirs, tmp_path):
    pipeline = from_schema(json.loads(theirs.to_str()))
    written = json.dumps(to_schema(pipeline))
    assert from_schema(json.loads(written)) == pipeline
    again = tokenizers.Tokenizer.from_str(written)
    for text in texts(60):
        first, second = theirs.encode(text, "pair"), again.encode(text, "pair")
        assert (first.ids, first.tokens, first.offsets, first.type_ids) == (
            second.ids, second.tokens, second.offsets, second.type_ids,
        )  # fmt: skip
        assert theirs.decode(first.ids) == again.decode(first.ids)


def test_transformers_opens_it(theirs, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(to_schema(from_schema(json.loads(theirs.to_str())))))
    opened = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
    for text in texts(10):
        assert opened(text)["input_ids"] == theirs.encode(text).ids


@pytest.mark.parametrize("rule", [None, {"Fixed": 7}, "BatchLongest"])
def test_truncation_and_padding(rule):
    theirs = peers.trained("words")
    theirs.enable_truncation(5, stride=2, strategy="only_first", direction="left")
    schema = json.loads(theirs.to_str())
    if rule is not None:
        theirs.enable_padding(direction="left", pad_id=3, pad_token="x", length=7 if rule != "BatchLongest" else None)
        schema = json.loads(theirs.to_str())
    pipeline = from_schema(schema)
    assert pipeline.truncation == steps.Truncation(max_length=5, stride=2, strategy="only_first", direction="left")
    assert (pipeline.padding is None) == (rule is None)
    assert {key: to_schema(pipeline)[key] for key in ("truncation", "padding")} == {
        key: schema[key] for key in ("truncation", "padding")
    }


def test_flags_of_added_tokens():
    theirs = peers.trained("words")
    token = tokenizers.AddedToken("<m>", lstrip=True, rstrip=True, single_word=True, normalized=False)
    theirs.add_special_tokens([token])
    schema = json.loads(theirs.to_str())
    pipeline = from_schema(schema)
    assert pipeline.added[-1].lstrip
    assert pipeline.added[-1].rstrip
    assert pipeline.added[-1].single_word
    assert to_schema(pipeline)["added_tokens"] == schema["added_tokens"]


CHARSMAP = build_charsmap({"ﬁ": "fi", "①": "1", "\t": " ", "\u3000": " ", "\x01": ""})


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("squeeze", [True, False])
@pytest.mark.parametrize("suffix", [True, False])
def test_sentencepieces_steps(prefix, squeeze, suffix):
    step = steps.SentencePiece(
        charsmap=CHARSMAP, name="own", dummy_prefix=prefix, squeeze_blanks=squeeze, blank_as_suffix=suffix
    )
    decoder = steps.DecodeSentencePiece(dummy_prefix=prefix, squeeze_blanks=squeeze, blank_as_suffix=suffix)
    letters = sorted({character for part in PARTS for character in normalize(part, [step])} | {"▁"})
    pieces = [("<unk>", 0.0), *((letter, -1.0) for letter in letters), ("▁the", -2.0), ("fox", -2.5)]
    pipeline = Pipeline(
        model=UnigramModel(pieces=pieces, unknown=0, kinds={0: "unknown"}, precision="float32"),
        normalizers=(step,),
        decoders=(decoder,),
    )
    written = json.dumps(to_schema(pipeline))
    assert from_schema(json.loads(written)) == pipeline
    theirs = tokenizers.Tokenizer.from_str(written)
    ours = Decoder(pipeline.strings, pipeline.decoders, kinds={0: "unknown"})
    for text in texts(150):
        # what the steps cannot tell: a blank's symbol at an end, and text that vanishes from an empty one
        text = text.replace("▁", "").replace("\x01", "" if suffix else "\x01")
        expected = normalize(text, [step])
        assert normalize(text, equivalent(step)) == expected, ascii(text)
        assert theirs.normalizer.normalize_str(text) == expected, ascii(text)
        ids = theirs.encode(text).ids
        if 0 not in ids:
            assert theirs.decode(ids) == ours.decode(ids)


def test_a_user_defined_piece_that_the_rules_would_change():
    step = steps.SentencePiece(charsmap=CHARSMAP, user_defined=("①",))
    model = UnigramModel(pieces=[("<unk>", 0.0)], unknown=0)
    with pytest.raises(NotSupportedError, match="the user-defined piece '①' stays as it is"):
        to_schema(Pipeline(model=model, normalizers=(step,)))


def test_scores_of_bpe():
    letters = ["<unk>", *"abc▁"]
    unions = {"ab": -1.0, "bc": -2.0, "abc": -3.0, "▁a": -0.5}
    tokens = {token: id for id, token in enumerate([*letters, *unions])}
    model = CharacterBpeModel(tokens=tokens, merges=None, scores=unions, kinds={"<unk>": "unknown"}, unknown="<unk>")
    pipeline = Pipeline(model=model)
    written = json.dumps(to_schema(pipeline))
    assert from_schema(json.loads(written)) == pipeline
    theirs = tokenizers.Tokenizer.from_str(written)
    assert theirs.encode("▁abcbc").tokens == ["▁a", "bc", "bc"]


def test_added_tokens_that_do_not_follow():
    model = UnigramModel(pieces=[("<unk>", 0.0)], unknown=0)
    added = (AddedToken(content="x", id=5),)
    with pytest.raises(NotSupportedError, match="go on where its pieces end"):
        to_schema(Pipeline(model=model, added=added))


def test_published_vocabulary(shared_data):
    import lzma

    folder = shared_data / "vocab-tokenizer-json"
    with lzma.open(folder / "gpt-neox-20B_tokenizer.json.xz") as file:
        schema = json.load(file)
    pipeline = from_schema(schema)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(to_schema(pipeline)))
    assert from_schema(to_schema(pipeline)) == pipeline
    for line in (folder / "expected.jsonl").read_text().split("\n")[1:60]:
        row = json.loads(line)
        assert theirs.encode(row["text"]).ids == row["ids"]


SCHEMAS = [json.loads(peers.trained(kind).to_str()) for kind in ("bert", "albert", "llama", "clip")]


def places(value, path=()):
    """The paths to every part of a schema, of long lists only to the first entries."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:8]:
        yield from places(inner, (*path, key))


PLACES = [(number, path) for number, schema in enumerate(SCHEMAS) for path in places(schema) if path]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 1 << 70) | st.floats() | st.text("aĠ▁\ud800 ", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "a", "id", "textmill", "Sequence", "String"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_hostile_parts_never_crash(place, value):
    number, path = place
    schema = json.loads(json.dumps(SCHEMAS[number]))
    part = schema
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    try:
        pipeline = from_schema(schema)
        Tokenizer(pipeline).encode("some Text! ①")
    except TextmillError:
        return


def test_sequences_without_end():
    part = {"type": "NFC"}
    for _ in range(90):
        part = {"type": "Sequence", "normalizers": [part]}
    with pytest.raises(TextmillError, match="nested too deep"):
        from_schema({**SCHEMAS[0], "normalizer": part})


def test_many_documents_at_once(theirs):
    ours = Tokenizer(from_schema(json.loads(theirs.to_str())))
    documents = [*texts(80), "", "", " ", "x" * 3000, *texts(5), ""]
    ids, offsets = ours.encode_documents(documents, allow_special=True)
    assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets.tolist())] == [
        theirs.encode(text, add_special_tokens=False).ids for text in documents
    ]
    assert [array.tolist() for array in ours.encode_documents([])] == [[], [0]]
    assert [array.tolist() for array in ours.encode_documents(["", ""])] == [[], [0, 0, 0]]
