"""The pages under `docs/` say what is true: names exist, examples run, links lead somewhere, pages are fresh."""

import doctest
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import NAMES
from benchmarks.harness import RESULTS
from docs import build

from benchmarks import table

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
METHODS = sorted(path for path in (DOCS / "methods").glob("*.md") if path.name != "README.md")
GUIDES = sorted((DOCS / "tokenizers").glob("*.md"))
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
# a page that the first benchmark brings
NOT_YET = None if RESULTS.exists() else table.PAGE
HEADINGS = ["Paper", "Equations", "Worked example", "Choices", "Tests", "Numbers", "Pitfalls"]

by_name = pytest.mark.parametrize("page", METHODS, ids=lambda page: page.stem)


def resolved(name: str) -> Any:
    """What a dotted name stands for: a module, what a module holds, or a field or method of a class in it.

    Raises:
        AttributeError: there is no such thing.
    """
    words = name.split(".")
    thing: Any = importlib.import_module(words[0])
    for count, word in enumerate(words[1:], 2):
        try:
            thing = getattr(thing, word)
        except AttributeError:
            if isinstance(thing, type) and word in getattr(thing, "__annotations__", {}):
                return None
            try:
                thing = importlib.import_module(".".join(words[:count]))
            except ModuleNotFoundError:
                raise AttributeError(f"there is no {'.'.join(words[:count])}") from None
    return thing


def named_in(page: Path) -> list[str]:
    """The dotted names in backticks that begin with textmill."""
    return re.findall(r"`(textmill(?:\.\w+)+)`", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in named_in(page):
        resolved(name)
    for path, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert (ROOT / path).is_file(), f"{page.name} names {path}"
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {test}"
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and (page.parent / target).resolve() != NOT_YET:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_name_that_is_gone_is_found() -> None:
    assert resolved("textmill.data.split.is_validation")(b"", 1.0)
    assert resolved("textmill.layers.config.TransformerConfig.width") is None
    for gone in ("textmill.data.split.was_validation", "textmill.dat", "textmill.data.batches.Batch.token"):
        with pytest.raises(AttributeError):
            resolved(gone)


@by_name
def test_every_method_page_has_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert 60 <= len(text.splitlines()) <= 150
    equations = text.partition("## Equations")[2].partition("\n## ")[0]
    assert re.search(r"`textmill(\.\w+)+`", equations), "an equation stands beside the function that computes it"


@pytest.mark.parametrize("page", [*METHODS, *GUIDES], ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_worked_examples_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert blocks or page in GUIDES, "a page has an example"
    failures: list[str] = []
    names: dict[str, Any] = {}
    runner = doctest.DocTestRunner(verbose=False)
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        test = doctest.DocTestParser().get_doctest(block[1], names, page.name, str(page), line)
        assert test.examples, f"{page.name}, line {line}: a Python block holds no example"
        runner.run(test, out=failures.append, clear_globs=False)
        names.update(test.globs)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    """Each line of a shell block that runs textmill, against the list of commands and their own help."""
    sections = build.sections(build.CLI_PAGE.read_text(encoding="utf-8"))
    helps = {title.removeprefix("textmill "): body for title, body in sections.items()}
    for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["textmill"]:
                command = next((" ".join(words[1:n]) for n in (3, 2) if " ".join(words[1:n]) in helps), None)
                assert command, f"{page.name}: there is no command {line!r}"
                for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                    assert option in helps[command], f"{page.name}: textmill {command} has no {option}"


def test_the_list_of_methods_is_whole() -> None:
    listed = re.findall(r"\]\((\w+\.md)\)", (DOCS / "methods" / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [page.name for page in METHODS]


def test_places_for_figures_name_a_benchmark() -> None:
    names = [
        name for page in PAGES for name in re.findall(r"<!-- figure: ([\w-]+)[ \w.-]* -->", page.read_text("utf-8"))
    ]
    assert names
    assert set(names) <= set(NAMES)


def test_command_line_page_is_fresh() -> None:
    """To the letter with the tyro that wrote it; by options with another one, which lays help out in its own way."""
    kept = build.CLI_PAGE.read_text(encoding="utf-8")
    made = build.cli_page()
    if f"as tyro {build.tyro_version()} shows" not in kept:
        kept, made = (str(_options(page)) for page in (kept, made))
    assert kept == made, "docs/cli.md is stale: run `make docs`"


def test_build_writes_both_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "cli_page", lambda: "the commands")
    results = tmp_path / "results.jsonl"
    assert build.main([f"--folder={tmp_path}", f"--results={results}"]) == 0
    assert (tmp_path / "cli.md").read_text(encoding="utf-8") == "the commands"
    assert not (tmp_path / "benchmarks.md").exists()
    results.touch()
    assert build.main([f"--folder={tmp_path}", f"--results={results}"]) == 0
    assert (tmp_path / "benchmarks.md").read_text(encoding="utf-8").startswith("# Benchmarks")
    assert str(tmp_path / "cli.md") in capsys.readouterr().out


def test_boxes_come_off_in_both_alphabets() -> None:
    text = "usage\n\n╭─ options ─╮\n│ --a A     │\n│     more  │\n╰───────────╯\n"
    plain = text.translate(str.maketrans("╭╮╰╯│─", "++++|-"))
    assert doctest.testmod(build).failed == 0
    assert build.without_boxes(text) == build.without_boxes(plain) == "usage\n\noptions:\n  --a A\n      more"


def _options(page: str) -> dict[str, list[str]]:
    """The options of each command."""
    return {title: sorted(set(re.findall(r"--[a-z][a-z-]*", body))) for title, body in build.sections(page).items()}
