"""Beams, guesses and guidance over artifacts: what `transformers` gives, on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.errors import UnsupportedError
from smelt.runtime.session import Session
from tests import tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPTS = [[3, 14, 15, 92, 65], [35], [89, 79, 32, 38, 46, 26, 43]]
ENGINES: dict[str, dict[str, Any]] = {
    "torch": {"target": "torch"},
    "onnx": {"target": "onnx"},
    "edge": {"target": "edge"},
}
EOS = [7, 21, 40, 60]

Models = dict[str, tuple[Any, dict[str, Session]]]


def seeded(model: Any, folder: Path) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = transformers.GenerationConfig(decoder_start_token_id=start)
    model.save_pretrained(folder)
    return model.eval()


def mamba() -> Any:
    sizes = {"hidden_size": 24, "state_size": 4, "num_hidden_layers": 2, "conv_kernel": 3}
    return transformers.MambaForCausalLM(
        transformers.MambaConfig(**sizes, vocab_size=99, expand=2, time_step_rank=4)
    )


def lfm2() -> Any:
    return transformers.Lfm2ForCausalLM(
        transformers.Lfm2Config(
            vocab_size=99,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            layer_types=["conv", "full_attention"],
            block_multiple_of=8,
            max_position_embeddings=128,
        )
    )


def t5() -> Any:
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3}
    config = transformers.T5Config(**sizes, vocab_size=99, decoder_start_token_id=0)
    return transformers.T5ForConditionalGeneration(config)


def bart() -> Any:
    return transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=99,
            d_model=24,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=3,
            decoder_attention_heads=3,
            encoder_ffn_dim=40,
            decoder_ffn_dim=40,
            max_position_embeddings=64,
            forced_eos_token_id=None,
        )
    )


MAKERS = {"mamba": mamba, "lfm2": lfm2, "t5": t5, "bart": bart}
KINDS = ("llama", *MAKERS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    found: Models = {}
    for kind in KINDS:
        folder, out = tmp_path_factory.mktemp(kind), tmp_path_factory.mktemp("out")
        torch.manual_seed(5)
        if kind == "llama":
            model = transformers.LlamaForCausalLM.from_pretrained(tiny.llama(folder))
            model.generation_config = transformers.GenerationConfig()
        else:
            model = seeded(MAKERS[kind](), folder)
        sessions = {}
        for name, options in ENGINES.items():
            smelt.compile(folder, out=out / name, verify=False, context=64, **options)
            sessions[name] = smelt.open(out / name)
        found[kind] = (model, sessions)
    return found


def theirs(
    model: Any, prompts: list[list[int]], given: dict[str, Any]
) -> tuple[list[list[int]], list[float]]:
    """Ids without padding, and scores, of a batch padded as its kind wants."""
    encoded = model.config.is_encoder_decoder
    longest = max(map(len, prompts))
    rows, masks = [], []
    for prompt in prompts:
        space = [0] * (longest - len(prompt))
        rows.append([*prompt, *space] if encoded else [*space, *prompt])
        ones = [1] * len(prompt)
        masks.append([*ones, *space] if encoded else [*space, *ones])
    found = model.generate(
        torch.tensor(rows),
        attention_mask=torch.tensor(masks),
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
        **given,
    )
    start = 1 if encoded else longest
    ids = []
    for row in found.sequences[:, start:].tolist():
        ends = [at for at, token in enumerate(row) if token in (given["eos_token_id"] or ())]
        ids.append(row[: ends[0] + 1] if ends else row)
    return ids, found.sequences_scores.tolist()


SEARCHES: list[dict[str, Any]] = [
    {"num_beams": 3},
    {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 3, "length_penalty": -0.5, "early_stopping": "never", "min_new_tokens": 4},
    {"num_beams": 2, "length_penalty": 0.5, "early_stopping": "never", "renormalize_logits": True},
    {"num_beams": 5, "no_repeat_ngram_size": 2, "bad_words_ids": [[12], [3, 14]]},
]


CASES = [("llama", given, eos) for given in SEARCHES for eos in (None, EOS)]
CASES += [(kind, given, EOS) for kind in ("t5", "bart") for given in SEARCHES[1:4:2]]
CASES += [(kind, given, EOS) for kind in ("mamba", "lfm2") for given in SEARCHES[1:2]]


@pytest.mark.parametrize(("kind", "given", "eos"), CASES, ids=lambda value: str(value)[:60])
def test_beams_equal_transformers(
    models: Models, kind: str, given: dict[str, Any], eos: list[int] | None
) -> None:
    model, sessions = models[kind]
    mask = kind in ("llama", "t5", "bart")
    wanted: list[list[int]] = []
    scores: list[float] = []
    for prompts in [PROMPTS] if mask else [[p] for p in PROMPTS]:
        ids, sums = theirs(model, prompts, {"max_new_tokens": 9, "eos_token_id": eos, **given})
        wanted, scores = wanted + ids, scores + sums
    for name, session in sessions.items():
        found = session.generate(
            ids=PROMPTS, max_new_tokens=9, temperature=0, eos=eos or (), **given
        ).wait()
        assert [c.ids for c in found.completions] == wanted, name
        assert np.allclose([c.score or 0.0 for c in found.completions], scores, atol=2e-4), name
        for completion in found.completions:
            ended = completion.ids[-1] in (eos or ())
            assert completion.finish == ("eos" if ended else "length")


def test_a_seed_gives_the_same_drawn_beams_on_every_engine(models: Models) -> None:
    given: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 2, "top_k": 20, "eos": EOS}
    for kind in ("llama", "t5"):
        found = [
            [
                c.ids
                for c in s.generate(ids=PROMPTS, max_new_tokens=8, seed=9, **given)
                .wait()
                .completions
            ]
            for s in models[kind][1].values()
        ]
        assert found[0] == found[1] == found[2]
        again = models[kind][1]["torch"].generate(ids=PROMPTS, max_new_tokens=8, seed=8, **given)
        assert [c.ids for c in again.wait().completions] != found[0]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_log_probabilities_equal_transformers(models: Models, kind: str) -> None:
    model, sessions = models[kind]
    encoded = model.config.is_encoder_decoder
    wanted = model.generate(
        torch.tensor([PROMPTS[0]]),
        max_new_tokens=5,
        do_sample=False,
        repetition_penalty=1.5,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    ids = wanted.sequences[0, 1 if encoded else len(PROMPTS[0]) :].tolist()
    for session in sessions.values():
        found = session.generate(
            ids=PROMPTS[0],
            max_new_tokens=5,
            temperature=0,
            eos=(),
            repetition_penalty=1.5,
            logprobs=4,
        ).wait()
        scores = found.completions[0].logprobs
        assert [s.token for s in scores] == found.ids == ids
        for scored, logits in zip(scores, wanted.logits, strict=True):
            logprobs = torch.log_softmax(logits[0].double(), -1)
            assert abs(scored.logprob - float(logprobs[scored.token])) < 1e-4
            top = torch.topk(logprobs, 4)
            assert [token for token, _ in scored.top] == top.indices.tolist()
            assert np.allclose([value for _, value in scored.top], top.values, atol=1e-4)


def test_beams_carry_log_probabilities_and_metrics(models: Models) -> None:
    session = models["llama"][1]["torch"]
    given: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 3, "eos": EOS}
    found = session.generate(ids=PROMPTS, max_new_tokens=7, temperature=0, logprobs=0, **given)
    pieces = list(found)
    assert [c.prompt for c in found.completions] == [p for p in PROMPTS for _ in range(3)]
    for index, completion in enumerate(found.completions):
        total = sum(scored.logprob for scored in completion.logprobs)
        assert completion.score == pytest.approx(total / len(completion.ids), abs=1e-4)
        assert completion.ids == [p.token for p in pieces if p.row == index]
    assert found.metrics.new_tokens == len(pieces) and found.metrics.decode_calls <= 6
    for start in range(0, 9, 3):
        scores = [c.score or 0.0 for c in found.completions[start : start + 3]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("given", [{"temperature": 0}, {"temperature": 0.9, "seed": 3}], ids=str)
def test_guesses_change_no_token(models: Models, name: str, given: dict[str, Any]) -> None:
    session, other = models["llama"][1][name], models["llama"][1]["onnx"]
    given = {"max_new_tokens": 20, "eos": EOS, **given}
    plain = session.generate(ids=PROMPTS, **given).wait()
    looked = session.generate(ids=PROMPTS, prompt_lookup_num_tokens=3, **given).wait()
    assert [c.ids for c in looked.completions] == [c.ids for c in plain.completions]
    if other is session:
        return
    drafted = session.generate(ids=PROMPTS, draft=other, **given).wait()
    assert [c.ids for c in drafted.completions] == [c.ids for c in plain.completions]
    told = drafted.metrics  # the same weights on another engine guess everything
    assert 0 < told.right_tokens == told.guessed_tokens
    assert told.decode_calls < plain.metrics.new_tokens - 3


def test_a_lookup_equals_the_one_of_transformers(models: Models) -> None:
    model, sessions = models["llama"]
    prompt = PROMPTS[0] * 2
    wanted = model.generate(
        torch.tensor([prompt]),
        max_new_tokens=16,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        prompt_lookup_num_tokens=3,
    )[0, len(prompt) :].tolist()
    for session in sessions.values():
        found = session.generate(
            ids=prompt, max_new_tokens=16, temperature=0, eos=(), prompt_lookup_num_tokens=3
        )
        assert found.ids == wanted


@pytest.mark.parametrize("negative", [None, [50, 51, 52]], ids=["last-token", "prompt"])
def test_guidance_equals_transformers(models: Models, negative: list[int] | None) -> None:
    model, sessions = models["llama"]
    wanted = []
    for prompt in PROMPTS:
        ids = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            guidance_scale=1.7,
            negative_prompt_ids=None if negative is None else torch.tensor([negative]),
        )
        wanted.append(ids[0, len(prompt) :].tolist())
    for session in sessions.values():
        found = session.generate(
            ids=PROMPTS, max_new_tokens=8, eos=(), guidance_scale=1.7, negative=negative
        ).wait()
        assert [c.ids for c in found.completions] == wanted


def test_models_that_cannot_take_back_a_guess_say_so(models: Models) -> None:
    for kind, message in (("mamba", "recurrent"), ("lfm2", "recurrent"), ("t5", "decoders alone")):
        for session in models[kind][1].values():
            with pytest.raises(UnsupportedError, match=message):
                session.generate(ids=PROMPTS[0], prompt_lookup_num_tokens=3)
