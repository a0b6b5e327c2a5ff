"""A tiny run, killed at random moments and started again until it ends: `python killed_run.py FOLDER KILLS SEED`.

Each start is a process of its own, forked after the imports; the parent kills it with SIGKILL. The trained weights and
the metrics of each finished run are compared with those of a run that nobody disturbed. Prints how many kills hit a
running process.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from textmill.data.batches import Batch
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken
from textmill.training.config import TrainingConfig
from textmill.training.evaluation import HeldOut
from textmill.training.hooks import JsonLines
from textmill.training.trainer import Trainer


class Counting:
    """Sequences that count up, from a place that the step decides."""

    def batch(self, step: int) -> Batch:
        starts = np.random.default_rng(step).integers(0, 17, (4, 1))
        ids = (starts + np.arange(9)) % 17
        return Batch(tokens=ids[:, :-1].copy(), targets=ids[:, 1:].copy())


def train(out: Path) -> None:
    """The run; leaves a digest of the weights in `out/done`."""
    settings = GPTConfig(vocab_size=17, width=16, num_layers=2, num_heads=2, context_length=8, dropout=0.1)
    model = GPT(settings, seed=0)
    config = TrainingConfig(
        steps=40,
        batch_size=4,
        context_length=8,
        micro_batch_size=2,
        warmup_steps=4,
        evaluate_every=10,
        checkpoint_every=3,
    )
    evaluate = HeldOut(objective=NextToken(), batches=lambda: [Counting().batch(10**6)], num_bytes=32)
    hooks = [JsonLines(out / "metrics.jsonl")]
    Trainer(model, NextToken(), Counting(), config, out=out, evaluate=evaluate, hooks=hooks).run()
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.contiguous().numpy().tobytes())
    (out / "done").write_text(digest.hexdigest())


def start(out: Path) -> int:
    """The process id of a run in `out`."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        # a torn checkpoint is warned of; anything else is an error
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="passing over a damaged checkpoint")
        train(out)
        status = 0
    finally:
        os._exit(status)


def killed_after(process: int, seconds: float) -> bool:
    """Whether the process was still running when it was killed."""
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
    return os.WIFSIGNALED(status)


def outcome(out: Path) -> tuple[str, list[tuple[object, ...]]]:
    """The weights' digest, and what the metrics say but for times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return (out / "done").read_text(), [(line["kind"], line["step"], line["loss"]) for line in lines]


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    # loads what the optimiser loads at its first use, once for all children
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    began = time.monotonic()
    _, status = os.waitpid(start(folder / "whole"), 0)
    assert status == 0, "the undisturbed run failed"
    whole_seconds = time.monotonic() - began
    chance, hits, runs = random.Random(seed), 0, 0
    while hits < kills:
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        hits_before = hits
        while not (out / "done").exists():
            if hits < kills:
                hits += killed_after(start(out), chance.uniform(0.05, 0.8) * whole_seconds)
            else:
                assert os.waitpid(start(out), 0)[1] == 0, "the resumed run failed"
        runs += hits > hits_before
        assert outcome(out) == outcome(folder / "whole"), "a killed run ended differently"
    print(hits, "kills in", runs, "runs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
