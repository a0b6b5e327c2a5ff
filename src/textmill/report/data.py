"""What a report shows, as plain values: anything can fill it in, and a report can be rendered again from its JSON.

Everything but the title may be missing; a part without data is left out of the page.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a plot."""

    name: str
    steps: tuple[float, ...] = ()
    """x: training steps"""
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.steps) == len(self.values), (len(self.steps), len(self.values))


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One big number at the head of the page."""

    label: str
    value: str
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Bits per byte on held-out text, of the model or of a baseline."""

    name: str
    bits_per_byte: float
    ours: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample:
    prompt: str
    continuation: str
    settings: str = ""
    """how it was drawn, for people: temperature 0.8, top-p 0.95"""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row of a table."""

    label: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the run and how long it took."""

    name: str
    seconds: float
    kept: bool = False
    """not repeated: its result was there from an earlier run"""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One token of the sample text. A token that ends inside a character has that character's text in its first one."""

    text: str
    id: int


@dataclass(frozen=True, kw_only=True)
class TokenizerView:
    """Figures of the tokenizer on held-out text, and pictures' data."""

    algorithm: str
    vocab_size: int
    bytes_per_token: float
    fertility: float
    """tokens per word between white space"""
    unused_share: float
    """of the vocabulary, never seen in the held-out text"""
    renyi_efficiency: float
    coverage: dict[str, float] = field(default_factory=dict)
    """share of the held-out tokens that the most frequent 100, 1000, ... ids cover"""
    length_counts: tuple[int, ...] = ()
    """entry n holds how many tokens of the vocabulary have n bytes"""
    rank_counts: tuple[int, ...] = ()
    """how often the most frequent token stands in the held-out text, the next one, and so on"""
    longest: tuple[str, ...] = ()
    example: tuple[Piece, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportData:
    title: str
    verdict: str = ""
    """two or three sentences in words"""
    headlines: tuple[Headline, ...] = ()
    train_loss: Series | None = None
    """nats per token"""
    held_out_loss: Series | None = None
    """nats per token"""
    learning_rates: tuple[Series, ...] = ()
    speed: Series | None = None
    """tokens per second"""
    bars: tuple[Bar, ...] = ()
    samples: tuple[Sample, ...] = ()
    tokenizer: TokenizerView | None = None
    facts: tuple[Fact, ...] = ()
    """the model and its text: parameters, layers, bytes, documents"""
    stages: tuple[Stage, ...] = ()
    folder: str = ""
    """the model folder, as the reader would type it"""
    command: str = ""
    """does the run again"""
    configuration: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    made_at: str = ""
    """date and time, for people"""
