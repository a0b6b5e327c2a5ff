"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# models in tests are so small that a second thread costs more than it brings; programs that tests start inherit this
os.environ.setdefault("OMP_NUM_THREADS", "1")

# timings are for benchmarks: a slow example is no failure
settings.register_profile("textmill", deadline=None)
settings.load_profile("textmill")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; the test is skipped where it is missing."""
    folder = Path(os.environ.get("TEXTMILL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the real data sets: set TEXTMILL_DATA to their folder")
    return folder
