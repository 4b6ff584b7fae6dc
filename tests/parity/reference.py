"""What transformers says: each call's inputs and outputs, and what its cache holds at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from tests.parity.block_kernels import BlockKernels
from tests.parity.case import Case, all_cases
from tests.parity.checkpoints import make
from tests.parity.states import first_cache, own_states

Array = np.ndarray[Any, Any]

DECODE = 32

#: Models that take no positions and keep their state as ``cache_params``.
RECURRENT = ("mamba", "falcon_mamba", "mamba2", "xlstm")

#: Models that keep nothing between calls: every step reads the whole text again.
FORGETFUL = ("openai-gpt",)

#: Models that let the tokens of one call see what comes after them: they are told one at a time.
BLURRED = ("fsmt", "prophetnet")

#: Models of which a task is a part: the part's name.
PARTS = {("rag", "seq2seq_lm"): "generator", ("rag", "feature_extraction"): "question_encoder"}

#: Models that never tell a part about segments.
SEGMENTLESS = ("rag",)

#: Kinds of segments where the config does not say: only whether two tokens share one counts.
SEGMENTS = {"xlnet": 3}

#: Encoders whose padding sees other keys than words do: what becomes of it means nothing.
QUERIES_MASKED = (
    "deberta",
    "deberta-v2",
    "funnel",
    "longformer",
    "big_bird",
    "splinter",
    "modernbert",
    "longt5",
    "bigbird_pegasus",
    "t5gemma",
    "t5gemma2",
)

#: What else an encoder reads when its config counts it: the input, and its sizes for each token.
ENCODER_INPUTS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "shape_vocab_size": ("input_shape_ids", ()),
    "pronunciation_vocab_size": ("input_pronunciation_ids", ()),
    "max_2d_position_embeddings": ("bbox", (4,)),
    "max_xpath_tag_unit_embeddings": ("xpath_tags_seq", ("max_depth",)),
    "max_xpath_subs_unit_embeddings": ("xpath_subs_seq", ("max_depth",)),
}


@dataclass(frozen=True)
class Step:
    """One call. ``real`` [batch, seq]: the positions that count; None where all do."""

    function: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    real: Array | None = None


@dataclass(frozen=True)
class Held:
    """What the slots named ``…suffix`` hold at the end, layer by layer.

    ``real`` [batch, tokens]: for caches, the tokens that are not padding. A cache of transformers
    may have forgotten what lies outside a window: its entries are the newest.
    """

    suffix: str
    values: tuple[Array, ...]
    real: Array | None = None


@dataclass(frozen=True)
class Reference:
    """A checkpoint and everything transformers computed with it."""

    directory: Path
    steps: tuple[Step, ...]
    held: tuple[Held, ...] = ()


@dataclass
class Asked:
    """A case's model and a source of inputs."""

    case: Case
    model: Any
    random: np.random.Generator
    steps: list[Step] = field(default_factory=list)

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def words(self) -> int:
        """The size of the vocabulary: of a pair, that of its decoder."""
        parts = (self.config, getattr(self.config, "decoder", None))
        return next(int(p.vocab_size) for p in parts if p is not None and hasattr(p, "vocab_size"))

    def ids(self, shape: tuple[int, ...], size: int | None = None) -> Array:
        """Random token ids, none of them the padding id when that is 0."""
        return self.random.integers(1, size or self.words, shape)

    def run(self, **inputs: Any) -> Any:
        """A call of the model; arrays become tensors."""
        import torch

        with torch.no_grad():
            return self.model(**{name: _tensor(value) for name, value in inputs.items()})


@lru_cache(maxsize=4)
def reference(case: Case) -> Reference:
    """What transformers says about a case."""
    made = make(case)
    model = getattr(made.model, PARTS.get((case.model_type, case.task), ""), made.model)
    asked = Asked(case, model, np.random.default_rng(made.seed))
    held = OWN_DRIVERS.get((case.model_type, case.task), DRIVERS[case.task])(asked)
    return Reference(made.directory, tuple(asked.steps), tuple(held))


