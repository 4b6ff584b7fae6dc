"""A Llama or Qwen2 as ExecuTorch's own Llama, for XNNPACK: 8-bit activations, 4-bit weights.

Runs in ExecuTorch's environment: `executorch_export.py CHECKPOINT FOLDER` writes the weights under
Meta's names, a params file, and with these by ExecuTorch's exporter `8da4w.pte`.
"""

from __future__ import annotations

import json
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

# Hugging Face's name within a layer -> Meta's; q and k keep their order (`use_hf_rope`).
_LAYER = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
# Our type of model -> the exporter's name of one with the same code.
_MODELS = {"llama": "smollm2", "qwen2": "qwen2_5_0_5b"}
_TOP = {"model.embed_tokens.weight": "tok_embeddings.weight", "model.norm.weight": "norm.weight"}
# Groups of 32, as everywhere; the embedding's own table in 8 bits.
_OPTIONS = [
    "-kv",
    "--use_sdpa_with_kv_cache",
    "-X",
    "--xnnpack-extended-ops",
    "-d",
    "fp32",
    "-qmode",
    "8da4w",
    "-G",
    "32",
    "-E",
    "8,0",
    "--max_seq_length",
    "1024",
    "--max_context_length",
    "1024",
]


def meta_name(name: str) -> str:
    """Meta's name of a tensor."""
    if name in _TOP:
        return _TOP[name]
    _, _, layer, rest = name.split(".", 3)
    place, _, kind = rest.rpartition(".")
    return f"layers.{layer}.{_LAYER[place]}.{kind}"


def convert(source: Path, out: Path) -> str:
    """Write `model.pth` and `params.json`; the exporter's name of the model."""
    import torch
    from safetensors.torch import load_file

    out.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tensors = {
        meta_name(name): value.float()
        for name, value in load_file(source / "model.safetensors").items()
    }
    tensors["output.weight"] = tensors["tok_embeddings.weight"]
    torch.save(tensors, out / "model.pth")
    params = {
        "dim": config["hidden_size"],
        "hidden_dim": config["intermediate_size"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"],
        "n_layers": config["num_hidden_layers"],
        "vocab_size": config["vocab_size"],
        "norm_eps": config["rms_norm_eps"],
        "rope_theta": config["rope_parameters"]["rope_theta"],
        "use_scaled_rope": False,
        "use_hf_rope": True,
        "attention_qkv_bias": config["model_type"] == "qwen2",
    }
    (out / "params.json").write_text(json.dumps(params), encoding="utf-8")
    return _MODELS[config["model_type"]]


def export(model: str, out: Path) -> None:
    """Run the exporter as a command would."""
    from torch.fx.traceback import NodeSource

    # Every pass copies where each node came from, a chain that every pass makes longer, by deeper
    # and deeper recursion. A link of it is never changed, so it need not be copied.
    NodeSource.__deepcopy__ = lambda self, memo: self
    spec = find_spec("executorch")
    assert spec is not None and spec.submodule_search_locations is not None
    # The exporter imports the model by a name within its own package.
    sys.path.append(next(iter(spec.submodule_search_locations)))
    files = ["-c", str(out / "model.pth"), "-p", str(out / "params.json")]
    made = ["-o", str(out), "-n", "8da4w"]
    sys.argv = ["export_llama", "--model", model, *_OPTIONS, *files, *made]
    runpy.run_module("executorch.examples.models.llama.export_llama", run_name="__main__")


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    export(convert(Path(sys.argv[1]), folder), folder)
