"""Every option does something, and every pair of options either works or is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models

from smelt.errors import SmeltError
from smelt.runtime import feed
from smelt.runtime.engine import Array
from smelt.runtime.options import CALL_OPTIONS, generation_defaults
from smelt.runtime.session import Session
from smelt.runtime.settings import SETTINGS
from smelt.runtime.text import Text
from tests.runtime.toys import VOCAB, ToyDecoder, manifest

PROMPT = [11, 12, 13, 11, 12]


class Stated(ToyDecoder):
    """The toy decoder with hidden states of two layers."""

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if function == "head":
            return {"logits": np.tanh(inputs["hidden"]) @ self._out}
        found = super().call(function, inputs)
        own = self._table[inputs["input_ids"]]
        mixed = found["logits"] @ self._out.T / VOCAB
        return {**found, "hidden": mixed, "layers": np.concatenate([own, own + mixed], axis=-1)}


def session(file: Mapping[str, Any] | None = None, seed: int = 0) -> Session:
    """A decoder of printable characters; token 0 ends a row."""
    own = generation_defaults({"eos_token_id": 0, "pad_token_id": 1, **(file or {})}, {})
    told = manifest(hidden={"layers": 2}, generation=own.model_dump())
    vocab = {"<end>": 0, **{chr(47 + at): at for at in range(1, VOCAB)}}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    return Session(Stated(told, seed), Text(tokenizer, {}))


#: A value of each option at which it acts. `draft` and `negative` come with a call too.
VALUES: dict[str, Any] = {
    "max_new_tokens": 3,
    "max_time": 1e6,
    "min_length": 7,
    "min_new_tokens": 2,
    "eos": (0, 9),
    "stop": "Z",
    "seed": 7,
    "logprobs": 2,
    "num_return_sequences": 2,
    "num_beams": 4,
    "length_penalty": 0.5,
    "early_stopping": True,
    "num_beam_groups": 2,
    "diversity_penalty": 1.0,
    "force_words_ids": [[5]],
    "penalty_alpha": 0.5,
    "dola_layers": [0],
    "prompt_lookup_num_tokens": 2,
    "max_matching_ngram_size": 1,
    "num_assistant_tokens": 2,
    "temperature": 0.8,
    "top_h": 0.5,
    "top_k": 6,
    "top_p": 0.9,
    "min_p": 0.05,
    "typical_p": 0.9,
    "epsilon_cutoff": 0.01,
    "eta_cutoff": 0.01,
    "guidance_scale": 1.5,
    "sequence_bias": [[[3], 1.0]],
    "encoder_repetition_penalty": 1.2,
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 2,
    "bad_words_ids": [[4], [7, 8]],
    "pattern": "[A-Z]+",
    "json_schema": {"enum": [15892, 20518]},
    "exponential_decay_length_penalty": (1, 1.2),
    "watermarking_config": {"bias": 1.0},
    "renormalize_logits": True,
    "draft": None,
    "negative": [3, 4],
}
BEAMS = ("num_beams", "length_penalty", "early_stopping", "num_return_sequences")
GROUPS = ("num_beam_groups", "diversity_penalty")
FORCED = ("force_words_ids",)
#: Ways to generate: an option of one goes with no option of another.
WAYS = (
    (*BEAMS, *GROUPS, *FORCED),
    ("penalty_alpha",),
    ("dola_layers",),
    ("prompt_lookup_num_tokens", "max_matching_ngram_size"),
    ("draft", "num_assistant_tokens"),
    ("guidance_scale", "negative"),
)
DRAWN = tuple(name for name, setting in SETTINGS.items() if setting.kind == "sampler")
#: What an option needs to mean anything.
NEEDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*BEAMS, *FORCED), ("num_beams",)),
    **dict.fromkeys(GROUPS, ("num_beams", *GROUPS)),
    "max_matching_ngram_size": ("prompt_lookup_num_tokens",),
    "num_assistant_tokens": ("draft",),
    "negative": ("guidance_scale",),
}


def refused(one: str, other: str) -> bool:
    """Whether a pair must be refused: the whole table."""
    pair = {one, other}
    texts = {"pattern", "json_schema"}
    if pair == texts or ("dola_layers" in pair and pair & texts):
        return True
    ways = [at for at, names in enumerate(WAYS) for name in pair if name in names]
    if len(ways) == 2 and ways[0] != ways[1]:
        return True
    if pair & set(GROUPS) and pair & set(FORCED):
        return True
    undrawn = {*GROUPS, *FORCED, "penalty_alpha"}
    drawn = set(DRAWN) - ({"top_k"} if "penalty_alpha" in pair else set())
    return bool(pair & undrawn and pair & drawn)


def test_the_table_has_every_option() -> None:
    assert set(VALUES) == {*CALL_OPTIONS, "draft", "negative"}


@pytest.mark.parametrize("one", VALUES)
def test_every_pair_works_or_is_refused(one: str) -> None:
    for other in list(VALUES)[list(VALUES).index(one) + 1 :]:
        names = {one, other, *NEEDS.get(one, ()), *NEEDS.get(other, ())}
        given = {"max_new_tokens": 4, **{name: VALUES[name] for name in names}}
        if "draft" in names:
            given["draft"] = session(seed=1)
        opened = session()
        if refused(one, other):
            with pytest.raises(SmeltError) as raised:
                opened.generate(ids=PROMPT, **given).wait()
            assert any(name in raised.value.message for name in names), (one, other)
            continue
        found = opened.generate(ids=PROMPT, **given).wait()
        assert all(c.finish and len(c.ids) <= 4 for c in found.completions), (one, other)
        for name in names - {"draft", "negative"}:
            read = SETTINGS[name].read(name, VALUES[name])
            assert getattr(found.options, name) == read, (one, other)


def test_states_of_a_prompt_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"max_new_tokens": 6, "eos": (), "penalty_alpha": 0.6, "top_k": 5}
    whole = session().generate(ids=[PROMPT, [9, 8]], **given).wait()
    monkeypatch.setattr(feed, "CHUNK", 2)
    parts = session().generate(ids=[PROMPT, [9, 8]], **given).wait()
    assert [c.ids for c in parts.completions] == [c.ids for c in whole.completions]
    alone = session().generate(ids=[9, 8], **given).ids
    assert alone == whole.completions[1].ids


#: For each option, what goes with it and a value that must change something; keys of a file are
#: given as ``file``.
LONG: dict[str, Any] = {"max_new_tokens": 12, "eos": ()}
DRAWS: dict[str, Any] = {**LONG, "temperature": 1.5, "seed": 3}
SEARCH: dict[str, Any] = {**LONG, "num_beams": 4}
ENDS: dict[str, Any] = {"max_new_tokens": 12, "eos": tuple(range(0, VOCAB, 2))}
EFFECTS: dict[str, tuple[dict[str, Any], Any]] = {
    "max_new_tokens": ({"eos": ()}, 3),
    "max_time": (LONG, 1e-9),
    "min_length": (ENDS, 16),
    "min_new_tokens": (ENDS, 11),
    "eos": ({"max_new_tokens": 12}, tuple(range(VOCAB))),
    "stop": (LONG, [chr(47 + at) for at in range(1, VOCAB)]),
    "seed": (DRAWS, 4),
    "logprobs": (LONG, 1),
    "num_return_sequences": (DRAWS, 2),
    "num_beams": ({**LONG, "logprobs": 0}, 6),
    "length_penalty": ({**ENDS, "num_beams": 4}, -3.0),
    "early_stopping": ({**ENDS, "num_beams": 4, "length_penalty": 6.0}, True),
    "num_beam_groups": ({**SEARCH, "num_beam_groups": 2, "diversity_penalty": 3.0}, 4),
    "diversity_penalty": ({**SEARCH, "num_beam_groups": 2, "diversity_penalty": 0.01}, 9.0),
    "force_words_ids": (SEARCH, [[33, 34]]),
    "penalty_alpha": ({**LONG, "penalty_alpha": 0.05, "top_k": 8}, 0.95),
    "dola_layers": (LONG, [1]),
    "prompt_lookup_num_tokens": (LONG, 3),
    "max_matching_ngram_size": ({**LONG, "prompt_lookup_num_tokens": 3}, 1),
    "num_assistant_tokens": ({**LONG, "draft": 0}, 1),
    "temperature": (LONG, 2.5),
    "top_h": (DRAWS, 0.1),
    "top_k": (DRAWS, 2),
    "top_p": (DRAWS, 0.2),
    "min_p": (DRAWS, 0.7),
    "typical_p": (DRAWS, 0.1),
    "epsilon_cutoff": (DRAWS, 0.3),
    "eta_cutoff": (DRAWS, 0.5),
    "guidance_scale": (LONG, 4.0),
    "sequence_bias": (LONG, [[[3], 30.0]]),
    "encoder_repetition_penalty": (LONG, 9.0),
    "repetition_penalty": (LONG, 9.0),
    "frequency_penalty": (LONG, 9.0),
    "presence_penalty": (LONG, 9.0),
    "no_repeat_ngram_size": (LONG, 1),
    "encoder_no_repeat_ngram_size": ({**LONG, "sequence_bias": [[[11], 30.0]]}, 1),
    "bad_words_ids": (LONG, [[at] for at in range(2, VOCAB, 2)]),
    "pattern": ({"max_new_tokens": 12}, "[AB]+"),
    "json_schema": ({"max_new_tokens": 12}, {"enum": [15892, 20518]}),
    "exponential_decay_length_penalty": (ENDS | {"eos": (0, 5)}, (0, 9.0)),
    "watermarking_config": (LONG, {"bias": 30.0}),
    "renormalize_logits": ({**SEARCH, "sequence_bias": [[[3], 30.0]]}, True),
    "max_length": ({"eos": (), "file": {}}, 8),
    "forced_bos_token_id": ({**LONG, "ids": [3], "file": {}}, 44),
    "forced_eos_token_id": ({"max_new_tokens": 12, "eos": (), "file": {}}, 44),
    "suppress_tokens": ({**LONG, "file": {}}, list(range(2, VOCAB, 2))),
    "begin_suppress_tokens": ({**LONG, "file": {}}, list(range(1, VOCAB))),
}


def outcome(given: dict[str, Any]) -> Any:
    """Everything that a caller can see of a generation, or how it was refused."""
    given = dict(given)
    ids, file = given.pop("ids", PROMPT), given.pop("file", None)
    if "draft" in given:
        given["draft"] = session(seed=1)
    found = session(file).generate(ids=ids, **given).wait()
    told = found.metrics
    rows = [(c.ids, c.text, c.finish, c.score, c.logprobs) for c in found.completions]
    return rows, told.guessed_tokens, told.decode_calls


@pytest.mark.parametrize("name", EFFECTS)
def test_no_option_is_ignored(name: str) -> None:
    base, value = EFFECTS[name]
    changed = {**base, "file": {name: value}} if "file" in base else {**base, name: value}
    assert outcome(base) == outcome(base)
    assert outcome(base) != outcome(changed)


def test_every_option_is_tried() -> None:
    keys = {name if setting.call else setting.own or name for name, setting in SETTINGS.items()}
    assert set(EFFECTS) == keys
