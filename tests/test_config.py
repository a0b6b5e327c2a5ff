from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill import config
from textmill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    kind: Literal["cosine", "constant"] = "cosine"


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int = 10
    name: str | None = None
    corpus: str | tuple[str, ...] = "builtin"
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    where: Path = Path("runs")


@given(
    st.builds(
        Outer,
        steps=st.integers(),
        name=st.none() | st.text(),
        corpus=st.text() | st.lists(st.text()).map(tuple),
        inner=st.builds(Inner, rate=st.floats(allow_nan=False), kind=st.sampled_from(["cosine", "constant"])),
    )
)
def test_json_and_back_is_the_same(outer: Outer) -> None:
    assert config.from_json(Outer, config.to_json(outer)) == outer


def test_override_sets_nested_values() -> None:
    changed = config.override(Outer(), ["inner.rate=3", "steps=5", "name=7", "corpus=a.txt", "on=true", "where=x/y"])
    assert changed == Outer(inner=Inner(rate=3.0), steps=5, name="7", corpus="a.txt", on=True, where=Path("x/y"))
    assert config.override(Outer(), ['corpus=["a","b"]']).corpus == ("a", "b")


def test_settings_that_must_agree_are_set_at_once() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Low:
        low: int = 5
        high: int = 9

        def __post_init__(self) -> None:
            assert self.low < self.high

    @dataclass(frozen=True, kw_only=True)
    class Whole:
        part: Low = field(default_factory=Low)

    for order in (["part.low=20", "part.high=30"], ["part.high=3", "part.low=2", "part.high=30", "part.low=20"]):
        assert config.override(Whole(), order) == Whole(part=Low(low=20, high=30))
    assert config.override(Whole(), ['part={"low":1}', "part.high=4"]) == Whole(part=Low(low=1, high=4))
    assert config.override(Whole(), ["part.high=4", 'part={"low":1}']) == Whole(part=Low(low=1))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stps=5", "there is no setting 'stps'. Fix: did you mean 'steps'?"),
        ("inner.rat=5", "there is no setting 'inner.rat'. Fix: did you mean 'rate'?"),
        ("steps", "a setting is written a.b=value, got 'steps'"),
        ("steps=many", "steps must be a whole number, got 'many'"),
        ("steps=true", "steps must be a whole number, got 'true'"),
        ("inner.kind=cosin", "inner.kind must be one of cosine, constant, got 'cosin'. Fix: did you mean 'cosine'?"),
        ("steps.more=1", "steps is a single value"),
        ("on=1", "on must be true or false, got '1'"),
    ],
)
def test_override_refuses_what_does_not_fit(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.override(Outer(), [assignment])
    assert message in str(caught.value)


def test_unknown_and_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError, match=r"file has no setting 'stepz'. Fix: did you mean 'steps'"):
        config.from_json(Outer, {"stepz": 1}, where="file")

    @dataclass(frozen=True, kw_only=True)
    class Needs:
        size: int

    with pytest.raises(ConfigError, match="lacks the setting 'size'"):
        config.from_json(Needs, {})
    with pytest.raises(ConfigError, match="must be an object, got 3"):
        config.from_json(Outer, 3)  # type: ignore[arg-type]


def test_fingerprints_tell_settings_apart_and_nothing_else() -> None:
    assert config.fingerprint(Outer()) == config.fingerprint(Outer(steps=10))
    assert config.fingerprint(Outer()) != config.fingerprint(Outer(steps=11))
    assert config.fingerprint([1, {"b": 1, "a": 2}]) == config.fingerprint((1, {"a": 2, "b": 1}))
