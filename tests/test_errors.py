from textmill.errors import ConfigError, TextmillError


def test_the_message_says_the_problem_and_the_fix() -> None:
    error = ConfigError("steps must be >= 1, got 0", fix="use 100")
    assert str(error) == "steps must be >= 1, got 0. Fix: use 100"
    assert isinstance(error, TextmillError)


def test_without_a_fix_there_is_only_the_problem() -> None:
    assert str(ConfigError("no")) == "no"
