"""Files from strangers: whatever stands in them, a command says so in one line and never ends in a traceback."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.cli import main
from textmill.data.shards import TokenShards
from textmill.errors import TextmillError
from textmill.files import read_json
from textmill.folder import load
from textmill.recipes import resolve

ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1 << 31, 1 << 63, 10**30, 1e308, float("nan"), float("inf"), 0.5])
    | st.text(max_size=5)
    | st.sampled_from(["\0", "\ud800", "..", "/", "-", "builtin", "((", "a" * 3000])
    | st.just([])
    | st.just({})
    | st.lists(st.integers() | st.text(max_size=2), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2)
)
"""Values that don't belong where they are put."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value; of long lists and objects only the first ones."""
    if isinstance(value, dict | list):
        for key in list(value)[:40] if isinstance(value, dict) else range(min(3, len(value))):
            yield value, key
            yield from places(value[key])


def changed(text: str, data: st.DataObject) -> bytes:
    """A JSON text with a value replaced, dropped, renamed or doubled, or with bytes changed."""
    if data.draw(st.integers(0, 4)) == 0:
        raw = bytearray(text.encode())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        return bytes(raw)
    value = json.loads(text)
    for _ in range(data.draw(st.integers(1, 2))):
        found = list(places(value))
        container, key = found[data.draw(st.integers(0, len(found) - 1))]
        if isinstance(container, list) and not key < len(container):
            continue
        if isinstance(container, dict) and key not in container:
            continue
        if data.draw(st.integers(0, 3)) == 0:
            del container[key]
        else:
            container[key] = data.draw(ODD)
    return json.dumps(value).encode()


fuzzed = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def copy(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("fuzzed") / "run"))


def open_run(folder: Path) -> None:
    resolve(str(folder), ())


def open_model(folder: Path) -> None:
    opened = load(folder / "model", verify=False)
    opened.facts(weights=True)
    _ = opened.model, opened.end_ids, opened.tokenizer
    opened.tokenizer.encode("the list <|endoftext|>", allow_special=True)


def open_tokenizer(folder: Path) -> None:
    tokenizer = load(folder / "model", verify=False).tokenizer
    assert tokenizer.decode(tokenizer.encode("a")) is not None


def open_shards(folder: Path) -> None:
    for split in ("train", "validation"):
        shards = TokenShards.open(folder / "shards", split)  # type: ignore[arg-type]
        if shards.num_tokens:
            shards.window(0, 1)


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("run.json", open_run),
        ("model/run.json", open_model),
        ("model/config.json", open_model),
        ("model/generation_config.json", open_model),
        ("model/tokenizer_config.json", open_tokenizer),
        ("model/tokenizer.json", open_tokenizer),
        ("shards/shards.json", open_shards),
    ],
)
@given(data=st.data())
@fuzzed
def test_a_changed_file_is_read_or_refused(name: str, opened: Any, copy: Path, finished: Path, data: Any) -> None:
    text = (finished / name).read_text()
    (copy / name).write_bytes(changed(text, data))
    try:
        opened(copy)
    except TextmillError:
        pass
    finally:
        (copy / name).write_text(text)


@given(data=st.data())
@settings(fuzzed, max_examples=3)
def test_a_run_in_a_folder_whose_record_was_changed(copy: Path, finished: Path, tiny: list[str], data: Any) -> None:
    """Stages whose record was touched are repeated; the others are kept."""
    text = (finished / "run.json").read_text()
    record = json.loads(text)
    stage = data.draw(st.sampled_from(["evaluate", "write", "report"]))
    found = list(places(record["stages"][stage]))
    container, key = found[data.draw(st.integers(0, len(found) - 1))]
    container[key] = data.draw(ODD)
    (copy / "run.json").write_text(json.dumps(record))
    assert main(["run", "quickstart", *tiny, "--quiet", "-o", str(copy)]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": ' + "9" * 5000 + "}", "is not JSON: Exceeds the limit"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' stands twice in one object"),
        ("[" * 100_000, "nested too deep"),
        ("[" * 900 + "]" * 900, "nested too deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested too deep"),
        ("", "is not JSON"),
        ('{"a": "\\ud8"}', "is not JSON"),
    ],
)
def test_what_is_no_sound_json(content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(content)
    assert main(["run", str(tmp_path / "run.json"), "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_json_of_a_usual_depth_is_read(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(random.Random(0).randint(50, 90)):
        value = {"a": [value]} if isinstance(value, int) else [value]
    (tmp_path / "x.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "x.json") == value
