import numpy as np
import pytest

from textmill.tokenizers.spans import in_characters


@pytest.mark.parametrize(
    ("text", "cuts", "expected"),
    [
        ("", [0], []),
        ("abc", [0, 1, 3], [(0, 1), (1, 3)]),
        ("aé中🙂", [0, 1, 3, 6, 10], [(0, 1), (1, 2), (2, 3), (3, 4)]),
        # tokens that end inside a character both have it
        ("🙂a", [0, 1, 2, 4, 5], [(0, 1), (0, 1), (0, 1), (1, 2)]),
        ("é中", [0, 1, 3, 5], [(0, 1), (0, 2), (1, 2)]),
    ],
)
def test_characters_of_byte_spans(text, cuts, expected):
    starts, ends = np.array(cuts[:-1], dtype=np.int64), np.array(cuts[1:], dtype=np.int64)
    assert in_characters(text.encode(), starts, ends) == expected
