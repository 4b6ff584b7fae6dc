"""A tiny random chat model that reads and writes single bytes, so half characters are common."""

from __future__ import annotations

from pathlib import Path

from tests import tiny

NAME = "tiny"
CONTEXT = 4096
TEMPLATE = (
    "{% if tools %}tools {{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>"
    '{"name": {{ call.function.name | tojson }}, "arguments": '
    "{{ call.function.arguments | tojson }}}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
END = 257
"""The id of `<|im_end|>`, which ends an answer."""
NEVER_ENDS = {str(END): -100}
"""A `logit_bias` for answers that must take their time."""


def save(folder: Path) -> Path:
    """Write the checkpoint."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tiny.llama(
        folder,
        vocab_size=256 + len(SPECIAL),
        max_position_embeddings=CONTEXT,
        eos_token_id=END,
        bos_token_id=None,
    )
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: index for index, sign in enumerate(signs)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder
