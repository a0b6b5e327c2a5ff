"""torch.compile as an option: where it doesn't work, the model runs as it is."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def compile_trunk(model: nn.Module) -> Callable[[], None]:
    """Has the model's `hidden` compiled at its first call; the function returned undoes it.

    A failing compiler (there is no C++ compiler, say) ends in a warning and the plain model.
    """
    plain: Callable[..., Any] = model.hidden  # type: ignore[assignment]
    compiled = torch.compile(plain)
    proven = False

    def hidden(*arguments: Any, **keywords: Any) -> Any:
        nonlocal compiled, proven
        try:
            result = compiled(*arguments, **keywords)
            proven = True
            return result
        except Exception as error:
            if proven:
                raise
            result = plain(*arguments, **keywords)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            warnings.warn(f"torch.compile failed, going on without it: {reason}", stacklevel=2)
            compiled, proven = plain, True
            return result

    model.hidden = hidden  # type: ignore[assignment]

    def undo() -> None:
        del model.hidden

    return undo
