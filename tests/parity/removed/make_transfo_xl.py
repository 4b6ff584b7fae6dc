"""What transformers 4.35 says of tiny Transformer-XL models, into ``transfo_xl.npz``.

From the repository's root, with that release installed:
``python -m tests.parity.removed.make_transfo_xl``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from tests.parity.removed.weights import weights

#: Tokens of the first call; each later call has one.
PROMPT = 9
DECODE = 32

BASE: dict[str, Any] = {
    "vocab_size": 31,
    "cutoffs": [9, 20],
    "d_model": 20,
    "d_embed": 20,
    "n_head": 3,
    "d_head": 6,
    "d_inner": 27,
    "n_layer": 2,
    "div_val": 2,
    "mem_len": 7,
    "clamp_len": 5,
}
#: Name: class of transformers, task, difference from the base.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "banded": ("TransfoXLLMHeadModel", "causal_lm", {}),
    "own-words": (
        "TransfoXLLMHeadModel",
        "causal_lm",
        {
            "div_val": 1,
            "d_embed": 12,
            "untie_r": False,
            "pre_lnorm": True,
            "same_length": False,
            "mem_len": 11,
            "clamp_len": -1,
            "tie_word_embeddings": False,
            "proj_share_all_but_first": False,
        },
    ),
    "one-cluster": (
        "TransfoXLLMHeadModel",
        "causal_lm",
        {"div_val": 1, "cutoffs": [], "same_length": False, "mem_len": 0, "pre_lnorm": True},
    ),
    "features": ("TransfoXLModel", "feature_extraction", {"div_val": 1, "d_embed": 12}),
    "classes": (
        "TransfoXLForSequenceClassification",
        "sequence_classification",
        {"num_labels": 3, "pad_token_id": 0},
    ),
}


def main() -> None:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, (architecture, task, difference) in CASES.items():
        config = transformers.TransfoXLConfig(**{**BASE, **difference})
        model = getattr(transformers, architecture)(config).eval()
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, safe_serialization=True)
            written = json.loads((Path(folder) / "config.json").read_text())
            file = load_file(Path(folder) / "model.safetensors")
            shapes = {key: value.shape for key, value in file.items()}
        state = model.state_dict()
        for key, value in weights(shapes).items():
            if not key.endswith("inv_freq"):
                state[key].copy_(torch.from_numpy(value))
        written["architectures"] = [architecture]
        about = {"task": task, "prompt": PROMPT, "config": written, "shapes": shapes}
        arrays[f"{name}/about"] = np.array(json.dumps(about))
        arrays |= {f"{name}/{key}": value for key, value in ask(model, task).items()}
    np.savez_compressed(Path(__file__).with_name("transfo_xl.npz"), allow_pickle=False, **arrays)


def ask(model: Any, task: str) -> dict[str, np.ndarray[Any, Any]]:
    """The text [batch, tokens], what comes of each token, and the memory at the end."""
    random = np.random.RandomState(5)
    text = random.randint(1, BASE["vocab_size"], (2, PROMPT))
    if task != "causal_lm":
        text[1, 5:] = 0
        with torch.no_grad():
            result = model(torch.from_numpy(text))
        output = "logits" if "logits" in result else "last_hidden_state"
        return {"input_ids": text, output: result[output].numpy()}
    mems, ids, found = None, text, []
    for step in range(DECODE + 1):
        text = text if step == 0 else np.concatenate([text, ids], 1)
        # Without a memory `generate` reads the whole text again.
        given = ids if model.config.mem_len else text
        with torch.no_grad():
            result = model(torch.from_numpy(given), mems=mems)
        mems = result.mems
        found.append(result.prediction_scores[:, -ids.shape[1] :].numpy())
        ids = found[-1][:, -1:].argmax(-1)
    held = {f"held.memory.{i}": x.transpose(0, 1).numpy() for i, x in enumerate(mems or ())}
    return {"input_ids": text, "logits": np.concatenate(found, 1), **held}


if __name__ == "__main__":
    main()
