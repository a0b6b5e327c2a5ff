"""Language models that carry a memory from one stretch of text to the next.

They have two methods more than a `LanguageModel`, and give `hidden` and generation in terms of them:

    new_memory(num_rows) -> memory                              what is remembered of nothing
    hidden_with_memory(embedded, memory) -> hidden, memory      the next stretch, read with what is remembered

Legend: B batch, T time, W width, V vocabulary.
"""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from textmill.errors import FormatError, NotSupportedError
from textmill.layers.config import RecomputeName
from textmill.layers.memory import Memory, MemoryCache
from textmill.layers.segments import Segments
from textmill.models.base import LanguageModel
from textmill.models.foreign import State


class CarryingModel(LanguageModel):
    """A language model with a memory of fixed size, which reads texts of any length; saved under our own names."""

    NAMES: ClassVar = {}
    PREFIX: ClassVar = ""

    def new_memory(self, num_rows: int) -> Memory:
        """What is remembered of nothing; the first axis of its tensors is the row."""
        raise NotImplementedError

    def hidden_with_memory(
        self, embedded: Float[Tensor, "B T W"], memory: Memory
    ) -> tuple[Float[Tensor, "B T H"], Memory]:
        """The hidden states of tokens that follow what is remembered, and what is remembered after them."""
        raise NotImplementedError

    def hidden(
        self,
        embedded: Float[Tensor, "B T W"],
        real: Bool[Tensor, "B T"] | None = None,
        cache: MemoryCache | None = None,  # type: ignore[override]
        segments: Segments | None = None,
    ) -> Float[Tensor, "B T H"]:
        """The hidden states of a text from its beginning, or from where `cache` stands.

        Args:
            real: False where a row is padded, on the right, where no token of the text sees it.

        Raises:
            NotSupportedError: padding on the left, sequences without padding between them, or a delta.
        """
        name = type(self).__name__
        if segments is not None or self.delta is not None:
            what = "a row of several sequences (segments)" if segments is not None else "a delta"
            raise NotSupportedError(f"{name} does not take {what}", fix="use a Transformer, such as a GPT or a Llama")
        if real is not None and not bool(real[:, 0].all()):
            raise NotSupportedError(f"{name} reads padding on the left as text", fix="pad the rows on the right")
        num_rows, time = embedded.shape[:2]
        memory = self.new_memory(num_rows) if cache is None else cache.memory
        hidden, memory = self.hidden_with_memory(embedded, memory)
        if cache is not None:
            cache.advance([time] * num_rows, memory)
        return hidden

    def new_cache(self, num_rows: int, _: int | None = None) -> MemoryCache:  # type: ignore[override]
        """An empty memory for `num_rows` sequences of any length."""
        return MemoryCache(self.new_memory(num_rows), num_rows)

    def set_recompute(self, recompute: RecomputeName) -> None:
        """Raises NotSupportedError when asked to recompute."""
        if recompute != "none":
            raise NotSupportedError(
                f"{type(self).__name__} keeps its activations: recompute is not there for it",
                fix="leave recompute out, or use a smaller micro_batch_size",
            )

    def num_parameters(self, *, embeddings: bool = True) -> int:
        """Numbers to train, each counted once; without the embedding and the output layer if so asked."""
        return sum(weight.numel() for weight in (self if embeddings else self.trunk).parameters())

    def to_foreign(self, state: Mapping[str, Tensor] | None = None) -> State:
        """The weights (default: the model's own) under our names: no other library has the model."""
        return dict(self.state_dict() if state is None else state)

    def from_foreign(self, foreign: Mapping[str, Tensor]) -> State:
        """The weights of a file of ours, checked.

        Raises:
            FormatError: a weight is missing, left over, or of the wrong shape.
        """
        wanted = {name: weight.shape for name, weight in self.state_dict().items()}
        for name in sorted(wanted.keys() ^ foreign.keys()):
            problem = f"lack {name}" if name in wanted else f"hold {name}, which this model has no place for"
            raise FormatError(f"the weights {problem}", fix="the file may be of another model; fetch it again")
        for name, shape in wanted.items():
            found = list(foreign[name].shape)
            if found != list(shape):
                raise FormatError(
                    f"the weights {name} {found} don't fit config.json, which asks for {list(shape)}",
                    fix="fetch both files again",
                )
        return {name: weight.contiguous() for name, weight in foreign.items()}
