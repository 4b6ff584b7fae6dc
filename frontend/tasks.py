"""The contract of each task: its functions, their inputs and outputs. A spec supports a task by
defining its entries.

A size is written as text. A name that the spec defines (``channels``, ``frames``) has that value;
any other name is a symbol that is known at run time. An axis whose size ends in ``?`` is there only
where the spec gives that name a value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from smelt.ir.types import DType


@dataclass(frozen=True)
class Port:
    """An input by name, with symbolic sizes.

    only: the name that a spec gives a value to where this input is meant and not one of the same
    name before it.
    """

    name: str
    dtype: DType
    sizes: tuple[str, ...]
    only: str = ""


@dataclass(frozen=True)
class Contract:
    """One function of a task: the spec's entry that gives it, its inputs, its outputs in order.

    state: ``none`` where a call sees everything at once, and what a spec would keep is used and
    forgotten; ``continues`` where a call goes on from the one before; ``prepares`` where a call
    only stores what another function recalls.
    """

    function: str
    entry: str
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    state: str = "none"


@dataclass(frozen=True)
class Task:
    """A task: its functions, and the endings of `architectures` names that mean it."""

    name: str
    functions: tuple[Contract, ...]
    architectures: tuple[str, ...]


def _ints(name: str, *sizes: str) -> Port:
    return Port(name, DType.I64, sizes)


def _floats(name: str, *sizes: str) -> Port:
    return Port(name, DType.F32, sizes)


_DECODER = (
    _ints("input_ids", "batch", "seq"),
    _ints("attention_mask", "batch", "past + seq"),
    _ints("position_ids", "batch", "seq"),
)
_ENCODER = (
    _ints("input_ids", "batch", "seq"),
    _ints("attention_mask", "batch", "seq"),
    _ints("token_type_ids", "batch", "seq", "token_types?"),
    # What only some models read.
    _ints("input_shape_ids", "batch", "seq"),
    _ints("input_pronunciation_ids", "batch", "seq"),
    _ints("bbox", "batch", "seq", "4"),
    Port("bbox", DType.F32, ("batch", "seq", "4"), only="box_scale"),
    _ints("xpath_tags_seq", "batch", "seq", "xpath_depth"),
    _ints("xpath_subs_seq", "batch", "seq", "xpath_depth"),
)
_CHOICES = tuple(replace(p, sizes=("batch", "choices", *p.sizes[1:])) for p in _ENCODER)
_PIXELS = (_floats("pixel_values", "batch", "channels", "height", "width"),)
_TEXT_SOURCE = (
    _ints("input_ids", "batch", "source"),
    _ints("attention_mask", "batch", "source"),
)
_SPEECH_SOURCE = (_floats("input_features", "batch", "mels", "frames"),)
_TEXT_TARGET = (
    _ints("decoder_input_ids", "batch", "seq"),
    _ints("attention_mask", "batch", "source"),
)
_SPEECH_TARGET = (_ints("decoder_input_ids", "batch", "seq"),)
_TRAJECTORY = (
    _floats("states", "batch", "seq", "state_size"),
    _floats("actions", "batch", "seq", "action_size"),
    _floats("returns_to_go", "batch", "seq", "1"),
    _ints("timesteps", "batch", "seq"),
    _ints("attention_mask", "batch", "seq"),
)
#: A row of numbers has an axis of ``series`` where the model reads several at once.
_SERIES = (
    _floats("past_values", "batch", "past_length", "series?"),
    _floats("past_observed_mask", "batch", "past_length", "series?"),
    _floats("observed_mask", "batch", "past_length", "series?"),
    _floats("past_time_features", "batch", "past_length", "time_features"),
    _ints("static_categorical_features", "batch", "static_categories"),
    _floats("static_real_features", "batch", "static_reals"),
    _floats("future_values", "batch", "future", "series?"),
    _floats("future_time_features", "batch", "future", "time_features"),
    _ints("past_values_padding", "batch", "past_length"),
    _ints("freq", "batch", "1"),
)
_HIDDEN = ("last_hidden_state", "pooler_output")
#: A reader of several passages also says how well each one fits.
_SPAN = ("start_logits", "end_logits", "relevance_logits")

#: The data's own place and size come with what is said of them.
_SCALED = ("loc", "scale", "static_features", "encoder_last_hidden_state")


def _single(name: str, inputs: tuple[Port, ...], outputs: tuple[str, ...], *endings: str) -> Task:
    return Task(name, (Contract("main", name, inputs, outputs),), endings)


def _double(
    name: str, source: tuple[Port, ...], target: tuple[Port, ...], output: str, *endings: str
) -> Task:
    hidden = ("last_hidden_state",)
    encoder = Contract("encoder", f"{name}_encoder", source, hidden, state="prepares")
    decoder = Contract("decoder", f"{name}_decoder", target, (output,), state="continues")
    return Task(name, (encoder, decoder), endings)


#: Of two tasks whose endings fit equally well, the first one is meant.
_ALL = (
    Task(
        "causal_lm",
        (Contract("main", "causal_lm", _DECODER, ("logits",), state="continues"),),
        ("ForCausalLM", "LMHeadModel", "LMHead", "GenerationDecoder"),
    ),
    _single("masked_lm", _ENCODER, ("logits",), "ForMaskedLM", "WithLMHeadModel", "LMHeadModel"),
    _single(
        "pretraining", _ENCODER, ("prediction_logits", "seq_relationship_logits"), "ForPreTraining"
    ),
    _single("sequence_classification", _ENCODER, ("logits",), "ForSequenceClassification"),
    _single(
        *("entity_extraction", _ENCODER, ("initial_token_logits", "subsequent_token_logits")),
        "SpadeEEForTokenClassification",
    ),
    _single("entity_linking", _ENCODER, ("logits",), "SpadeELForTokenClassification"),
    _single("token_classification", _ENCODER, ("logits",), "ForTokenClassification"),
    _single(
        "question_answering",
        *(_ENCODER, _SPAN, "ForQuestionAnswering", "ForQuestionAnsweringSimple", "Reader"),
    ),
    _single(
        *("table_question_answering", _ENCODER, ("logits", "logits_aggregation")),
        "ForQuestionAnswering",
    ),
    _single("next_sentence_prediction", _ENCODER, ("logits",), "ForNextSentencePrediction"),
    _single("multiple_choice", _CHOICES, ("logits",), "ForMultipleChoice"),
    _double(
        *("seq2seq_lm", _TEXT_SOURCE, _TEXT_TARGET, "logits"),
        *("ForConditionalGeneration", "MTModel", "EncoderDecoderModel", "ForGeneration"),
        "WithLMHeadModel",
    ),
    _double("seq2seq_features", _TEXT_SOURCE, _TEXT_TARGET, "last_hidden_state", "Model"),
    _double("speech_seq2seq", _SPEECH_SOURCE, _SPEECH_TARGET, "logits", "ForConditionalGeneration"),
    _double("speech_features", _SPEECH_SOURCE, _SPEECH_TARGET, "last_hidden_state", "Model"),
    _single("audio_classification", _SPEECH_SOURCE, ("logits",), "ForAudioClassification"),
    _single("audio_features", _SPEECH_SOURCE, _HIDDEN, "Encoder"),
    _single("image_classification", _PIXELS, ("logits",), "ForImageClassification"),
    _single("image_features", _PIXELS, _HIDDEN, "Model"),
    _single(
        *("decision", _TRAJECTORY),
        *(("state_preds", "action_preds", "return_preds", "last_hidden_state"), "Model"),
    ),
    _single(
        *("time_series_prediction", _SERIES),
        ("params", "prediction_outputs", "mean_predictions", "full_predictions", *_SCALED),
        "ForPrediction",
    ),
    _single(
        *("time_series_features", _SERIES, ("last_hidden_state", "trend", *_SCALED)),
        *("Model",),
    ),
    _single(
        *("time_series_classification", _SERIES, ("prediction_logits", "prediction_outputs")),
        *("ForClassification", "ForTimeSeriesClassification"),
    ),
    _single("time_series_regression", _SERIES, ("regression_outputs",), "ForRegression"),
    _single(
        "feature_extraction",
        *(_ENCODER, _HIDDEN, "EncoderModel", "Model"),
        *("QuestionEncoder", "ContextEncoder", "GenerationEncoder"),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def supported(names: set[str]) -> list[Task]:
    """The tasks whose every entry is among a spec's names."""
    return [t for t in TASKS.values() if all(c.entry in names for c in t.functions)]
