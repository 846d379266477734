"""Long documents in windows through the whole pipeline, in real DVC: the verdict stands where neither the start nor the end is."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from finetune.results.metrics import read_metrics
from finetune.rows.stored import read_rows, token_ids
from finetune.runtime.classifier import Classifier
from tests.support.project import Project
from tests.support.server import running
from tests.support.tiny import BAD, FILLER, GOOD, write_table

TEXTS = "data/local/documents.csv"
SETTINGS = {
    "data.uri": TEXTS,
    "data.group": None,
    "tokenize": {"max_length": 16, "truncation": "windows", "stride": 4},
    "train.epochs": 4,
    "evaluate.behaviour.neutral": [],
}


def documents(rows: int, seed: int = 0) -> list[dict[str, str]]:
    """Texts of 3 to 80 words; the longer ones have their telling words in the middle, far from both ends."""
    chance, made = random.Random(seed), []
    for number in range(rows):
        words = chance.choices(FILLER, k=chance.choice((1, 30, 74)))
        middle = len(words) // 2
        words[middle:middle] = chance.choices(GOOD if number % 2 else BAD, k=6 if len(words) > 1 else 2)
        made.append({"text": " ".join(words), "label": "good" if number % 2 else "bad"})
    return made


@pytest.fixture(scope="module")
def windowed(tmp_path_factory) -> Project:
    """The tiny project on documents in windows, after `dvc repro`."""
    project = Project.create(tmp_path_factory.mktemp("windowed") / "project")
    write_table(project.folder / TEXTS, documents(200))
    project.set_params(SETTINGS)
    project.dvc("repro")
    return project


def test_every_score_is_per_document_and_every_format_agrees(windowed):
    metrics = read_metrics(windowed.folder / "metrics")
    assert metrics["test"]["accuracy"] > 0.8
    assert metrics["test"]["rows"] == metrics["data"]["rows"]["test"] == 40
    assert metrics["data"]["truncated"] == 0
    assert metrics["export"]["reload"]["agreement"] == metrics["export"]["onnx"]["agreement"] == 1
    rows = pq.read_table(windowed.folder / "data/predictions/test.parquet")
    assert rows.num_rows == len(set(rows.column("row").to_pylist())) == 40


def test_a_document_is_the_windows_of_transformers(windowed, monkeypatch):
    from transformers import AutoTokenizer

    monkeypatch.chdir(windowed.folder)
    tokenizer = AutoTokenizer.from_pretrained("data/tokenized/tokenizer")
    rows = read_rows("test")
    options = {"truncation": True, "max_length": 16, "stride": 4, "return_overflowing_tokens": True}
    for text, windows in zip(rows["text"][:], token_ids(rows), strict=True):
        assert [window.tolist() for window in windows] == tokenizer(text, **options)["input_ids"]


def test_predict_folders_and_server_give_the_mean_over_windows(windowed, tmp_path):
    folder = windowed.folder / "models/export"
    model = Classifier(folder)
    texts = [row["text"] for row in documents(12, seed=9)]
    logits = [model.computed(row, "logits").mean(0) / model.temperature for row in model.encode(texts)]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert model.probabilities(texts) == pytest.approx(expected, abs=1e-5)
    write_table(tmp_path / "in/part.csv", [{"text": text} for text in texts])
    predict = ("python", "-m", "finetune.predict")
    windowed.run(*predict, "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"))
    found = pq.read_table(tmp_path / "out/part.parquet")
    assert np.stack([found.column(f"probability_{name}") for name in model.labels], 1) == pytest.approx(
        expected, abs=1e-5
    )
    with running(folder) as server:
        _, many = server.post("/predict", {"texts": texts})
        assert not any(prediction["truncated"] for prediction in many["predictions"])
        rows = [list(prediction["probabilities"].values()) for prediction in many["predictions"]]
        assert np.array(rows) == pytest.approx(expected, abs=1e-5)
        text = next(text for text in texts if len(text.split()) > 60)
        _, answer = server.post("/explain", {"text": text})
    assert "".join(part["text"] for part in answer["parts"]) == text
    pushes = {part["text"]: part["push"] for part in answer["parts"] if part["text"] in GOOD + BAD}
    assert pushes
    assert None not in pushes.values()


def test_the_code_on_the_card_gives_the_same_answers(windowed):
    card = windowed.read("models/export/README.md")
    assert "is read in windows of so many, which share 4 tokens" in card
    bare = card.split("```python\n")[2].split("```")[0]
    texts = [row["text"] for row in documents(6, seed=3)]
    bare = bare.replace('texts = ["your text", "another one"]', f"texts = {texts}")
    folder = str(windowed.folder / "models/export")
    found = windowed.run("python", "-c", f"import os; os.chdir({folder!r})\n{bare}").stdout.splitlines()
    model = Classifier(folder)
    for line, row in zip(found, model.probabilities(texts), strict=True):
        label, probability, _ = line.split(" ", 2)
        assert label == model.labels[row.argmax()]
        assert float(probability) == pytest.approx(row.max(), abs=2e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"tokenize.stride": 14},
            "tokenize.stride must be below 14, the tokens of a window without special ones, found 14",
        ),
        (
            {"data.text": ["text", "other"]},
            "tokenize.truncation: windows is for one text, and data.text names two columns",
        ),
    ],
)
def test_windows_that_cannot_work_end_in_one_line(windowed, tmp_path, settings, message):
    project = windowed.copy(tmp_path / "project")
    write_table(project.folder / TEXTS, [row | {"other": row["text"][::-1]} for row in documents(60)])
    project.set_params(settings)
    done = project.dvc("repro", "tokenize", check=False)
    assert done.returncode != 0
    assert f"error: {message}" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
