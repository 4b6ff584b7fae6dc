"""Generation over artifacts: the tokens of `transformers.generate`, the same on all engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.errors import SmeltError
from smelt.runtime import feed
from smelt.runtime.session import Session
from tests import tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPTS = [[3, 14, 15, 92, 65], [35], [89, 79, 32, 38, 46, 26, 43]]
ENGINES: dict[str, dict[str, Any]] = {
    "torch": {"target": "torch"},
    "onnx-standard": {"target": "onnx", "dialect": "standard"},
    "onnx-ort": {"target": "onnx", "dialect": "ort"},
}


def compiled(checkpoint: Path, out: Path) -> dict[str, Session]:
    sessions = {}
    for name, options in ENGINES.items():
        smelt.compile(checkpoint, out=out / name, verify=False, **options)
        sessions[name] = smelt.open(out / name)
    return sessions


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Session]]:
    folder = tiny.llama(tmp_path_factory.mktemp("llama"))
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    return model, compiled(folder, tmp_path_factory.mktemp("out"))


GREEDY: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2},
    {"min_new_tokens": 10, "eos": (2, 5, 17)},
    {"eos": (7, 40, 60, 61, 62, 63), "repetition_penalty": 1.2},
]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("given", GREEDY, ids=str)
def test_greedy_batches_equal_transformers(
    llama: tuple[Any, dict[str, Session]], name: str, given: dict[str, Any]
) -> None:
    model, sessions = llama
    eos = given.get("eos", (98,))
    options: dict[str, Any] = {"max_new_tokens": 16, "temperature": 0.0, **given, "eos": eos}
    found = sessions[name].generate(ids=PROMPTS, **options).wait()
    theirs = {key: value for key, value in given.items() if key != "eos"}
    for prompt, completion in zip(PROMPTS, found.completions, strict=True):
        # One row at a time: transformers' penalties would also see the padding of a batch.
        wanted = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=16,
            do_sample=False,
            eos_token_id=list(eos),
            pad_token_id=0,
            **theirs,
        )
        assert completion.ids == wanted[0, len(prompt) :].tolist()


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 12},
        {"temperature": 1.2, "top_p": 0.85, "repetition_penalty": 1.1},
        {"temperature": 0.9, "min_p": 0.05},
    ],
    ids=str,
)
def test_a_seed_gives_the_same_tokens_on_every_engine(
    llama: tuple[Any, dict[str, Session]], given: dict[str, Any]
) -> None:
    _, sessions = llama
    for seed in (1, 2**40 + 5):
        found = {
            name: [c.ids for c in s.generate(ids=PROMPTS, seed=seed, **given).wait().completions]
            for name, s in sessions.items()
        }
        assert found["torch"] == found["onnx-standard"] == found["onnx-ort"]
    other = sessions["torch"].generate(ids=PROMPTS, seed=3, **given).wait()
    assert [c.ids for c in other.completions] != found["torch"]


@pytest.mark.parametrize("name", ENGINES)
def test_a_conversation_that_reuses_state_gives_the_same_tokens(
    llama: tuple[Any, dict[str, Session]], name: str
) -> None:
    session = llama[1][name]
    options: dict[str, Any] = {"max_new_tokens": 6, "temperature": 0.0, "eos": ()}
    tokens = [3, 14, 15]
    for turn in range(3):
        fresh = session.generate(ids=tokens, **options).ids
        kept = session.generate(ids=tokens, reuse=turn > 0, **options)
        assert kept.ids == fresh
        again = session.generate(ids=tokens, reuse=True, **options)
        assert again.ids == fresh
        assert again.metrics.cached_tokens == len(tokens) - 1
        tokens = [*tokens, *fresh, 41 + turn]


def test_a_prompt_over_the_context_is_refused(llama: tuple[Any, dict[str, Session]]) -> None:
    for session in llama[1].values():
        with pytest.raises(SmeltError, match="200 tokens, the context is 128"):
            session.generate(ids=[1] * 200)
        result = session.generate(ids=[1] * 120, max_new_tokens=50, eos=()).wait()
        assert (len(result.ids), result.finish) == (8, "context")


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Session]]:
    sizes = {"hidden_size": 24, "state_size": 4, "num_hidden_layers": 2, "conv_kernel": 3}
    config = transformers.MambaConfig(**sizes, vocab_size=99, expand=2, time_step_rank=4)
    torch.manual_seed(0)
    model = transformers.MambaForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("mamba")
    model.save_pretrained(folder)
    return model, compiled(folder, tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("chunk", [512, 2])
def test_recurrent_state_in_batches_and_chunks(
    mamba: tuple[Any, dict[str, Session]], name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sessions = mamba
    monkeypatch.setattr(feed, "CHUNK", chunk)
    monkeypatch.setattr(feed, "LEAST_CHUNK", 1)
    options: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0.0, "eos": ()}
    found = sessions[name].generate(ids=PROMPTS, **options).wait()
    for prompt, completion in zip(PROMPTS, found.completions, strict=True):
        wanted = model.generate(
            torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
        assert completion.ids == wanted[0, len(prompt) :].tolist()


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Session]]:
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3}
    config = transformers.T5Config(**sizes, vocab_size=77, decoder_start_token_id=0)
    torch.manual_seed(1)
    model = transformers.T5ForConditionalGeneration(config).eval()
    folder = tmp_path_factory.mktemp("t5")
    model.save_pretrained(folder)
    return model, compiled(folder, tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("name", ENGINES)
def test_an_encoder_and_decoder_equal_transformers(
    t5: tuple[Any, dict[str, Session]], name: str
) -> None:
    model, sessions = t5
    prompts = [[5, 6, 7, 8, 1], [9, 10, 1]]
    options: dict[str, Any] = {
        "max_new_tokens": 12,
        "temperature": 0.0,
        "eos": (),
        "repetition_penalty": 1.3,
    }
    found = sessions[name].generate(ids=prompts, **options).wait()
    for prompt, completion in zip(prompts, found.completions, strict=True):
        wanted = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            repetition_penalty=1.3,
        )
        assert completion.ids == wanted[0, 1:].tolist()
        assert completion.prompt == prompt


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Session]]:
    config = transformers.WhisperConfig(
        vocab_size=90,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
        num_mel_bins=8,
        max_source_positions=20,
        max_target_positions=32,
        decoder_start_token_id=50,
        bos_token_id=51,
        eos_token_id=52,
        pad_token_id=52,
        suppress_tokens=[1, 2],
        begin_suppress_tokens=[3, 52],
    )
    torch.manual_seed(2)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.model.decoder.parameters():
            parameter.mul_(2.0)
    folder = tmp_path_factory.mktemp("whisper")
    model.generation_config.suppress_tokens = [1, 2]
    model.generation_config.begin_suppress_tokens = [3, 52]
    model.generation_config.forced_decoder_ids = None
    model.save_pretrained(folder)
    return model, compiled(folder, tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("name", ENGINES)
def test_speech_features_become_tokens(whisper: tuple[Any, dict[str, Session]], name: str) -> None:
    model, sessions = whisper
    features = np.random.default_rng(0).normal(size=(2, 8, 40)).astype(np.float32)
    session = sessions[name]
    assert session.manifest.generation.begin_suppress_tokens == (3, 52)
    found = session.generate(inputs={"input_features": features}, max_new_tokens=9, eos=()).wait()
    prefix = [50]
    for row, completion in enumerate(found.completions):
        tokens = list(prefix)
        for step in range(9):
            with torch.no_grad():
                logits = model(
                    input_features=torch.tensor(features[row : row + 1]),
                    decoder_input_ids=torch.tensor([tokens]),
                ).logits[0, -1]
            logits[[1, 2]] = -torch.inf
            if step == 0:
                logits[[3, 52]] = -torch.inf
            tokens.append(int(logits.argmax()))
        assert completion.ids == tokens[1:]
    with pytest.raises(SmeltError, match="takes input_features, not text"):
        session.generate(ids=[1, 2])
