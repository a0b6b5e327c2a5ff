"""One training step of an LSTM language model: forward, backward, clip, AdamW. Each side in a process of its own.

Two layers of 512, embedding and output matrix in one, 16,384 tokens of vocabulary, 24 streams of 64 tokens, the memory
carried from step to step. The peer is torch's own `nn.LSTM` with all logits at once, in a plain loop, from the same
weights.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, Worker, timed
from benchmarks.steps import RATE, our_step

ABOUT = "a training step of an LSTM language model against torch's nn.LSTM with full logits"
GOALS = ("torch nn.LSTM, fp32: at least 1.5x", "the same, both in fp32: at least 1.0x")

VOCABULARY, WIDTH, LAYERS = 16_384, 512, 2
STEPS_CHECKED = 4


def comparisons(options: Options) -> Iterator[Comparison]:
    arguments = {"batch_size": 2 if options.quick else 24, "context_length": 64}
    for precision, least, tolerance in (("fp32", 1.0, 1e-4), ("auto", 1.5, 0.01)):
        with (
            Worker("benchmarks.lstm_step:ours", {**arguments, "precision": precision}) as ours,
            Worker("benchmarks.lstm_step:peer", arguments) as peer,
        ):
            yield Comparison(
                name=f"LSTM training step, {ours.facts['precision']}, against torch fp32",
                goal=Goal(kind="times", value=least),
                ours=Side(name=f"textmill {ours.facts['precision']}", measure=ours.measure),
                peer=Side(name="torch fp32", measure=peer.measure),
                check=partial(_check, ours, peer, tolerance),
                sizes={**arguments, "parameters": ours.facts["parameters"]},
                warm_up=3,
            )


def _check(ours: Worker, peer: Worker, tolerance: float) -> None:
    """The same losses in the first steps, each with the memory that the one before left."""
    pairs = zip(ours.facts["losses"], peer.facts["losses"], strict=True)
    for step, (mine, other) in enumerate(pairs):
        if abs(mine - other) > tolerance * other:
            raise RefusedError(f"the loss at step {step} is {mine:.5f} by textmill and {other:.5f} by torch")


def ours(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(*_ours(**arguments))


def peer(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(*_peer(**arguments))


def _served(step: Callable[[], float], facts: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], float]]:
    return {**facts, "losses": [step() for _ in range(STEPS_CHECKED)]}, timed(step)


def _ours(batch_size: int, context_length: int, precision: str) -> tuple[Callable[[], float], dict[str, Any]]:
    from textmill.objectives.carried import CarriedNextToken

    model = _model().train()
    step, name = our_step(model, CarriedNextToken(), _batches(batch_size, context_length), precision)
    return step, {"precision": name, "parameters": model.num_parameters()}


def _peer(batch_size: int, context_length: int) -> tuple[Callable[[], float], dict[str, Any]]:
    import torch
    from torch import nn

    start = _model()
    embedding = nn.Embedding.from_pretrained(start.embedding.weight.detach(), freeze=False)
    lstm = nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)
    ours = [weight.detach() for block in start.trunk.blocks for weight in block.parameters()]
    lstm.load_state_dict(dict(zip(lstm.state_dict(), ours, strict=True)))
    parameters = [*embedding.parameters(), *lstm.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    batches = _batches(batch_size, context_length)
    memory: Any = None

    def step() -> float:
        nonlocal memory
        batch = next(batches)
        hidden, memory = lstm(embedding(torch.as_tensor(batch.tokens)), memory)
        memory = tuple(part.detach() for part in memory)
        logits = nn.functional.linear(hidden, embedding.weight)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.as_tensor(batch.targets).flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step, {}


def _model() -> Any:
    from textmill.models import Lstm, LstmConfig

    return Lstm(LstmConfig(vocab_size=VOCABULARY, width=WIDTH, num_layers=LAYERS), seed=0)


def _batches(batch_size: int, context_length: int) -> Iterator[Any]:
    """Streams of ids whose frequencies fall as words' do; the first batch continues nothing."""
    import numpy as np

    from textmill.data.streams import StreamBatch

    generator = np.random.default_rng(0)
    continues = False
    while True:
        ids = np.minimum(generator.zipf(1.2, (batch_size, context_length + 1)), VOCABULARY) - 1
        yield StreamBatch(tokens=ids[:, :-1], targets=ids[:, 1:], continues=continues)
        continues = True
