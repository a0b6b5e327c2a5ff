"""Ids to text one at a time, for a terminal: never half a character."""

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Text as it becomes certain. All that `push` and `finish` return, joined, is the `decode` of all the ids.

    A token may end inside a character. Its bytes wait until the tokens that follow complete the character, or show
    that it is none: then U+FFFD comes out.
    """

    def __init__(self, id_to_bytes: Callable[[int], bytes]) -> None:
        self._id_to_bytes = id_to_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The characters that this id completes; often all of its own, sometimes none.

        Raises:
            DataError: the id is not in the vocabulary.
        """
        return self._decoder.decode(self._id_to_bytes(id))

    def finish(self) -> str:
        """What the end of the text makes certain: U+FFFD for an incomplete character. The decoder starts anew."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