def padded(case: Case, on_left: bool) -> Array:
    """The attention mask [batch, prompt] of the case's padding."""
    columns = np.arange(case.prompt)[None]
    pads = np.array(case.pads)[:, None]
    return (columns >= pads if on_left else columns < case.prompt - pads).astype(np.int64)


def causal_lm(asked: Asked) -> Sequence[Held]:
    """Prefill of a left-padded batch, then greedy steps."""
    mask = padded(asked.case, on_left=True)
    ids = text = asked.ids(mask.shape) * mask
    cache = first_cache(asked.model)
    for step in range(DECODE + 1):
        positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        given: dict[str, Any]
        if asked.case.model_type in RECURRENT:
            real = mask[:, -ids.shape[1] :]
            given = {"input_ids": ids, "attention_mask": real, "cache_params": cache}
            given |= {"use_cache": True}
        elif asked.case.model_type in FORGETFUL:
            text = text if step == 0 else np.concatenate([text, ids], 1)
            whole = np.maximum(mask.cumsum(-1) - 1, 0)
            given = {"input_ids": text, "attention_mask": mask, "position_ids": whole}
        else:
            given = {**inputs, "past_key_values": cache, "state": cache, "use_cache": True}
        taken = signature(asked.model.forward).parameters
        result = asked.run(**{k: v for k, v in given.items() if k in taken})
        logits = _array(result.logits)[:, -ids.shape[1] :]
        real = mask[:, -ids.shape[1] :] != 0
        asked.steps.append(Step("main", inputs, {"logits": logits}, real))
        kept = (result.get(name) for name in ("past_key_values", "cache_params", "state"))
        cache = next((found for found in kept if found is not None), cache)
        if step < DECODE:
            ids = logits[:, -1:].argmax(-1)
            mask = np.concatenate([mask, np.ones_like(ids)], 1)
    # The last token was fed too: the cache covers the whole mask.
    if cache is None:
        return ()
    own = own_states(cache, asked.model)
    return (*_held(cache, mask != 0), *(Held(name, values) for name, values in own.items()))


@contextmanager
def kernels() -> Iterator[None]:
    """Let transformers find what it else finds on a GPU only."""
    from transformers.models.mra import modeling_mra

    before = modeling_mra.mra_cuda_kernel
    modeling_mra.mra_cuda_kernel = BlockKernels
    try:
        yield
    finally:
        modeling_mra.mra_cuda_kernel = before


def encoder(*names: str) -> Callable[[Asked], Sequence[Held]]:
    """One call over a padded text; ``names`` are the outputs that count."""

    def drive(asked: Asked) -> Sequence[Held]:
        is_decoder = asked.case.model_type in DECODERS
        mask = padded(asked.case, on_left=is_decoder)
        inputs: dict[str, Array] = {
            "input_ids": asked.ids(mask.shape) * mask,
            "attention_mask": mask,
        }
        fallback = SEGMENTS.get(asked.case.model_type, 0)
        kinds = getattr(asked.config, "type_vocab_size", fallback)
        if kinds and asked.case.model_type not in SEGMENTLESS:
            drawn = asked.random.integers(0, kinds, mask.shape)
            inputs["token_type_ids"] = np.asarray(drawn)
        if counts := getattr(asked.config, "type_vocab_sizes", ()):
            drawn = [asked.random.integers(0, count, mask.shape) for count in counts]
            inputs["token_type_ids"] = np.stack(drawn, -1)
        if hasattr(asked.config, "bbox_scale"):
            corners = asked.random.random((*mask.shape, 4)).astype(np.float32)
            inputs["bbox"] = np.sort(corners, -1)
        for key, (name, sizes) in ENCODER_INPUTS.items():
            if count := getattr(asked.config, key, 0):
                each = [getattr(asked.config, s) if isinstance(s, str) else s for s in sizes]
                # Sorted, so that a box ends after its beginning.
                inputs[name] = asked.random.integers(0, count, (*mask.shape, *each))
                inputs[name] = np.sort(inputs[name], -1) if each else inputs[name]
        if asked.case.task == "multiple_choice":
            inputs = {k: np.stack([v, np.roll(v, 1, 0), v], 1) for k, v in inputs.items()}
        with kernels():
            result = asked.run(**inputs)
        outputs = {n: _array(result[n]) for n in names if result.get(n) is not None}
        means_nothing = is_decoder or asked.case.model_type in QUERIES_MASKED
        asked.steps.append(Step("main", inputs, outputs, mask != 0 if means_nothing else None))
        return ()

    return drive


