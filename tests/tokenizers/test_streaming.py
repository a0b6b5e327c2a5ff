from hypothesis import given
from hypothesis import strategies as st

from textmill.tokenizers import StreamDecoder

fragments = st.one_of(st.binary(max_size=4), st.text(max_size=3).map(lambda text: text.encode(errors="replace")))


@given(st.lists(fragments, max_size=12))
def test_the_pushed_text_is_the_decoded_text(tokens):
    decoder = StreamDecoder(tokens.__getitem__)
    pushed = "".join(decoder.push(index) for index in range(len(tokens))) + decoder.finish()
    assert pushed == b"".join(tokens).decode("utf-8", "replace")


@given(st.text(max_size=8))
def test_never_half_a_character(text):
    data = text.encode("utf-8", "replace")
    decoder = StreamDecoder(lambda index: data[index : index + 1])
    seen = ""
    for index in range(len(data)):
        seen += decoder.push(index)
        # all characters whose last byte has come, and no other
        assert seen == data[: index + 1].decode("utf-8", "ignore")


def test_a_finished_decoder_starts_anew():
    tokens = [b"a\xe4\xb8", b"\xad", b"b"]
    decoder = StreamDecoder(tokens.__getitem__)
    assert (decoder.push(0), decoder.finish()) == ("a", "\ufffd")
    assert (decoder.push(2), decoder.finish()) == ("b", "")
    assert [decoder.push(0), decoder.push(1), decoder.push(2), decoder.finish()] == ["a", "中", "b", ""]
