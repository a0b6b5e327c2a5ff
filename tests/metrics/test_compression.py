import random
import shutil
import subprocess

import pytest

from textmill.errors import DataError
from textmill.metrics.compression import compression_baselines, gzip_bits_per_byte, xz_bits_per_byte

WORDS = ["the", "mill", "turns", "raw", "text", "into", "a", "model", "that", "writes", "and", "its", "owner", "keeps"]
TRAIN = " ".join(random.Random(0).choices(WORDS, k=20_000)).encode()
TEXT = " ".join(random.Random(1).choices(WORDS, k=2_000)).encode()


@pytest.mark.parametrize(
    ("program", "measure"), [(["gzip", "-9nc"], gzip_bits_per_byte), (["xz", "-9ec"], xz_bits_per_byte)]
)
def test_alone_equals_the_program(program: list[str], measure) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"no {program[0]} here")
    size = len(subprocess.run(program, input=TEXT, capture_output=True, check=True).stdout)
    # builds of zlib differ by a few bytes
    assert measure(TEXT) == pytest.approx(8 * size / len(TEXT), rel=0.02)


def test_priming_helps_and_a_copy_costs_next_to_nothing() -> None:
    assert xz_bits_per_byte(TEXT, train=TRAIN) < xz_bits_per_byte(TEXT)
    assert gzip_bits_per_byte(TEXT, train=TRAIN) < gzip_bits_per_byte(TEXT)
    noise = random.Random(2).randbytes(200_000)
    # xz copies from 200 kB back, gzip can't look that far
    assert xz_bits_per_byte(noise[:50_000], train=noise) < 0.1
    assert gzip_bits_per_byte(noise[:50_000], train=noise) > 7.9


def test_baselines_have_names_for_a_plot() -> None:
    baselines = compression_baselines(TEXT, TRAIN)
    assert baselines["gzip -9"] == gzip_bits_per_byte(TEXT)
    assert baselines["xz -9e after the training text"] == xz_bits_per_byte(TEXT, train=TRAIN)


@pytest.mark.parametrize("measure", [gzip_bits_per_byte, xz_bits_per_byte])
def test_no_text_is_an_error(measure) -> None:
    with pytest.raises(DataError, match="measured on text, got none"):
        measure(b"")
