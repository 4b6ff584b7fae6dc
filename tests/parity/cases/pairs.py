"""Encoders with decoders: text to text, speech to text."""

from __future__ import annotations

from tests.parity.case import table

T5 = table(
    "t5",
    {
        "seq2seq_lm": "T5ForConditionalGeneration",
        "seq2seq_features": "T5Model",
        "feature_extraction": "T5EncoderModel",
        "token_classification": "T5ForTokenClassification",
    },
    {
        "d_model": 42,
        "d_kv": 10,
        "d_ff": 55,
        "num_layers": 2,
        "num_heads": 3,
        "vocab_size": 99,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 20,
        "decoder_start_token_id": 0,
    },
    {
        "plain": {},
        "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_labels": 3},
        "deep-decoder": {"num_decoder_layers": 3, "feed_forward_proj": "gated-silu"},
        "many-buckets": {
            "relative_attention_num_buckets": 13,
            "relative_attention_max_distance": 64,
            "num_heads": 5,
            "vocab_size": 57,
            "pads": (0, 6, 1),
        },
    },
)

WHISPER = table(
    "whisper",
    {
        "speech_seq2seq": "WhisperForConditionalGeneration",
        "speech_features": "WhisperModel",
        "audio_classification": "WhisperForAudioClassification",
    },
    {
        "d_model": 42,
        "num_mel_bins": 13,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
        "encoder_ffn_dim": 55,
        "decoder_ffn_dim": 51,
        "max_source_positions": 11,
        "max_target_positions": 48,
        "classifier_proj_size": 17,
        "vocab_size": 99,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
        "begin_suppress_tokens": None,
        "is_encoder_decoder": True,
    },
    {
        "plain": {},
        "odd-heads": {"encoder_attention_heads": 7, "decoder_attention_heads": 2, "num_labels": 3},
        "deep-decoder": {"decoder_layers": 3, "encoder_layers": 1, "activation_function": "relu"},
        "scaled": {"scale_embedding": True, "num_mel_bins": 5, "vocab_size": 57, "pads": (0, 0, 0)},
    },
)

CASES = [*T5, *WHISPER]
