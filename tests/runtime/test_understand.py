"""Embedding, classification, masks and answers, with transformers' own models as the engine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.embedding import POOLING_FILES, pool, read_pooling
from smelt.runtime.engine import Array
from smelt.runtime.manifest import Manifest, Pooling
from smelt.runtime.session import Session
from smelt.runtime.text import TEXT_FILES, Text
from tests import models
from tests.runtime.toys import manifest

TEXTS = [
    "The food was delicious",
    "The meal tasted wonderful",
    "The stock market fell sharply on Tuesday afternoon, analysts said",
]


class Oracle:
    """A transformers encoder behind the engine protocol."""

    def __init__(self, model: Any, task: str, **changes: Any) -> None:
        inputs = [
            {"name": name, "dtype": "i64", "shape": ["batch", "seq"]}
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        self.manifest: Manifest = manifest(
            task=task,
            functions=[{"name": "main", "inputs": inputs, "outputs": []}],
            state=[],
            context=512,
            generation={},
            **changes,
        )
        self._model = model.eval()
        self.past = 0

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        import torch

        with torch.no_grad():
            found = self._model(**{name: torch.tensor(a) for name, a in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}

    def reset(self) -> None: ...
    def rewind(self, past: int) -> None: ...
    def reorder(self, rows: Array) -> None: ...
    def read_state(self) -> dict[str, Array]:
        return {}

    def bytes(self) -> dict[str, int]:
        return {}


@pytest.fixture(scope="module")
def folder() -> Path:
    pytest.importorskip("transformers")
    try:
        return models.minilm()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def text(folder: Path) -> Text:
    files = {n: (folder / n).read_bytes() for n in TEXT_FILES if (folder / n).is_file()}
    return Text.load(files)


def load(folder: Path, kind: str) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    return getattr(transformers, kind).from_pretrained(folder)


def pooling(folder: Path) -> Pooling:
    files = {n: (folder / n).read_bytes() for n in POOLING_FILES if (folder / n).is_file()}
    found = read_pooling(files)
    assert found is not None
    return found


def test_embeddings_are_those_of_sentence_transformers(folder: Path, text: Text) -> None:
    import torch
    import transformers

    told = pooling(folder)
    assert (told.mode, told.normalize, told.max_length) == ("mean", True, 256)
    model = load(folder, "AutoModel")
    session = Session(Oracle(model, "feature_extraction", pooling=told), text)
    found = session.embed(TEXTS, batch_size=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row, sentence in zip(found, TEXTS, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(sentence, return_tensors="pt", padding=False))[0][0]
        wanted = torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy()
        assert np.allclose(row, wanted, atol=1e-5)
    cosines = found @ found.T
    assert cosines[0, 1] > 0.6 and abs(cosines[0, 2]) < 0.2
    long = "word " * 1000
    assert np.isclose(np.linalg.norm(session.embed(long)[0]), 1.0, atol=1e-5)
    assert session.embed([]).shape == (0, 0)


def test_pooling_modes() -> None:
    hidden = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    mask = np.array([[1, 1, 0]])
    wanted = {
        "mean": [2, 3, 4, 5],
        "cls": [0, 1, 2, 3],
        "max": [4, 5, 6, 7],
        "last": [4, 5, 6, 7],
    }
    for mode, values in wanted.items():
        told = Pooling.model_validate({"mode": mode})
        assert pool(hidden, mask, told)[0].tolist() == values
    with pytest.raises(UnsupportedError, match="Dense"):
        read_pooling({"modules.json": b'[{"type": "sentence_transformers.models.Dense"}]'})
    sums = b'{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}'
    with pytest.raises(UnsupportedError, match="pooling by"):
        read_pooling({"modules.json": b"[]", "1_Pooling/config.json": sums})
    assert read_pooling({}) is None


def test_classification_gives_softmax_over_labels(folder: Path, text: Text) -> None:
    model = load(folder, "AutoModelForSequenceClassification")
    session = Session(Oracle(model, "sequence_classification", labels=["no", "yes"]), text)
    found = session.classify(TEXTS)
    for labels, sentence in zip(found, TEXTS, strict=True):
        alone = session.classify(sentence)[0]
        assert [label.name for label in labels] == [label.name for label in alone]
        assert sum(label.score for label in labels) == pytest.approx(1.0)
        assert labels[0].score >= labels[1].score
        assert labels[0].score == pytest.approx(alone[0].score, abs=1e-5)
    with pytest.raises(SmeltError, match="3 texts and 2 second texts"):
        session.classify(TEXTS, ["a", "b"])


def test_masks_are_filled_with_the_likeliest_tokens(folder: Path, text: Text) -> None:
    import torch
    import transformers

    model = load(folder, "AutoModelForMaskedLM")
    session = Session(Oracle(model, "masked_lm"), text)
    sentence = "The [MASK] of France is [MASK]."
    found = session.fill_mask(sentence, top=4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(sentence, return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[0]
    places = (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten().tolist()
    assert len(found) == len(places) == 2
    for candidates, place in zip(found, places, strict=True):
        wanted = logits[place].softmax(-1).topk(4)
        assert [c.token for c in candidates] == wanted.indices.tolist()
        assert np.allclose([c.score for c in candidates], wanted.values.numpy(), atol=1e-5)
    with pytest.raises(SmeltError, match="no mask"):
        session.fill_mask("nothing hidden")


def test_answers_are_spans_of_the_context(folder: Path, text: Text) -> None:
    model = load(folder, "AutoModelForQuestionAnswering")
    session = Session(Oracle(model, "question_answering"), text)
    context = "Lily lives in Lyon. She is a baker – “the best” one."
    answers = session.answer("Where does Lily live?", context, top=5)
    assert len(answers) == 5
    for found in answers:
        assert context[found.start : found.end] == found.text != ""
    assert all(a.score >= b.score for a, b in pairwise(answers))


def test_a_task_that_is_another_is_refused(folder: Path, text: Text) -> None:
    session = Session(Oracle(load(folder, "AutoModel"), "feature_extraction"), text)
    with pytest.raises(UnsupportedError, match="classify wants the task sequence_classification"):
        session.classify("x")
    with pytest.raises(SmeltError, match="600 tokens"):
        Session(Oracle(load(folder, "AutoModel"), "feature_extraction"), text).embed("w " * 598)
