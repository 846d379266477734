"""Texts of several columns through the whole pipeline, in real DVC: a pair whose label neither of its texts tells."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from finetune.publish.sagemaker_handler import input_fn, predict_fn
from finetune.results.metrics import read_metrics
from finetune.runtime.classifier import FP32, Classifier
from finetune.runtime.drift import PROFILE
from tests.support.browser import Opened, chromium
from tests.support.project import Project
from tests.support.server import running
from tests.support.tiny import rivals, write_table

TEXTS = "data/local/rivals.csv"
SETTINGS = {
    "data.uri": TEXTS,
    "data.text": ["one", "other"],
    "data.labels": None,
    "data.group": None,
    "baseline.zero_shot.prompts": None,
    "train.epochs": 8,
}
ALONE = 51 / 66  # what one text alone can give


@pytest.fixture(scope="module")
def paired(tmp_path_factory) -> Project:
    """The tiny project on rivals, after `dvc repro`; the first row has no first text, the second no other one."""
    project = Project.create(tmp_path_factory.mktemp("paired") / "project")
    rows = rivals(500)
    rows[0]["one"] = rows[1]["other"] = ""
    write_table(project.folder / TEXTS, [*rows, {"one": " ", "other": "", "label": "one"}])
    project.set_params(SETTINGS)
    project.first_output = project.dvc("repro").stdout
    return project


def test_a_pair_is_learnt_which_no_text_alone_and_no_bag_of_both_gives(paired):
    metrics = read_metrics(paired.folder / "metrics")
    assert metrics["test"]["accuracy"] > ALONE + 0.1
    assert metrics["baseline"]["tfidf"]["accuracy"] < 0.65
    assert metrics["data"]["dropped"]["empty"] == 1  # both texts
    assert {name: counts["empty"] for name, counts in metrics["data"]["columns"].items()} == {"one": 1, "other": 1}
    assert "columns one, other: read as a pair\n1 rows have nothing under one\n" in paired.first_output
    # Every format answers as evaluated; a neutral sentence or a "not" would change which text is better.
    assert metrics["export"]["reload"]["agreement"] == metrics["export"]["onnx"]["agreement"] == 1
    assert set(metrics["behaviour"]) <= {"typos", "case", "contractions"}


def test_rows_are_pairs_as_transformers_makes_them_with_the_token_types(paired):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(paired.folder / "data/tokenized/tokenizer")
    table = pq.read_table(paired.folder / "data/tokenized/test.parquet").to_pydict()
    pairs = tokenizer(*map(list, zip(*table["fields"], strict=True)), truncation="longest_first")
    types = [[int(token < 0) for token in row] for row in table["input_ids"]]
    assert [[~token if token < 0 else token for token in row] for row in table["input_ids"]] == pairs["input_ids"]
    assert types == pairs["token_type_ids"]
    assert table["text"] == [" | ".join(fields) for fields in table["fields"]]


def test_tables_lines_and_arguments_give_the_evaluated_answers(paired, tmp_path):
    table = pq.read_table(paired.folder / "data/tokenized/test.parquet").to_pydict()
    model = Classifier(paired.folder / "models/export")
    expected = [model.labels[label] for label in model.probabilities(table["fields"]).argmax(1)]
    rows = [
        {"other": other, "id": f"{row}", "one": one}
        for row, (one, other) in zip(table["row"], table["fields"], strict=True)
    ]
    write_table(tmp_path / "in.csv", [*rows, {"other": "", "id": "", "one": " "}])
    predict = ("python", "-m", "finetune.predict")
    paired.run(*predict, "--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        answered = list(csv.DictReader(file))
    assert [row["label"] for row in answered] == [*expected, ""]
    lines = [json.dumps({"one": one, "other": other}) for one, other in table["fields"]]
    answers = paired.run(*predict, stdin="\n".join([*lines, ""]) + "\n").stdout.splitlines()
    assert [json.loads(line)["label"] for line in answers] == [*expected, None]
    (answer,) = paired.run(*predict, lines[0]).stdout.splitlines()
    assert json.loads(answer)["label"] == expected[0]
    # Other names of the columns, in the order of the model's; a folder.
    (tmp_path / "in").mkdir()
    renamed = [{"b": row["other"], "a": row["one"]} for row in rows]
    write_table(tmp_path / "in/part.csv", renamed)
    columns = ("--text-column", "a", "--text-column", "b")
    paired.run(*predict, "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *columns)
    assert pq.read_table(tmp_path / "out/part.parquet").column("label").to_pylist() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a film"], 'text 1 must be a JSON object of the model\'s columns, {"one": "…", "other": "…"}, found a film'),
        (['{"one": "a"}'], "text 1 has no column 'other'; its columns are one"),
        (['{"one": "a", "other": ["b"]}'], "text 1: 'other' must be text, found a list"),
        (['{"one": "a", "other": "b", "third": "c"}'], "text 1 has 'third', which is no column of the model"),
        (
            ["--input", TEXTS, "--text-column", "one"],
            "the model reads 2 columns (one, other), found --text-column one; give the option once for each column",
        ),
        (
            ["--input", TEXTS, "--text-column", "one", "--text-column", "two"],
            "rivals.csv has no column 'two'; its columns are one, other, label; choose the 2 columns to read",
        ),
    ],
)
def test_wrong_texts_end_in_one_line(paired, arguments, message):
    done = paired.run("python", "-m", "finetune.predict", *arguments, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_card_shows_how_to_give_a_pair_and_its_code_gives_the_same_answers(paired):
    card = paired.read("models/export/README.md")
    assert "Classifies `one`, `other` of a text" in card
    plain, bare = (block.split("```")[0] for block in card.split("```python\n")[1:3])
    folder = str(paired.folder / "models/export")
    done = paired.run("python", "-c", plain.replace("path/to/this/folder", folder))
    assert "score" in done.stdout
    texts = [["the film is great", "the film is dull"], ["awful plot", ""], ["a " * 40 + "dull", "great " * 50]]
    assert bare.count('texts = [["one", "other"]]') == 1
    bare = bare.replace('texts = [["one", "other"]]', f"texts = {texts}")
    found = paired.run("python", "-c", f"import os; os.chdir({folder!r})\n{bare}").stdout.splitlines()
    model = Classifier(folder)
    rows = model.probabilities(texts)
    expected = [f"{model.labels[row.argmax()]} {round(float(row.max()), 4)}" for row in rows]
    assert [" ".join(line.split(" ")[:2]) for line in found] == expected


def test_the_server_takes_an_object_with_the_columns_and_explains_the_words_of_both(paired):
    model = Classifier(paired.folder / "models/export")
    texts = [{"one": "the film is great", "other": "a dull plot"}, {"other": "great", "one": None}]
    with running(paired.folder / "models/export", "--max-characters", "60") as server:
        status, many = server.post("/predict", {"texts": texts})
        assert status == 200
        rows = model.probabilities([("the film is great", "a dull plot"), (None, "great")])
        found = [list(prediction["probabilities"].values()) for prediction in many["predictions"]]
        assert np.array(found) == pytest.approx(rows, abs=1e-6)
        status, answer = server.post("/explain", {"text": texts[0]})
        assert "".join(part["text"] for part in answer["parts"]) == "the film is great | a dull plot"
        pushes = {part["text"]: part["push"] for part in answer["parts"]}
        without = model.probabilities([("the film is great", "a plot")])[0]
        label = model.labels.index(answer["label"])
        assert pushes["dull"] == pytest.approx(answer["probability"] - without[label], abs=1e-5)
        for text, reason in [
            ("a film", "text: must be an object with the keys one, other, found a str"),
            ({"one": "a"}, "text.other: Field required"),
            ({"one": " ", "other": None}, "text: is empty; expected at least one word in one of its fields"),
            ({"one": "a" * 40, "other": "b" * 40}, "text: has 80 characters in all; expected at most 60"),
            ({"one": "a", "other": "b", "third": "c"}, "text.third: Extra inputs are not permitted"),
            ({"one": 1, "other": "b"}, "text.one: Input should be a valid string"),
        ]:
            assert server.post("/predict", {"text": text}) == (422, {"detail": reason})


def test_the_page_has_a_box_for_each_column(paired):
    with (
        chromium() as browser,
        running(paired.folder / "models/export") as server,
        Opened(browser, server.address) as opened,
    ):
        page = opened.page
        page.get_by_label("one", exact=True).fill("the film is great")
        page.get_by_label("other", exact=True).fill("a dull plot")
        with page.expect_response("**/explain"):
            page.get_by_role("button", name="Classify").click()
        page.locator("#result:visible").first.wait_for()
        assert page.inner_text("#verdict") == "one"
        assert page.inner_text("#words") == "the film is great | a dull plot"
        assert "28 of" in page.inner_text("#count")
        assert opened.problems == []


def test_sagemaker_takes_the_columns_as_an_object(paired):
    model = Classifier(paired.folder / "models/export")
    texts = input_fn(json.dumps({"inputs": {"other": "a dull plot", "one": "the film is great"}}), "application/json")
    assert predict_fn(texts, model)[0]["label"] == "one"
    for inputs, reason in [
        ("a film", "found a text"),
        ([{"one": "a"}], "found one"),
        ({"one": 1, "other": ""}, "no text"),
    ]:
        with pytest.raises(ValueError, match=reason):
            predict_fn(input_fn(json.dumps({"inputs": inputs}), "application/json"), model)


def test_the_profile_is_of_pairs(paired):
    profile = json.loads(paired.read(f"models/export/{PROFILE}"))
    rows = pq.read_table(paired.folder / "data/tokenized/validation.parquet").column("input_ids").to_pylist()
    assert profile["mean"]["length"] == pytest.approx(np.mean([len(row) - 3 for row in rows]), abs=1e-6)


def test_three_columns_are_joined_and_predicted_the_same_way(paired, tmp_path):
    project = paired.copy(tmp_path / "project")
    rows = [row | {"third": f"part {number % 7}"} for number, row in enumerate(rivals(120))]
    write_table(project.folder / TEXTS, rows)
    project.set_params({"data.text": ["one", "third", "other"], "train.epochs": 1})
    assert "columns one, third, other: read as one text, joined by ' | '" in project.dvc("repro").stdout
    model = Classifier(project.folder / "models/export", FP32)
    assert (model.columns, model.form.pair) == (["one", "third", "other"], None)
    whole = model.tokenizer.encode("a film | part 1 | ").ids
    assert model.encode([("a film", "part 1", None)]) == [whole]
    assert 'classify([" | ".join(["one", "third", "other"])])' in project.read("models/export/README.md")
