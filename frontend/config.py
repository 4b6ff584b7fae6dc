"""A checkpoint's config as a spec sees it: keys by name, and a record of which were read.

A key that changes the meaning of a model and that no spec reads is refused: never a wrong model in
silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smelt.errors import UnsupportedError

#: Keys that change what a model computes. One of these, set and never read, stops the build.
MEANINGFUL = frozenset(
    """
    activation_function act_fn add_cross_attention alibi attention_bias attention_chunk_size
    attention_k_eq_v attn_logit_softcapping attn_output_gate attn_type clip_qkv conv_bias
    cross_attention_hidden_size decoder_layers dense_act_fn do_layer_norm_before
    embedding_multiplier embedding_size encoder_layers encoder_no_repeat_ngram_size
    experts_per_token ffn_activation ffn_dim final_logit_softcapping final_logit_softcap head_dim
    hidden_act hidden_activation hidden_activation_function interleave_moe_layer_step is_decoder
    is_gated_act kv_lora_rank layer_types layerwise_no_repeat lm_head_bias local_attention
    logit_scale logits_scaling mlp_bias moe_intermediate_size moe_layer_freq mrope_section
    multi_query n_shared_experts new_decoder_architecture no_rope_layers norm_topk_prob
    normalize_before num_experts num_experts_per_tok num_key_value_heads num_local_experts
    parallel_attn partial_rotary_factor position_embedding_type positional_bias_type project_in
    q_lora_rank qk_layernorm quantization_config query_pre_attn_scalar relative_attention
    relative_attention_max_distance relative_attention_num_buckets residual_multiplier
    rope_parameters rope_scaling rope_theta rotary_dim rotary_pct scale_attn_by_inverse_layer_idx
    scale_attn_weights scale_embedding scale_embeddings scoring_func shared_expert_intermediate_size
    sliding_window sliding_window_pattern tie_word_embeddings topk_group topk_method use_bias
    use_bidirectional_attention use_conv_bias use_parallel_residual use_qk_norm use_qkv_bias
    use_sliding_window
    """.split()  # noqa: SIM905 (a list of words reads better than a list of strings)
)

_OFF: tuple[Any, ...] = (None, False, 0, (), {}, "")


class Config:
    """One level of config.json; nested objects are read with a further dot."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path
        self._nested: dict[str, Config] = {}
        self.read: set[str] = set()

    def get(self, key: str) -> Any:
        """The value of a key, or None when config.json lacks it; lists become tuples."""
        self.read.add(key)
        value = self._values.get(key)
        if isinstance(value, Mapping):
            if key not in self._nested:
                self._nested[key] = Config(value, f"{self._path}{key}.")
            return self._nested[key]
        return _frozen(value)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        """Whether config.json has the key, be it null."""
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        return tuple(self._values)

    def plain(self) -> dict[str, Any]:
        """This level as plain values; all of it counts as read."""
        self.read.update(self._values)
        return dict(self._values)

    def refuse_other(self, required: tuple[tuple[Any, ...], ...], task: str) -> None:
        """UnsupportedError for a key whose value is not the one that a spec is written for.

        A third part names the task that needs the value; there a missing key is no excuse.
        """
        for key, wanted, *tasks in required:
            value = self.get(key)
            if tasks and task not in tasks:
                continue
            if value != wanted and (tasks or value is not None):
                raise UnsupportedError(
                    f"config key `{self._path}{key}` is {value!r}, the spec supports {wanted!r}",
                    place="config.json",
                )

    def refuse_unread(self, model_type: str, known: tuple[str, ...] = ()) -> None:
        """UnsupportedError for a meaning-changing key that is set and that the spec never
        considered.

        ``known``: keys that the spec declares harmless, or that its equations mention in a branch
        not taken.
        """
        for key in sorted(self._values.keys() & MEANINGFUL - self.read - set(known)):
            value = _frozen(self._values[key])
            if any(value == off and type(value) is type(off) for off in _OFF):
                continue
            raise UnsupportedError(
                f"config key `{self._path}{key}` is {value!r}, and the spec of {model_type} never "
                "reads it",
                place="config.json",
                hint=f"add it to {model_type}.arch, or name it in `ignores` if it changes nothing",
            )


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
