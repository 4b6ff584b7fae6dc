"""Write `outputs.json`: what transformers 4.49.0 said by the methods that later releases lack.

    pip install torch==2.13.0 transformers==4.49.0
    python -m tests.removed_methods.make_outputs

Weights are a function of names and shapes (`drawn.py`), so only tokens and
scores are stored, and a fingerprint of the weights that gave them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.removed_methods.drawn import drawn, fingerprint

PROMPTS = [[3, 14, 15, 92, 65], [35], [89, 79, 32, 38, 46, 26, 43]]
EOS = [7, 21, 40, 60]
PAD = 98

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 40,
    "num_hidden_layers": 5,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 99,
    "intermediate_size": 72,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 36,
    "n_layer": 4,
    "n_head": 3,
    "vocab_size": 99,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
}
T5 = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 3,
    "vocab_size": 99,
    "decoder_start_token_id": 0,
    "tie_word_embeddings": False,
}
BART = {
    "model_type": "bart",
    "architectures": ["BartForConditionalGeneration"],
    "vocab_size": 99,
    "d_model": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    "tie_word_embeddings": True,
}
CONFIGS = {"llama": LLAMA, "gpt2": GPT2, "t5": T5, "bart": BART}
#: Copies of another tensor, which a checkpoint leaves out.
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")

DIVERSE: list[dict[str, Any]] = [
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.6, "num_return_sequences": 6},
    {
        "num_beams": 3,
        "num_beam_groups": 3,
        "diversity_penalty": 5.0,
        "num_return_sequences": 3,
        "early_stopping": True,
        "length_penalty": -0.5,
    },
    {
        "num_beams": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 2.0,
        "num_return_sequences": 4,
        "early_stopping": "never",
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "sequence_bias": [[[40], 2.0], [[7, 12], 2.0]],
    },
]
FORCED: list[dict[str, Any]] = [
    {"num_beams": 4, "force_words_ids": [[11, 12]]},
    {
        "num_beams": 5,
        "force_words_ids": [[11, 12, 13], [50], [[61], [62, 63]]],
        "num_return_sequences": 4,
    },
    {
        "num_beams": 3,
        "force_words_ids": [[14, 15], [[30, 31], [32, 33, 34]]],
        "num_return_sequences": 3,
        "early_stopping": True,
        "length_penalty": 2.0,
    },
    {
        "num_beams": 6,
        "force_words_ids": [[5, 5, 6]],
        "num_return_sequences": 6,
        "early_stopping": "never",
        "no_repeat_ngram_size": 3,
        "repetition_penalty": 1.2,
    },
    {"num_beams": 4, "force_words_ids": [list(range(70, 80)), [50]], "num_return_sequences": 2},
]
CONTRASTIVE: list[dict[str, Any]] = [
    {"penalty_alpha": 0.6, "top_k": 4},
    {"penalty_alpha": 0.3, "top_k": 7, "repetition_penalty": 1.3},
    {"penalty_alpha": 0.95, "top_k": 2, "min_new_tokens": 5},
]
DOLA: list[dict[str, Any]] = [
    {"dola_layers": "low"},
    {"dola_layers": "high", "repetition_penalty": 1.2},
    {"dola_layers": [1]},
    {"dola_layers": [3, 0, 2], "repetition_penalty": 1.4},
]


def _cases(kind: str) -> list[tuple[str, dict[str, Any], list[int] | None]]:
    methods = {"diverse": DIVERSE, "forced": FORCED, "contrastive": CONTRASTIVE}
    if kind in ("llama", "gpt2"):
        methods["dola"] = DOLA
    found: list[tuple[str, dict[str, Any], list[int] | None]] = []
    for method, options in methods.items():
        found += [(method, given, EOS) for given in options]
        found.append((method, options[-1], None))
    return found


def _model(config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    import torch
    import transformers

    kind = getattr(transformers, config["architectures"][0])
    model = kind(kind.config_class(**config)).eval()
    copies = (*COPIES, "lm_head.weight") if config["tie_word_embeddings"] else COPIES
    shapes = {
        name: list(value.shape)
        for name, value in model.state_dict().items()
        if not name.endswith(copies) and not name.endswith(".attn.bias")
    }
    state = {name: torch.from_numpy(array) for name, array in drawn(shapes).items()}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model, shapes


def _run(model: Any, method: str, given: dict[str, Any], eos: list[int] | None) -> dict[str, Any]:
    import torch

    encoded = model.config.is_encoder_decoder
    start = getattr(model.config, "decoder_start_token_id", None)
    theirs = dict(given)
    if method == "forced":  # lists are kept apart from tuples in their check
        theirs["force_words_ids"] = json.loads(json.dumps(given["force_words_ids"]))
    ids: list[list[int]] = []
    scores: list[float] = []
    # A layer is chosen for all rows together, penalties see the padding, and decoders with an
    # encoder attend to it in that release: rows go alone there.
    penalized = "repetition_penalty" in given or "no_repeat_ngram_size" in given
    alone = method == "dola" or encoded or penalized
    for prompts in [[p] for p in PROMPTS] if alone else [PROMPTS]:
        longest = max(map(len, prompts))
        rows, masks = [], []
        for prompt in prompts:
            space, ones = [PAD] * (longest - len(prompt)), [1] * len(prompt)
            nothing = [0] * len(space)
            rows.append([*prompt, *space] if encoded else [*space, *prompt])
            masks.append([*ones, *nothing] if encoded else [*nothing, *ones])
        found = model.generate(
            torch.tensor(rows),
            attention_mask=torch.tensor(masks),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=eos,
            pad_token_id=PAD,
            decoder_start_token_id=start,
            return_dict_in_generate=True,
            output_scores=True,
            **theirs,
        )
        for row in found.sequences[:, 1 if encoded else longest :].tolist():
            ends = [at for at, token in enumerate(row) if token in (eos or ())]
            ids.append(row[: ends[0] + 1] if ends else row)
        if "num_beams" in given:
            scores += [round(value, 5) for value in found.sequences_scores.tolist()]
    return {"method": method, "given": given, "eos": eos, "ids": ids, "scores": scores}


def main() -> None:
    """Write the file beside this one."""
    import transformers

    told: dict[str, Any] = {"transformers": transformers.__version__, "prompts": PROMPTS}
    for kind, config in CONFIGS.items():
        model, shapes = _model(config)
        cases = [_run(model, *case) for case in _cases(kind)]
        told[kind] = {
            "config": model.config.to_dict(),
            "shapes": shapes,
            "weights": fingerprint(drawn(shapes)),
            "cases": cases,
        }
    text = json.dumps(told, separators=(",", ":"))
    Path(__file__).with_name("outputs.json").write_text(
        text.replace('{"method"', '\n{"method"') + "\n"
    )


if __name__ == "__main__":
    main()
