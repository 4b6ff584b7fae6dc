"""Options of generation by models and targets: greedy and searched tokens of `transformers`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.errors import UnsupportedError
from smelt.runtime.session import Session
from tests import tiny
from tests.test_beams import bart, mamba, seeded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPTS = [[3, 14, 15, 92, 65, 3, 14], [89, 79]]
EOS = [7, 21, 40, 60]
TARGETS = ("torch", "onnx", "edge")
KINDS = ("llama", "bart", "mamba")

Models = dict[str, tuple[Any, dict[str, Session]]]

#: Options by the names that both sides have; each is tried greedily and with beams.
GRID: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"sequence_bias": [[[12], 2.0], [[14, 40], 5.0], [[3], -3.0]]},
    "source": {"encoder_repetition_penalty": 1.5, "encoder_no_repeat_ngram_size": 2},
    "repeats": {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    "words": {"bad_words_ids": [[12], [14, 15], [65]]},
    "lengths": {"min_new_tokens": 4, "exponential_decay_length_penalty": (5, 1.4)},
    "watermark": {"watermarking_config": {"bias": 1.5, "greenlist_ratio": 0.4}},
    "normal": {"renormalize_logits": True, "repetition_penalty": 1.2, "min_length": 9},
}
BEAMS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.6},
}


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
            model = seeded({"bart": bart, "mamba": mamba}[kind](), folder)
        sessions = {}
        for target in TARGETS:
            hidden = "all" if kind == "llama" else "last"
            options: dict[str, Any] = {"context": 64, "hidden": hidden}
            smelt.compile(folder, target=target, out=out / target, verify=False, **options)
            sessions[target] = smelt.open(out / target)
        found[kind] = (model.eval(), sessions)
    return found


def theirs(model: Any, prompt: list[int], given: dict[str, Any]) -> list[list[int]]:
    """New tokens of one prompt, alone: no padding is penalized."""
    given = dict(given)
    if "watermarking_config" in given:
        given["watermarking_config"] = transformers.WatermarkingConfig(
            **given["watermarking_config"]
        )
    start = 1 if model.config.is_encoder_decoder else len(prompt)
    rows = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=8,
        eos_token_id=EOS,
        pad_token_id=0,
        **given,
    )
    found = []
    for row in rows[:, start:].tolist():
        ends = [at for at, token in enumerate(row) if token in EOS]
        found.append(row[: ends[0] + 1] if ends else row)
    return found


@pytest.mark.parametrize("way", BEAMS)
@pytest.mark.parametrize("name", GRID)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_equal_transformers(models: Models, kind: str, name: str, way: str) -> None:
    model, sessions = models[kind]
    given = {**GRID[name], **BEAMS[way]}
    wanted = [ids for prompt in PROMPTS for ids in theirs(model, prompt, given)]
    for target, session in sessions.items():
        found = session.generate(
            ids=PROMPTS, max_new_tokens=8, temperature=0, eos=EOS, **given
        ).wait()
        assert [c.ids for c in found.completions] == wanted, target


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_tokens_have_the_shares_of_transformers(models: Models, kind: str) -> None:
    model, sessions = models[kind]
    prompt, count = PROMPTS[0], 1200
    given: dict[str, Any] = {"temperature": 1.3, "top_k": 30, "top_p": 0.9}
    told = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=True,
        max_new_tokens=1,
        eos_token_id=None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
        **given,
    )
    expected = torch.softmax(told.scores[0][0].double(), -1).numpy() * count
    for target, session in sessions.items():
        found = session.generate(
            ids=[prompt] * count, max_new_tokens=1, eos=(), seed=11, **given
        ).wait()
        drawn = Counter(c.ids[0] for c in found.completions)
        times = np.array([drawn[token] for token in range(expected.size)])
        assert not times[expected == 0].any(), target
        often = expected >= 5
        chi = float(((times[often] - expected[often]) ** 2 / expected[often]).sum())
        free = int(often.sum())
        assert free > 3 and chi < free + 4.5 * (2 * free) ** 0.5, target


def test_contrastive_search_of_a_recurrent_model_is_its_definition(models: Models) -> None:
    """`transformers` refused models whose state cannot be taken back; every prefix is run whole."""
    model, sessions = models["mamba"]
    alpha, count = 0.6, 4
    wanted = []
    for prompt in PROMPTS:
        tokens = list(prompt)
        for _ in range(6):
            with torch.no_grad():
                told = model(torch.tensor([tokens]), output_hidden_states=True)
                shares, ids = torch.softmax(told.logits[0, -1], -1).topk(count)
                before = torch.nn.functional.normalize(told.hidden_states[-1][0], dim=-1)
                worth = []
                for share, token in zip(shares, ids, strict=True):
                    after = model(torch.tensor([[*tokens, token]]), output_hidden_states=True)
                    own = torch.nn.functional.normalize(after.hidden_states[-1][0, -1], dim=-1)
                    worth.append(float((1 - alpha) * share - alpha * (before @ own).max()))
            tokens.append(int(ids[int(np.argmax(worth))]))
        wanted.append(tokens[len(prompt) :])
    for target, session in sessions.items():
        found = session.generate(
            ids=PROMPTS, max_new_tokens=6, eos=(), penalty_alpha=alpha, top_k=count
        ).wait()
        assert [c.ids for c in found.completions] == wanted, target


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("mamba", {"dola_layers": "low"}, "gives no states of layers"),
    ("bart", {"dola_layers": "low"}, "gives no states of layers"),
    ("mamba", {"prompt_lookup_num_tokens": 2}, "recurrent"),
    ("bart", {"prompt_lookup_num_tokens": 2}, "decoders alone"),
    ("bart", {"guidance_scale": 2.0}, "an encoder comes first"),
    ("llama", {"num_beams": 2, "penalty_alpha": 0.5}, "do not go together"),
    ("llama", {"num_beams": 2, "dola_layers": "high"}, "do not go together"),
]


@pytest.mark.parametrize(("kind", "given", "message"), REFUSED, ids=str)
def test_what_a_model_cannot_do_is_refused(
    models: Models, kind: str, given: dict[str, Any], message: str
) -> None:
    for session in models[kind][1].values():
        with pytest.raises(UnsupportedError, match=message):
            session.generate(ids=PROMPTS[0], **given).wait()
