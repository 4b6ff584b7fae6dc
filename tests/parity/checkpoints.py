"""Tiny random checkpoints, written by transformers itself."""

from __future__ import annotations

import atexit
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tests.parity.case import Case

#: How far matrices stretch their input, so that logits and attention scores are not all alike.
GAIN = 1.5
NOISE = 0.3

#: Where transformers' eager attention is not what it computes by default: Falcon's adds the slopes
#: of ALiBi twice.
ATTENTION = {"falcon": "sdpa"}

#: Buffers that must agree with one another: lightning attention keeps powers of its rates.
BOUND = ("slope_rate", "query_decay", "key_decay", "diagonal_decay", "inv_freq")


@dataclass(frozen=True)
class Made:
    """A model of transformers and the directory it was saved to."""

    model: Any
    directory: Path
    seed: int


@lru_cache(maxsize=4)
def make(case: Case) -> Made:
    """The case's model with seeded random weights, saved as a checkpoint."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    seed = zlib.crc32(case.id.encode())
    torch.manual_seed(seed)
    architecture = getattr(transformers, case.architecture)
    config = transformers.AutoConfig.for_model(case.model_type, **case.config)
    config._experts_implementation = "eager"
    attention = ATTENTION.get(case.model_type, "eager")
    model = architecture._from_config(config, attn_implementation=attention).eval()
    randomize(model)
    directory = _folder() / case.id
    model.save_pretrained(directory)
    return Made(model, directory, seed)


@cache
def _folder() -> Path:
    """Where this process keeps checkpoints; it goes when the process does."""
    folder = tempfile.TemporaryDirectory(prefix="smelt-parity-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def randomize(model: Any) -> None:
    """Give all that is stored a value that a mistake would show in: norms, biases, buffers too."""
    import torch

    with torch.no_grad():
        stored = model.state_dict().keys()
        for name, buffer in model.named_buffers():
            is_free = name in stored and not name.endswith(BOUND)
            if is_free and buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer) * NOISE)  # what was positive stays so
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad and not name.endswith("bias"):
                continue  # a table that is computed and that a checkpoint may lack
            if parameter.dim() >= 2 and not name.endswith("A_log"):
                fan = parameter[0].numel() if parameter.dim() != 3 else parameter.shape[-1]
                parameter.copy_(torch.randn_like(parameter) * GAIN * fan**-0.5)
            else:
                parameter.add_(torch.randn_like(parameter) * NOISE)