def decision(asked: Asked) -> Sequence[Held]:
    """One call over trajectories that begin after padding."""
    mask = padded(asked.case, on_left=True)
    sizes = {"states": asked.config.state_dim, "actions": asked.config.act_dim, "returns_to_go": 1}
    inputs: dict[str, Array] = {
        name: asked.random.standard_normal((*mask.shape, size)).astype(np.float32)
        for name, size in sizes.items()
    }
    inputs["timesteps"] = asked.random.integers(0, asked.config.max_ep_len, mask.shape)
    inputs["attention_mask"] = mask
    result = asked.run(**inputs)
    names = ("state_preds", "action_preds", "return_preds")
    outputs = {name: _array(result[name]) for name in names}
    asked.steps.append(Step("main", inputs, outputs, mask != 0))
    return ()


@contextmanager
def undrawn() -> Iterator[None]:
    """Let draws of n of n numbers be each of them once: Informer samples keys at random."""
    import torch

    draw = torch.randint
    torch.randint = lambda low, high, size, **options: torch.arange(low, high)[: size[0]]
    try:
        yield
    finally:
        torch.randint = draw


def series(*names: str) -> Callable[[Asked], Sequence[Held]]:
    """One call over numbers in time, some of them not observed, with a known future."""

    def drive(asked: Asked) -> Sequence[Held]:
        inputs = series_inputs(asked)
        taken = signature(asked.model.forward).parameters
        with undrawn():
            result = asked.run(**{k: v for k, v in inputs.items() if k in taken})
        outputs: dict[str, Array] = {}
        for name in names:
            value = result.get(name)
            if value is not None:
                parts = value if isinstance(value, tuple) else None
                outputs[name] = (
                    _array(value) if parts is None else np.stack([_array(p) for p in parts])
                )
        given = {name: value for name, value in inputs.items() if name in taken and value.size}
        asked.steps.append(Step("main", given, outputs))
        return ()

    return drive


def patches(*names: str) -> Callable[[Asked], Sequence[Held]]:
    """One call over series of unequal lengths, as TimesFM prepares them: padded in front."""

    def drive(asked: Asked) -> Sequence[Held]:
        config, rows = asked.config, len(asked.case.pads)
        length = config.context_length
        values = asked.random.standard_normal((rows, length)).astype(np.float32) * 3 + 5
        padding = (np.arange(length) < np.array(asked.case.pads)[:, None]).astype(np.int64)
        values = values * (1 - padding).astype(np.float32)
        freq = asked.random.integers(0, config.freq_size, (rows, 1))
        inputs: dict[str, Array] = {"past_values": values, "past_values_padding": padding}
        inputs["freq"] = np.asarray(freq)
        if "past_values_padding" in signature(asked.model.forward).parameters:
            result = asked.run(**inputs)
        else:
            known = [_tensor(row[n:]) for row, n in zip(values, asked.case.pads, strict=True)]
            result = asked.run(past_values=known, freq=[int(f) for f in freq[:, 0]])
        outputs = {n: _array(result[n]) for n in names if result.get(n) is not None}
        real = padding.reshape(rows, -1, config.patch_length).min(-1) == 0
        asked.steps.append(Step("main", inputs, outputs, real))
        return ()

    return drive


