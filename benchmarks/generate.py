"""Generation of one text, greedy, the same model and precision on both sides, token by token the same text."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import models
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, Worker, timed

ABOUT = "greedy generation, batch 1, fp32, the quickstart's model"
GOALS = ("transformers generate: at least 1.2x",)

PROMPT = "Return the number of"


def comparisons(options: Options) -> Iterator[Comparison]:
    num_tokens = 16 if options.quick else 200
    arguments = {"folder": str(models.folder()), "num_tokens": num_tokens}
    with Worker("benchmarks.generate:ours", arguments) as ours, Worker("benchmarks.generate:peer", arguments) as peer:

        def check() -> None:
            if not ours.facts["text"]:
                raise RefusedError("the model ends its text at once")
            if ours.facts["text"] != peer.facts["text"]:
                raise RefusedError(f"texts differ: {ours.facts['text'][:80]!r} and {peer.facts['text'][:80]!r}")

        yield Comparison(
            name="generate, batch 1",
            goal=Goal(kind="times", value=1.2),
            ours=Side(name="textmill", measure=ours.measure),
            peer=Side(name="transformers", measure=peer.measure),
            check=check,
            sizes={"tokens": num_tokens},
        )


def ours(folder: str, num_tokens: int) -> tuple[dict[str, Any], Callable[[], float]]:
    import textmill

    opened = textmill.load(folder)

    def write() -> str:
        return "".join(textmill.generate(opened, PROMPT, max_tokens=num_tokens, temperature=0, seed=0))

    return {"text": write()}, timed(write)


def peer(folder: str, num_tokens: int) -> tuple[dict[str, Any], Callable[[], float]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def write() -> str:
        prompt = tokenizer(PROMPT, return_tensors="pt")
        ids = model.generate(
            **prompt, max_new_tokens=num_tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id or 0
        )
        return str(tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))

    return {"text": write()}, timed(write)
