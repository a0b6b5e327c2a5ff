"""Text in, text out: `generate` streams one continuation, `generate_batch` returns many."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textmill.config import from_json, to_json
from textmill.errors import ConfigError
from textmill.folder import ModelFolder, load
from textmill.generation.config import GenerationConfig
from textmill.generation.decoding import Decoding
from textmill.models.base import LanguageModel
from textmill.tokenizers import Tokenizer

Source = ModelFolder | str | os.PathLike[str] | tuple[LanguageModel, Tokenizer]
"""A model folder, its path, or a model with its tokenizer."""


def generate(
    source: Source, prompt: str = "", config: GenerationConfig | None = None, **settings: Any
) -> Iterator[str]:
    """The continuation of `prompt`, piece by piece; each piece is whole characters.

    An empty prompt starts from the end-of-text token.

    Args:
        source: a model folder, its path, or (model, tokenizer).
        config: all settings at once; default: those of `GenerationConfig`.
        settings: single ones, such as max_tokens=50, temperature=0, stop="\\n", seed=1.

    Raises:
        ConfigError: an unknown or wrong setting.
    """
    # settings are checked now, not when the first piece is asked for
    writer = _Writer(source, [prompt], _settings(config, settings))
    return (text for _, text in writer.pieces())


def generate_batch(
    source: Source,
    prompts: Sequence[str],
    config: GenerationConfig | None = None,
    *,
    seeds: Sequence[int] | None = None,
    **settings: Any,
) -> list[str]:
    """The continuation of each prompt, the same as `generate` gives for it alone.

    Args:
        seeds: one a prompt; default: the setting `seed` for each.
        config, settings: as in `generate`.
    """
    texts = [""] * len(prompts)
    if prompts:
        for index, text in _Writer(source, prompts, _settings(config, settings), seeds).pieces():
            texts[index] += text
    return texts


class StopTexts:
    """Cuts a stream of text at the first of some stop texts, also where one is spread over several pieces.

    >>> stream = StopTexts(["END"])
    >>> [stream.push("one E"), stream.push("N"), stream.push("Done"), stream.found]
    ['one ', '', '', True]
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.found = False
        self._held = ""

    def push(self, text: str) -> str:
        """What may be shown now: all but an ending that could be the beginning of a stop text."""
        if not self.stops or self.found:
            return "" if self.found else text
        text = self._held + text
        # the one that is complete first, so that the cut doesn't depend on how the text comes in pieces
        found = [(start + len(stop), start) for stop in self.stops if (start := text.find(stop)) >= 0]
        if found:
            self.found = True
            self._held = ""
            return text[: min(found)[1]]
        longest = max(len(stop) for stop in self.stops) - 1
        for held in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-held:]) for stop in self.stops):
                self._held = text[-held:]
                return text[:-held]
        self._held = ""
        return text

    def finish(self) -> str:
        """What was held back, when the text ends without a stop text."""
        held, self._held = self._held, ""
        return held


class _Writer:
    """Joins the decoding loop with a stream decoder and stop texts for each prompt."""

    def __init__(
        self, source: Source, prompts: Sequence[str], config: GenerationConfig, seeds: Sequence[int] | None = None
    ) -> None:
        model, self.tokenizer, end_ids = _opened(source)
        if seeds is not None and len(seeds) != len(prompts):
            raise ConfigError(f"there must be one seed a prompt, got {len(seeds)} seeds for {len(prompts)} prompts")
        self.decoding = Decoding(
            model,
            [self._encoded(prompt) for prompt in prompts],
            config,
            seeds=seeds,
            end_ids=end_ids,
            vocab_size=self.tokenizer.vocab_size,
        )
        self.decoders = [self.tokenizer.stream() for _ in prompts]
        self.stops = [StopTexts(config.stop) for _ in prompts]

    def pieces(self) -> Iterator[tuple[int, str]]:
        """(index of the prompt, text), as the text becomes certain."""
        while step := self.decoding.step():
            for index, token in step:
                text = self.stops[index].push(self.decoders[index].push(token))
                if self.stops[index].found:
                    self.decoding.finish(index)
                if text:
                    yield index, text
        for index, (decoder, stop) in enumerate(zip(self.decoders, self.stops, strict=True)):
            if not stop.found and (text := stop.push(decoder.finish()) + stop.finish()):
                yield index, text

    def _encoded(self, prompt: str) -> list[int]:
        tokens = self.tokenizer.encode(prompt)
        if tokens:
            return tokens
        if self.tokenizer.end_of_text_id is None:
            raise ConfigError("an empty prompt needs a tokenizer with an end-of-text token", fix="give a prompt")
        return [self.tokenizer.end_of_text_id]


def _opened(source: Source) -> tuple[LanguageModel, Tokenizer, tuple[int, ...]]:
    if isinstance(source, tuple):
        model, tokenizer = source
        end_id = tokenizer.end_of_text_id
        model.eval()
        return model, tokenizer, () if end_id is None else (end_id,)
    folder = source if isinstance(source, ModelFolder) else load(source)
    model = folder.model
    if not model.training:
        model.lay_out_for_decoding()
    return model, folder.tokenizer, folder.end_ids


def _settings(config: GenerationConfig | None, settings: Mapping[str, Any]) -> GenerationConfig:
    config = config or GenerationConfig()
    if not settings:
        return config
    stop = settings.get("stop")
    if isinstance(stop, str):
        settings = {**settings, "stop": (stop,)}
    checked = from_json(GenerationConfig, {**to_json(config), **settings}, where="generate")
    return replace(config, **{name: getattr(checked, name) for name in settings})
