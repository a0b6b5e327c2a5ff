"""The memory of a run, in a process of its own: `python planned_run.py plan|parts|run SETTINGS`, prints bytes.

`plan` and `parts` predict it, from the whole model and from parts; `run` trains a few steps and tells what they took.
"""

import dataclasses
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from textmill.models.configs import BertConfig, GPTConfig, LlamaConfig, LstmConfig, MixtralConfig
from textmill.tasks import planning
from textmill.tasks.pretrain import Job, new_model
from textmill.training import cpu
from textmill.training.config import Machine, TrainingConfig
from textmill.training.evaluation import HeldOut
from textmill.training.planning import peak_bytes, random_ids
from textmill.training.trainer import Trainer

CONFIGS: dict[str, Any] = {
    "bert": BertConfig, "gpt": GPTConfig, "llama": LlamaConfig, "lstm": LstmConfig, "mixtral": MixtralConfig
}  # fmt: skip
VOCABULARY = 8000


def job(settings: dict[str, Any]) -> Job:
    return Job(
        model=CONFIGS[settings["kind"]](**settings["model"]),
        initialisation=None,
        training=TrainingConfig(steps=4, **settings["training"]),
        machine=Machine(threads=1),
        quiet=True,
    )


class Same:
    def __init__(self, batch: Any) -> None:
        self.same = batch

    def batch(self, step: int) -> Any:
        return self.same


def run(planned: Job) -> None:
    cpu.tune(1)
    model = new_model(dataclasses.replace(planned.model, vocab_size=VOCABULARY), 0)
    chosen = "carried" if hasattr(model, "hidden_with_memory") else planned.learning.chosen(planned.model)
    objective, shaped = planning._SHAPES[chosen]
    training = planned.training
    ids = random_ids(VOCABULARY, training.batch_size, training.context_length)
    batch = shaped(ids, planned.learning.masking.fraction)
    held_out = HeldOut(objective=objective(), batches=lambda: [batch])
    with tempfile.TemporaryDirectory() as folder:
        Trainer(model, objective(), Same(batch), training, out=Path(folder), evaluate=held_out).run()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    wanted = job(json.loads(sys.argv[2]))
    if sys.argv[1] == "run":
        run(wanted)
        print(peak_bytes())
    else:
        seconds = 1e9 if sys.argv[1] == "plan" else 0.0
        print(planning.plan_of(wanted, vocab_size=VOCABULARY, whole_seconds=seconds).memory.process)
