"""The order of the floors: a stage imports what stands above it, never what stands below; nobody imports a peer."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "textmill"

FLOORS = [
    {"errors"},
    {"config", "cores", "files"},
    {"ops"},
    {"corpus"},
    {"tokenizers"},
    {"data"},
    {"layers"},
    {"models"},
    {"objectives"},
    {"peft"},
    {"estimators"},
    {"metrics"},
    {"folder"},
    {"parallel"},
    {"training"},
    {"generation"},
    {"report"},
    {"tasks"},
    {"recipes"},
    {"serving"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
PEERS = {"transformers", "tokenizers", "tiktoken", "sentencepiece", "datasets", "peft", "gensim", "ray"}
ANYWHERE = {"textmill", "textmill.__version__"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(["textmill", *(part for part in parts if part != "__init__")]), path


def imports(path: Path, module: str) -> Iterator[str]:
    """Absolute names of all imports, those inside functions too; those for type checkers alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "textmill")


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_only_point_up(module: str, path: Path) -> None:
    stage = module.split(".")[1] if "." in module else ""
    assert not stage or stage in LEVEL, f"{stage} has no floor: name it in FLOORS and in docs/architecture.md"
    for name in imports(path, module):
        assert name.split(".")[0] not in PEERS, f"{module} imports the peer {name}"
        if name.split(".")[0] != "textmill" or name in ANYWHERE or not stage:
            continue
        other = name.split(".")[1]
        assert other == stage or LEVEL[other] < LEVEL[stage], f"{module} imports {name}, which stands below it"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_triton_is_imported_in_gpu_files_alone(module: str, path: Path) -> None:
    if path.name != "gpu.py":
        assert not any(name.split(".")[0] == "triton" for name in imports(path, module))


@pytest.mark.parametrize("statement", ["import textmill", "from textmill.cli import main; main(['--help'])"])
def test_the_door_is_light(statement: str) -> None:
    check = (
        f"{statement}\nimport sys\n"
        "heavy = {'torch', 'numba', 'numpy', 'pyarrow', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
