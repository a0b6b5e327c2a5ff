import numpy as np
import pytest

from textmill.errors import DataError
from textmill.metrics.tokenizer import coverage, fertility, renyi_efficiency, token_counts, tokenizer_figures


def test_figures_of_a_text_counted_by_hand() -> None:
    figures = tokenizer_figures("aé bb", np.array([0, 1, 1, 3], np.int32), 200)
    assert (figures.num_tokens, figures.num_bytes, figures.bytes_per_token, figures.fertility) == (4, 6, 1.5, 2.0)
    assert figures.unused_share == 197 / 200
    assert figures.coverage == {"100": 1.0}


def test_renyi_efficiency_equals_its_definition() -> None:
    counts = np.array([8, 4, 4, 0])
    p = [0.5, 0.25, 0.25]
    by_hand = np.log(sum(x**2.5 for x in p)) / (1 - 2.5) / np.log(4)
    assert renyi_efficiency(counts) == pytest.approx(by_hand)
    assert renyi_efficiency(counts, alpha=1) == pytest.approx(1.5 * np.log(2) / np.log(4))
    # Renyi's entropy falls with alpha and is continuous at 1
    assert renyi_efficiency(counts, alpha=1 + 1e-6) == pytest.approx(renyi_efficiency(counts, alpha=1), abs=1e-5)
    assert renyi_efficiency(np.array([7])) == 1.0


def test_coverage_is_a_share_that_grows() -> None:
    counts = np.random.default_rng(0).integers(0, 50, 300)
    shares = [coverage(counts, top) for top in (1, 10, 100, 300)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match=r"ids must be in \[0, 4\), got 0 to 4"):
        token_counts(np.array([0, 4]), 4)
    with pytest.raises(DataError, match="a figure per word needs at least one, got 0 words"):
        fertility("  ", 3)
    with pytest.raises(DataError, match="a figure per token"):
        coverage(np.zeros(3, np.int64), 1)
