"""Tiny models of tables, pages and decisions."""

from __future__ import annotations

from tests.parity.case import table

CASES = [
    *table(
        "tapas",
        {
            "feature_extraction": "TapasModel",
            "masked_lm": "TapasForMaskedLM",
            "sequence_classification": "TapasForSequenceClassification",
            "table_question_answering": "TapasForQuestionAnswering",
        },
        {
            "hidden_size": 36,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 44,
            "vocab_size": 71,
            "max_position_embeddings": 64,
            "type_vocab_sizes": [3, 6, 5, 2, 7, 7, 4],
            "max_num_columns": 5,
            "max_num_rows": 4,
            "num_labels": 3,
        },
        {
            "plain": {"num_aggregation_labels": 4, "prompt": 29},
            "free": {
                "tasks": ("table_question_answering",),
                "temperature": 0.7,
                "allow_empty_column_selection": True,
                "hidden_act": "relu",
                "prompt": 21,
                "pads": (3, 0, 5),
            },
            "whole": {
                "tasks": ("masked_lm", "table_question_answering"),
                "reset_position_index_per_cell": False,
                "type_vocab_sizes": [2, 7, 9],
                "max_position_embeddings": 64,
                "tie_word_embeddings": False,
            },
        },
    ),
    *table(
        "decision_transformer",
        {"decision": "DecisionTransformerModel"},
        {
            "hidden_size": 36,
            "n_layer": 2,
            "n_head": 3,
            "state_dim": 5,
            "act_dim": 3,
            "max_ep_len": 37,
            "n_positions": 64,
        },
        {
            "plain": {},
            "wide": {
                "action_tanh": False,
                "n_inner": 50,
                "activation_function": "gelu_new",
                "scale_attn_by_inverse_layer_idx": True,
                "reorder_and_upcast_attn": True,
                "state_dim": 1,
                "act_dim": 1,
            },
            "unscaled": {"scale_attn_weights": False, "n_head": 1, "layer_norm_epsilon": 0.01},
        },
    ),
    *table(
        "bros",
        {
            "feature_extraction": "BrosModel",
            "token_classification": "BrosForTokenClassification",
            "entity_extraction": "BrosSpadeEEForTokenClassification",
            "entity_linking": "BrosSpadeELForTokenClassification",
        },
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 44,
            "vocab_size": 71,
            "max_position_embeddings": 64,
            "num_labels": 3,
        },
        {
            "plain": {},
            "related": {
                "tasks": ("entity_extraction", "entity_linking"),
                "n_relations": 2,
                "dim_bbox": 4,
                "bbox_scale": 7.5,
                "hidden_act": "relu",
                "pads": (3, 0, 5),
            },
        },
    ),
]
