"""Oracle: the rules inside sentencepiece."""

import pytest
import sentencepiece

from textmill.errors import ConfigError
from textmill.tokenizers.charsmaps import NAMES, rules


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:-1])])
def test_the_rules_are_sentencepieces(name):
    assert rules(name) == dict(sentencepiece.SentencePieceNormalizer(rule_name=name).decompile())


def test_other_names():
    assert rules("identity") == {}
    with pytest.raises(ConfigError, match=r"there are no normalisation rules 'nfc'. Fix: use one of nmt_nfkc, nfkc"):
        rules("nfc")
