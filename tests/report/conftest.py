import pytest

from textmill.report.data import (
    Bar,
    Fact,
    Headline,
    Piece,
    ReportData,
    Sample,
    Series,
    Stage,
    TokenizerView,
)


@pytest.fixture
def report_data() -> ReportData:
    steps = tuple(float(step) for step in range(1, 41))
    return ReportData(
        title="A model <of> tests & trials",
        verdict="It learned.",
        headlines=(Headline(label="bits per byte", value="1.52"),),
        train_loss=Series(name="training", steps=steps, values=tuple(8 / step + 2 for step in steps)),
        held_out_loss=Series(name="held-out", steps=(1.0, 40.0), values=(9.0, 2.4)),
        learning_rates=(Series(name="AdamW", steps=steps, values=tuple(1e-3 / step for step in steps)),),
        speed=Series(name="speed", steps=steps, values=(1000.0,) * 40),
        bars=(Bar(name="this model", bits_per_byte=1.52, ours=True), Bar(name="xz | 9e", bits_per_byte=1.48)),
        samples=(Sample(prompt="<script>alert(1)</script>", continuation=" went\n```\non", settings="seed 0"),),
        tokenizer=TokenizerView(
            algorithm="byte-level BPE",
            vocab_size=300,
            bytes_per_token=3.2,
            fertility=1.4,
            unused_share=0.05,
            renyi_efficiency=0.5,
            coverage={"100": 0.8},
            length_counts=(0, 256, 30, 14),
            rank_counts=(50, 20, 10, 1),
            longest=(" the\n",),
            example=(Piece(text="a", id=1), Piece(text="\u6771", id=2), Piece(text="", id=3)),
        ),
        facts=(Fact(label="layers", value="4"),),
        stages=(Stage(name="pretrain", seconds=61.0), Stage(name="report", seconds=0.5, kept=True)),
        folder='runs/it"s/model',
        command="textmill run quickstart",
        configuration={"training": {"steps": 40}},
        versions={"textmill": "0.1.0"},
        made_at="today",
    )