def series_inputs(asked: Asked) -> dict[str, Array]:
    """What a model of time series reads, by its config."""
    config, rows = asked.config, len(asked.case.pads)

    def count(name: str) -> int:
        return getattr(config, name, None) or 0

    def noise(*shape: int) -> Array:
        return asked.random.standard_normal((rows, *shape)).astype(np.float32)

    lags = getattr(config, "lags_sequence", None) or [0]
    past = config.context_length + max(lags)
    width = count("input_size") or count("num_input_channels")
    many = (width,) if width > 1 or not count("input_size") else ()
    values = noise(past, *many) * 3 + 5
    mask = np.asarray(asked.random.random(values.shape) < 0.8, np.float32)
    inputs = {"past_values": values, "past_observed_mask": mask, "observed_mask": mask}
    if count("input_size"):
        inputs["future_values"] = np.abs(noise(config.prediction_length, *many)).round() * 2
    if times := count("num_time_features") + count("num_dynamic_real_features"):
        inputs["past_time_features"] = noise(past, times)
        inputs["future_time_features"] = noise(config.prediction_length, times)
    elif count("input_size"):
        inputs["past_time_features"] = noise(past, 0)
        inputs["future_time_features"] = noise(config.prediction_length, 0)
    if reals := count("num_static_real_features"):
        inputs["static_real_features"] = noise(reals)
    if kinds := count("num_static_categorical_features"):
        drawn = [asked.random.integers(0, n, rows) for n in config.cardinality[:kinds]]
        inputs["static_categorical_features"] = np.stack(drawn, -1)
    return inputs


def image(*names: str) -> Callable[[Asked], Sequence[Held]]:
    """One call over a batch of images of noise."""

    def drive(asked: Asked) -> Sequence[Held]:
        size = asked.config.image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        shape = (len(asked.case.pads), asked.config.num_channels, height, width)
        pixels = asked.random.standard_normal(shape).astype(np.float32)
        result = asked.run(pixel_values=pixels)
        outputs = {n: _array(result[n]) for n in names if result.get(n) is not None}
        asked.steps.append(Step("main", {"pixel_values": pixels}, outputs))
        return ()

    return drive


def seq2seq(
    source: Callable[[Asked], dict[str, Array]], output: str
) -> Callable[[Asked], Sequence[Held]]:
    """The encoder once, then the decoder: a prompt of a few tokens and greedy steps."""

    def drive(asked: Asked) -> Sequence[Held]:
        inputs = source(asked)
        encoder = asked.model.get_encoder()
        encoded = _call(encoder, inputs)
        mask = {k: v for k, v in inputs.items() if k == "attention_mask"}
        is_blind = asked.case.model_type in QUERIES_MASKED
        known = inputs["attention_mask"] != 0 if is_blind else None
        hidden = {"last_hidden_state": _array(encoded.last_hidden_state)}
        asked.steps.append(Step("encoder", inputs, hidden, known))
        prompt = 1 if asked.case.model_type in BLURRED else 3
        ids = asked.ids((len(asked.case.pads), prompt))
        cache: Any = None
        length = 0
        for step in range(DECODE + 1):
            length += ids.shape[1]
            result = asked.run(
                encoder_outputs=encoded,
                **mask,
                decoder_input_ids=ids,
                past_key_values=cache,
                use_cache=True,
            )
            values = _array(result[output])
            asked.steps.append(
                Step("decoder", {"decoder_input_ids": ids, **mask}, {output: values})
            )
            cache = result.past_key_values
            if step < DECODE:
                ids = values[:, -1:].argmax(-1) % asked.words
        real = np.ones((len(asked.case.pads), length), bool)
        if not hasattr(cache, "cross_attention_cache"):
            return _held(cache, real)  # what it keeps of the source is nowhere to be seen
        crossed = [
            _array(t)
            for layer in cache.cross_attention_cache.layers
            if layer.keys is not None
            for t in (layer.keys, layer.values)
        ]
        return (
            *_held(cache, real),
            Held(".cross_key", tuple(crossed[::2]), known),
            Held(".cross_value", tuple(crossed[1::2]), known),
        )

    return drive


def text_source(asked: Asked) -> dict[str, Array]:
    """A right-padded text."""
    mask = padded(asked.case, on_left=False)
    return {"input_ids": asked.ids(mask.shape) * mask, "attention_mask": mask}


def speech_source(asked: Asked) -> dict[str, Array]:
    """Noise as long as the encoder's window."""
    config = asked.config
    shape = (len(asked.case.pads), config.num_mel_bins, 2 * config.max_source_positions)
    return {"input_features": asked.random.standard_normal(shape).astype(np.float32)}


