"""The decoding loop on token ids, for one prompt or many.

Rows of a batch start at column 0 of the cache and end where they end, so a row sees what it would see alone. When a row
fills the model's context, the model reads the newer half of it again and goes on from there. A model that carries a
memory has no such end; it reads prompts of the same length together, as it would take padding for text.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from textmill.errors import ConfigError
from textmill.generation.config import GenerationConfig
from textmill.generation.sampling import draw, filtered, repetition_penalty
from textmill.layers.cache import KVCache
from textmill.layers.memory import MemoryCache, joined
from textmill.models.base import LanguageModel
from textmill.models.carrying import CarryingModel

MANY_TOKENS = 16
"""A CPU multiplies one fp32 row with a tall matrix up to 3 times faster when the matrix is stored column by column.
From about this many tokens on, that pays for the copy."""


class Decoding:
    """New tokens, one step at a time, for all prompts that aren't finished."""

    def __init__(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        seeds: Sequence[int] | None = None,
        end_ids: Sequence[int] = (),
        vocab_size: int | None = None,
    ) -> None:
        """
        Args:
            prompts: token ids, at least one each.
            seeds: one a prompt; default: config.seed for each.
            end_ids: tokens that end a text.
            vocab_size: only ids below it are drawn, for a model whose vocabulary is padded.

        Raises:
            ConfigError: an empty prompt or an id outside the vocabulary; with overflow="stop", too long a text.
        """
        self.model, self.config = model, config
        self.end_ids = frozenset(() if config.ignore_end_of_text else end_ids)
        self.vocab_size = min(vocab_size or model.config.vocab_size, model.config.vocab_size)
        self.context = int(model.trunk_config.context_length)
        self.tokens = [list(prompt) for prompt in prompts]
        self._check(prompts)
        self.live = list(range(len(prompts)))
        """The prompts still being continued; row r of the cache belongs to prompt live[r]."""
        self.num_new = 0
        seeds = [config.seed] * len(prompts) if seeds is None else seeds
        self._random = [random.Random(seed) for seed in seeds]
        self._cache: KVCache | MemoryCache | None = None
        self._num_prompt_vectors = 0
        self._seen: Tensor | None = None
        self._finished: set[int] = set()
        self._output = self._output_columns()

    def finish(self, prompt: int) -> None:
        """No more tokens for this prompt."""
        self._finished.add(prompt)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int]]:
        """(prompt, new token) for each prompt that goes on; nothing when all are finished."""
        if self.num_new >= self.config.max_tokens:
            return []
        self._drop_finished()
        if not self.live:
            return []
        logits = self._first_logits() if self._cache is None else self._next_logits(self._cache)
        chosen = self._choose(logits[:, : self.vocab_size])
        self.num_new += 1
        result = []
        for prompt, token in zip(self.live, chosen, strict=True):
            self.tokens[prompt].append(token)
            if token in self.end_ids:
                self._finished.add(prompt)
            else:
                result.append((prompt, token))
        return result

    def _check(self, prompts: Sequence[Sequence[int]]) -> None:
        longest = 0
        for prompt in prompts:
            if not prompt:
                raise ConfigError("a prompt has no tokens", fix="begin with the end-of-text token")
            if not 0 <= min(prompt) <= max(prompt) < self.model.config.vocab_size:
                raise ConfigError(
                    f"the prompt has token {max(prompt)}, the model's vocabulary has {self.model.config.vocab_size}",
                    fix="use the tokenizer the model was trained with",
                )
            longest = max(longest, len(prompt))
        # the last new token is never read
        if self.config.overflow == "stop" and longest + self.config.max_tokens - 1 > self.context:
            raise ConfigError(
                f"{longest} prompt tokens and {self.config.max_tokens} new ones don't fit the model's context "
                f"of {self.context} tokens",
                fix=f'use max_tokens <= {max(0, self.context - longest + 1)}, or overflow="slide"',
            )

    def _output_columns(self) -> Tensor | None:
        """The output matrix stored column by column, where that is faster by more than the copy costs."""
        weight = self.model.output_weight.detach()
        fp32_cpu = weight.is_cpu and weight.dtype == torch.float32
        return weight.t().contiguous() if fp32_cpu and self.config.max_tokens >= MANY_TOKENS else None

    def _logits(self, hidden: Tensor) -> Tensor:
        if self._output is None:
            return self.model.logits(hidden)
        logits, bias = self.model.head_states(hidden) @ self._output, self.model.output_bias
        return logits if bias is None else logits + bias

    def _drop_finished(self) -> None:
        if self._finished.isdisjoint(self.live):
            return
        rows = [row for row, prompt in enumerate(self.live) if prompt not in self._finished]
        self.live = [self.live[row] for row in rows]
        if self._cache is not None and rows:
            self._cache.keep_rows(rows)
        if self._seen is not None and rows:
            self._seen = self._seen[rows]

    def _first_logits(self) -> Tensor:
        """Reads all prompts, padded on the right, which causal attention never looks at."""
        device = self.model.embedding.weight.device
        delta_prompt = None if self.model.delta is None else self.model.delta.prompt()
        self._num_prompt_vectors = 0 if delta_prompt is None else delta_prompt.shape[-2]
        room = self.context - self._num_prompt_vectors
        read = [self.tokens[prompt][-room:] for prompt in self.live]
        if isinstance(self.model, CarryingModel):
            return self._read_by_length(self.model, read)
        longest = max(map(len, read))
        padded = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in read], device=device)
        self._cache = self.model.new_cache(
            len(read), min(self.context, longest + self.config.max_tokens + self._num_prompt_vectors)
        )
        hidden = self.model.hidden(self.model.embed(padded), cache=self._cache)
        self._cache.set_lengths([len(tokens) + self._num_prompt_vectors for tokens in read])
        last = torch.tensor([len(tokens) - 1 for tokens in read], device=device)
        return self._logits(hidden[torch.arange(len(read), device=device), last])

    def _read_by_length(self, model: CarryingModel, read: list[list[int]]) -> Tensor:
        """Reads all prompts, those of the same length at once."""
        order, lasts, memories = [], [], []
        for length in sorted({len(tokens) for tokens in read}):
            rows = [row for row, tokens in enumerate(read) if len(tokens) == length]
            tokens = torch.tensor([read[row] for row in rows], device=model.embedding.weight.device)
            hidden, memory = model.hidden_with_memory(model.embed(tokens), model.new_memory(len(rows)))
            order += rows
            lasts.append(hidden[:, -1])
            memories.append(memory)
        cache = MemoryCache(joined(memories), len(order))
        cache.advance([len(read[row]) for row in order], cache.memory)
        # row r of the cache is prompt live[r] again
        places = [order.index(row) for row in range(len(order))]
        cache.keep_rows(places)
        self._cache = cache
        return self._logits(torch.cat(lasts)[places])

    def _next_logits(self, cache: KVCache | MemoryCache) -> Tensor:
        if isinstance(cache, KVCache) and cache.length >= self.context:
            for row, length in enumerate(list(cache.row_lengths)):
                if length >= self.context:
                    self._slide(cache, row)
        newest = [[self.tokens[prompt][-1]] for prompt in self.live]
        tokens = torch.tensor(newest, device=self.model.embedding.weight.device)
        # each model gets the cache that is its own
        states: Any = self.model.hidden
        return self._logits(states(self.model.embed(tokens), cache=cache)[:, 0])

    def _slide(self, cache: KVCache, row: int) -> None:
        """Forgets the older half of a row's context; its newest token is read in the step that follows."""
        kept = max(2, (self.context - self._num_prompt_vectors) // 2)
        tokens = torch.tensor([self.tokens[self.live[row]][-kept:-1]], device=cache.keys[0].device)
        alone = self.model.new_cache(1, tokens.shape[1] + self._num_prompt_vectors)
        self.model.hidden(self.model.embed(tokens), cache=alone)
        cache.replace_row(row, alone)

    def _choose(self, logits: Tensor) -> list[int]:
        config = self.config
        if config.repetition_penalty != 1.0:
            logits = repetition_penalty(logits.float(), self._seen_tokens(logits), config.repetition_penalty)
        if config.temperature == 0:
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        uniforms = torch.tensor([self._random[prompt].random() for prompt in self.live], dtype=torch.float64)
        drawn: list[int] = draw(filtered(logits.float(), config), uniforms).tolist()
        return drawn

    def _seen_tokens(self, logits: Tensor) -> Tensor:
        if self._seen is None:
            self._seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
            for row, prompt in enumerate(self.live):
                known = [token for token in self.tokens[prompt] if token < self.vocab_size]
                self._seen[row, known] = True
        else:
            newest = [self.tokens[prompt][-1] for prompt in self.live]
            self._seen[range(len(newest)), newest] = True
        return self._seen
