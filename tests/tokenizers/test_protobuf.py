import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import FormatError
from textmill.tokenizers.protobuf import fields, message, signed

NUMBERS = st.integers(1, (1 << 29) - 1)
VALUES = st.one_of(st.integers(0, (1 << 64) - 1), st.binary(max_size=300), st.floats(width=32, allow_nan=False))


@given(st.lists(st.tuples(NUMBERS, VALUES), max_size=8))
def test_a_message_reads_as_it_was_written(content):
    assert list(fields(message(content))) == content


def test_negative_numbers_take_ten_bytes():
    ((number, value),) = fields(message([(43, -1)]))
    assert (number, signed(value)) == (43, -1)


@given(st.binary(max_size=60))
def test_hostile_bytes_end_in_fields_or_a_clear_error(data):
    with contextlib.suppress(FormatError):
        list(fields(data))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x0a\x05ab", "cut off: a field at byte 2 has 5 bytes"),
        (b"\x08" + b"\xff" * 11, "a number of more than 64 bits"),
        (b"\x0b", "it has the type 3"),
        (b"\x08", "cut off at byte 1"),
        (b"\x02", "no field"),
    ],
)
def test_damage_is_named(data, problem):
    with pytest.raises(FormatError, match=problem):
        list(fields(data))