def speech(*names: str) -> Callable[[Asked], Sequence[Held]]:
    """One call of a speech encoder."""

    def drive(asked: Asked) -> Sequence[Held]:
        inputs = speech_source(asked)
        result = asked.run(**inputs)
        asked.steps.append(Step("main", inputs, {n: _array(result[n]) for n in names}))
        return ()

    return drive


#: Types that read a text from left to right: their padding is on the left and its rows mean
#: nothing.
DECODERS = frozenset(case.model_type for case in all_cases() if case.task == "causal_lm") - {
    case.model_type for case in all_cases() if case.task == "masked_lm"
}

_HIDDEN = ("last_hidden_state", "pooler_output")
_SCALED = ("loc", "scale", "static_features", "encoder_last_hidden_state")

#: How each task is asked.
DRIVERS: dict[str, Callable[[Asked], Sequence[Held]]] = {
    "causal_lm": causal_lm,
    "feature_extraction": encoder(*_HIDDEN),
    "masked_lm": encoder("logits"),
    "pretraining": encoder("prediction_logits", "seq_relationship_logits"),
    "sequence_classification": encoder("logits"),
    "token_classification": encoder("logits"),
    "question_answering": encoder("start_logits", "end_logits", "relevance_logits"),
    "entity_extraction": encoder("initial_token_logits", "subsequent_token_logits"),
    "entity_linking": encoder("logits"),
    "next_sentence_prediction": encoder("logits"),
    "multiple_choice": encoder("logits"),
    "table_question_answering": encoder("logits", "logits_aggregation"),
    "decision": decision,
    "time_series_prediction": series(
        *("params", "prediction_outputs", "mean_predictions", "full_predictions", *_SCALED)
    ),
    "time_series_classification": series("prediction_logits", "prediction_outputs"),
    "time_series_regression": series("regression_outputs"),
    "time_series_features": series("last_hidden_state", "trend", *_SCALED),
    "image_classification": image("logits"),
    "image_features": image(*_HIDDEN),
    "seq2seq_lm": seq2seq(text_source, "logits"),
    "seq2seq_features": seq2seq(text_source, "last_hidden_state"),
    "speech_seq2seq": seq2seq(speech_source, "logits"),
    "speech_features": seq2seq(speech_source, "last_hidden_state"),
    "audio_classification": speech("logits"),
}

#: Types that are asked otherwise.
OWN_DRIVERS: dict[tuple[str, str], Callable[[Asked], Sequence[Held]]] = {
    ("timesfm", "time_series_prediction"): patches("mean_predictions", "full_predictions"),
    ("timesfm", "time_series_features"): patches("last_hidden_state", "loc", "scale"),
}


def _held(cache: Any, real: Array) -> tuple[Held, ...]:
    """Keys and values, or the states of a recurrent model."""
    cache = getattr(cache, "self_attention_cache", cache)
    # A layer that uses another's keys has none, nor has one that only recalls.
    every = getattr(cache, "layers", ())
    layers = [layer for layer in every if getattr(layer, "keys", None) is not None]
    states = [layer for layer in every if hasattr(layer, "recurrent_states")]
    found: list[Held] = []
    if layers or not states:
        found.append(Held(".key", tuple(_array(layer.keys) for layer in layers), real))
        found.append(Held(".value", tuple(_array(layer.values) for layer in layers), real))
    for name, kind in ((".conv", "conv_states"), (".state", "recurrent_states")):
        tensors = [getattr(layer, kind)[0] for layer in states]
        if kept := tuple(_array(tensor) for tensor in tensors if tensor is not None):
            found.append(Held(name, kept))
    return tuple(found)


def _call(module: Any, inputs: Mapping[str, Array]) -> Any:
    import torch

    with torch.no_grad():
        return module(**{name: _tensor(value) for name, value in inputs.items()})


def _tensor(value: Any) -> Any:
    import torch

    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value


def _array(tensor: Any) -> Array:
    array: Array = tensor.detach().numpy()
    return array
