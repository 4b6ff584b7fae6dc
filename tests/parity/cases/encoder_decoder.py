"""Pairs of an encoder and a decoder, each of a type of its own.

Decoders pad with 0, which no text has: transformers places words after padding by the call.
"""

from __future__ import annotations

from typing import Any

from tests.parity.case import table

BERT: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 99,
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 55,
    "max_position_embeddings": 48,
}
WRITES = {"is_decoder": True, "add_cross_attention": True}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": 99,
    "n_embd": 36,
    "n_layer": 3,
    "n_head": 6,
    "n_positions": 48,
    **WRITES,
}
BART: dict[str, Any] = {
    "model_type": "bart",
    "vocab_size": 99,
    "d_model": 42,
    "decoder_layers": 2,
    "decoder_attention_heads": 7,
    "decoder_ffn_dim": 51,
    "max_position_embeddings": 48,
    **WRITES,
}

DPR: dict[str, Any] = {**BERT, "model_type": "dpr", "projection_dim": 17}
WRITER: dict[str, Any] = {
    "model_type": "bart",
    "vocab_size": 99,
    "d_model": 42,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 7,
    "encoder_ffn_dim": 55,
    "decoder_ffn_dim": 51,
    "max_position_embeddings": 48,
}
T5: dict[str, Any] = {
    "model_type": "t5",
    "vocab_size": 99,
    "d_model": 42,
    "d_kv": 10,
    "d_ff": 55,
    "num_layers": 2,
    "num_heads": 3,
}

RAG = table(
    "rag",
    {"seq2seq_lm": "RagTokenForGeneration", "feature_extraction": "RagSequenceForGeneration"},
    {"question_encoder": DPR, "generator": WRITER},
    {
        "dpr-bart": {},
        "bert-t5": {
            "question_encoder": BERT,
            "generator": T5,
            "pads": (0, 6, 1),
        },
    },
)

PAIRS = table(
    "encoder-decoder",
    {"seq2seq_lm": "EncoderDecoderModel"},
    {"encoder": BERT, "decoder": {**BERT, **WRITES}},
    {
        "bert-bert": {},
        "bert-gpt2": {"decoder": GPT2, "pads": (0, 6, 1)},
        "roberta-roberta": {
            "encoder": {**BERT, "model_type": "roberta"},
            "decoder": {
                **BERT,
                **WRITES,
                "model_type": "roberta",
                "pad_token_id": 0,
                "hidden_size": 40,
                "num_attention_heads": 5,
                "num_hidden_layers": 3,
            },
        },
        "electra-bart": {
            "encoder": {**BERT, "model_type": "electra", "embedding_size": 20},
            "decoder": BART,
        },
        "distilbert-bert_generation": {
            "encoder": {
                "model_type": "distilbert",
                "vocab_size": 99,
                "dim": 42,
                "n_layers": 2,
                "n_heads": 3,
                "hidden_dim": 55,
            },
            "decoder": {**BERT, **WRITES, "model_type": "bert-generation"},
        },
        "bert-prelayernorm": {
            "decoder": {**BERT, **WRITES, "model_type": "roberta-prelayernorm", "pad_token_id": 0},
        },
        "bert-xlm_roberta_xl": {
            "decoder": {**BERT, **WRITES, "model_type": "xlm-roberta-xl", "pad_token_id": 0}
        },
        "bert-xmod": {
            "decoder": {
                **BERT,
                **WRITES,
                "model_type": "xmod",
                "pad_token_id": 0,
                "languages": ["en_XX", "de_DE"],
                "default_language": "de_DE",
            },
        },
        "bert-roformer": {
            "decoder": {**BERT, **WRITES, "model_type": "roformer", "hidden_size": 48}
        },
    },
)

CASES = [*PAIRS, *RAG]
