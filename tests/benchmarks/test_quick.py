"""The shipped benchmarks run from end to end on small inputs, and their sides agree."""

import pytest
from benchmarks.__main__ import main

from benchmarks import texts


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["encode", "train_bpe", "train_unigram", "first_batch", "loader", "gpt_step", "bert_step", "startup"]
)
def test_a_benchmark_runs_and_is_not_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if texts.data_folder() is None and name != "startup":
        pytest.skip("set TEXTMILL_DATA to the folder of data sets")
    assert main([name, "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "reached" in printed or "LOST" in printed
    assert "REFUSED" not in printed
