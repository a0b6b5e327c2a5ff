import dataclasses

import pytest

from textmill.report.card import model_card
from textmill.report.data import ReportData


def test_the_card_holds_head_figures_use_and_limits(report_data: ReportData) -> None:
    card = model_card(report_data, licence="apache-2.0", languages=("en",))
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "| xz \\| 9e | 1.480 |\n| **this model** | 1.520 |" in card
    assert "AutoModelForCausalLM.from_pretrained" in card
    assert "## Limits" in card
    # the sample holds a fence of three, so its own has four
    assert "````text\n<script>alert(1)</script> went\n```\non\n````" in card


def test_its_head_is_yaml(report_data: ReportData) -> None:
    yaml = pytest.importorskip("yaml")
    head = model_card(report_data, licence="mit", languages=("no",)).split("---\n")[1]
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["textmill"],
        "license": "mit",
        "language": ["no"],
    }


def test_a_title_stays_on_one_line(report_data: ReportData) -> None:
    card = model_card(dataclasses.replace(report_data, title="two\nlines"))
    assert "# two lines\n" in card
    assert "license" not in card
