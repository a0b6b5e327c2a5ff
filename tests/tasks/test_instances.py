"""A batch to look at, from any text."""

from typing import Any

import pytest

from textmill.data.batches import Batch
from textmill.data.ragged import RaggedBatch
from textmill.errors import ConfigError
from textmill.tasks.instances import Instances, instances

SENTENCES = b" ".join(b"Sentence number %d of this text." % number for number in range(12))


@pytest.mark.parametrize("objective", ["next-token", "mlm", "nsp", "sop", "replaced"])
def test_a_short_text_is_enough(objective: Any) -> None:
    documents = [SENTENCES, SENTENCES[:200]]
    batch, tokenizer = instances(documents, None, Instances(objective=objective, context_length=16, count=2))
    assert isinstance(batch, Batch if objective == "next-token" else RaggedBatch)
    assert batch.num_rows() == 2
    assert batch.num_targets() > 0
    assert batch.tokens.max() < tokenizer.vocab_size


@pytest.mark.parametrize(("setting", "fault"), [({"count": 0}, "count must be"), ({"step": -1}, "step must be")])
def test_no_instance_and_no_such_batch(setting: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Instances(**setting)
