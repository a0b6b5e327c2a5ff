import pytest

from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 5])
def test_fraction_out_of_range(fraction):
    with pytest.raises(ConfigError, match=r"validation_fraction must be at least 0 and below 1, got .* Fix: use 0.05"):
        ShardSpec(validation_fraction=fraction)


def test_file_size_out_of_range():
    with pytest.raises(ConfigError, match=r"max_tokens_per_file must be at least 1, got 0"):
        ShardSpec(max_tokens_per_file=0)
