"""A tiny run with its progress line: `python terminal_run.py FOLDER`. Leaves a digest of the weights in FOLDER/done."""

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
import torch

from textmill.data.batches import Batch
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken
from textmill.report.live import LiveProgress
from textmill.training.config import TrainingConfig
from textmill.training.hooks import JsonLines
from textmill.training.trainer import StoppedError, Trainer


class Counting:
    """Sequences that count up, slowly enough to be disturbed."""

    def batch(self, step: int) -> Batch:
        time.sleep(0.02)
        ids = (step + np.arange(9) + np.arange(4)[:, None]) % 17
        return Batch(tokens=ids[:, :-1].copy(), targets=ids[:, 1:].copy())


def main(out: Path) -> int:
    torch.set_num_threads(1)
    model = GPT(GPTConfig(vocab_size=17, width=16, num_layers=1, num_heads=2, context_length=8), seed=0)
    config = TrainingConfig(steps=80, batch_size=4, context_length=8, warmup_steps=4, checkpoint_seconds=None)
    hooks = [JsonLines(out / "metrics.jsonl"), LiveProgress()]
    try:
        Trainer(model, NextToken(), Counting(), config, out=out, hooks=hooks).run()
    except StoppedError as stopped:
        return stopped.exit_status
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.contiguous().numpy().tobytes())
    (out / "done").write_text(digest.hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
