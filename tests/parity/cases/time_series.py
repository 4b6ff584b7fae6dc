"""Tiny models of time series."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table

LAGGED: dict[str, Any] = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 28,
    "decoder_ffn_dim": 20,
    "prediction_length": 5,
    "context_length": 9,
    "lags_sequence": [1, 2, 5],
    "num_time_features": 2,
}
FULL = {
    "input_size": 3,
    "num_dynamic_real_features": 1,
    "num_static_real_features": 2,
    "num_static_categorical_features": 2,
    "cardinality": [4, 7],
    "embedding_dimension": [2, 3],
    "scaling": "std",
    "distribution_output": "negative_binomial",
    "activation_function": "relu",
}
BARE = {
    "num_time_features": 0,
    "num_static_categorical_features": 1,
    "cardinality": [5],
    "scaling": None,
    "distribution_output": "normal",
    "context_length": None,
    "tasks": ("time_series_prediction",),
}
PATCHED = {
    "d_model": 24,
    "num_input_channels": 3,
    "context_length": 21,
    "patch_length": 5,
    "patch_stride": 3,
    "prediction_length": 4,
    "num_targets": 2,
}

CASES = [
    *table(
        "time_series_transformer",
        {
            "time_series_prediction": "TimeSeriesTransformerForPrediction",
            "time_series_features": "TimeSeriesTransformerModel",
        },
        LAGGED,
        {
            "plain": {},
            "full": {**FULL, "tasks": ("time_series_prediction",)},
            "bare": BARE,
        },
    ),
    *table(
        "informer",
        {
            "time_series_prediction": "InformerForPrediction",
            "time_series_features": "InformerModel",
        },
        LAGGED,
        {
            "plain": {"sampling_factor": 1, "context_length": 14, "encoder_layers": 3},
            "full": {**FULL, "tasks": ("time_series_prediction",), "distil": False},
            "bare": {**BARE, "attention_type": "full", "prediction_length": 6},
        },
    ),
    *table(
        "autoformer",
        {
            "time_series_prediction": "AutoformerForPrediction",
            "time_series_features": "AutoformerModel",
        },
        LAGGED | {"label_length": 4, "moving_average": 5},
        {
            "plain": {"pads": (0, 0, 0)},
            "full": {
                **FULL,
                "tasks": ("time_series_prediction",),
                "prediction_length": 7,
                "context_length": 6,
                "moving_average": 3,
                "autocorrelation_factor": 1,
            },
            "bare": {**BARE, "scaling": True, "label_length": 2},
        },
    ),
    *table(
        "patchtst",
        {
            "time_series_prediction": "PatchTSTForPrediction",
            "time_series_features": "PatchTSTModel",
            "time_series_classification": "PatchTSTForClassification",
            "time_series_regression": "PatchTSTForRegression",
        },
        PATCHED | {"num_hidden_layers": 2, "num_attention_heads": 3, "ffn_dim": 28},
        {
            "plain": {},
            "crossed": {
                "channel_attention": True,
                "use_cls_token": True,
                "share_embedding": False,
                "norm_type": "layernorm",
                "norm_eps": 0.01,
                "pre_norm": False,
                "bias": False,
                "loss": "nll",
                "scaling": True,
                "positional_encoding_type": "random",
                "activation_function": "relu",
                "tasks": ("time_series_prediction", "time_series_regression"),
            },
            "whole": {
                "pooling_type": None,
                "scaling": None,
                "loss": "nll",
                "distribution_output": "negative_binomial",
                "tasks": ("time_series_prediction",),
            },
            "most": {
                "pooling_type": "max",
                "channel_attention": True,
                "output_range": [-1, 3],
                "tasks": ("time_series_regression",),
            },
        },
    ),
    *table(
        "patchtsmixer",
        {
            "time_series_prediction": "PatchTSMixerForPrediction",
            "time_series_features": "PatchTSMixerModel",
            "time_series_classification": "PatchTSMixerForTimeSeriesClassification",
            "time_series_regression": "PatchTSMixerForRegression",
        },
        PATCHED | {"num_layers": 2},
        {
            "plain": {"prediction_channel_indices": [2, 0]},
            "mixed": {
                "mode": "mix_channel",
                "self_attn": True,
                "self_attn_heads": 2,
                "use_positional_encoding": True,
                "norm_mlp": "BatchNorm",
                "expansion_factor": 3,
                "loss": "nll",
                "distribution_output": "negative_binomial",
                "head_aggregation": None,
                "scaling": True,
                "tasks": ("time_series_prediction", "time_series_regression"),
            },
            "ungated": {
                "gated_attn": False,
                "mode": "mix_channel",
                "scaling": "mean",
                "head_aggregation": "avg_pool",
                "output_range": [0, 2],
                "tasks": ("time_series_classification",),
            },
            "bare": {
                "scaling": None,
                "head_aggregation": "use_last",
                "num_input_channels": 1,
                "num_targets": 1,
                "loss": "nll",
                "tasks": ("time_series_prediction", "time_series_regression"),
            },
        },
    ),
    *table(
        "timesfm",
        {
            "time_series_prediction": "TimesFmModelForPrediction",
            "time_series_features": "TimesFmModel",
        },
        {
            "hidden_size": 24,
            "intermediate_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "head_dim": 10,
            "patch_length": 4,
            "context_length": 28,
            "horizon_length": 5,
            "freq_size": 4,
            "quantiles": [0.1, 0.5, 0.8],
        },
        {
            "plain": {"pads": (9, 0, 4)},
            "placed": {"use_positional_embedding": True, "patch_length": 7, "pads": (12, 3)},
        },
    ),
]
