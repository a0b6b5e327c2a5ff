"""Which objective a model learns by, and settings that its objective would pass over."""

import pytest

from textmill.data.masking_spec import MaskingSpec
from textmill.errors import ConfigError
from textmill.models.configs import BertConfig, GPTConfig, LstmConfig, ModernBertConfig
from textmill.tasks.learning_spec import Learning


def test_auto_is_what_the_paper_trains_by() -> None:
    found = [Learning().chosen(config) for config in (GPTConfig(), BertConfig(), ModernBertConfig(), LstmConfig())]
    assert found == ["next-token", "sentence-pairs", "masked-token", "next-token"]
    assert Learning(objective="masked-token").chosen(BertConfig()) == "masked-token"


def test_another_objective_is_refused() -> None:
    with pytest.raises(ConfigError, match="this GPT can't learn by masked-token") as found:
        Learning(objective="masked-token").chosen(GPTConfig())
    assert found.value.fix == "use next-token"
    with pytest.raises(ConfigError, match="this Bert can't learn by replaced-token") as found:
        Learning(objective="replaced-token").chosen(BertConfig())
    assert found.value.fix.endswith("or model.heads=replaced_token")


@pytest.mark.parametrize(
    ("setting", "heads"),
    [
        ({"documents": "packed"}, "pretraining"),
        ({"z_loss": 1e-4}, "masked_token"),
        ({"activation": 2.0}, "masked_token"),
        ({"temporal_activation": 1.0}, "pretraining"),
        ({"label_smoothing": 0.1}, "replaced_token"),
    ],
)
def test_a_setting_of_another_objective_is_refused(setting: dict[str, object], heads: str) -> None:
    [name] = setting
    with pytest.raises(ConfigError, match=f"^{name} is a setting of next-token"):
        Learning(**setting).chosen(BertConfig(heads=heads))  # type: ignore[arg-type]
    assert Learning(**setting).chosen(GPTConfig()) == "next-token"  # type: ignore[arg-type]


@pytest.mark.parametrize("masking", [MaskingSpec(fraction=0), MaskingSpec(max_predictions=0)])
def test_masks_that_leave_nothing_to_predict_are_refused(masking: MaskingSpec) -> None:
    for config in (BertConfig(), ModernBertConfig()):
        with pytest.raises(ConfigError, match="needs tokens to predict"):
            Learning(masking=masking).chosen(config)
    assert Learning(masking=masking).chosen(GPTConfig()) == "next-token"
