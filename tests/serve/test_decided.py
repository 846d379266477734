"""The server and its page on a model whose folder holds a decision."""

import json
import shutil

import pytest

from finetune.runtime.classifier import Classifier
from finetune.scoring.decisions import DECISION
from tests.support.browser import Opened, chromium
from tests.support.server import running
from tests.support.tiny import reviews

pytestmark = pytest.mark.xdist_group("serve")
TEXTS = [row["text"] for row in reviews(40, seed=5)] + ["the film", "a great film with a dull plot"]


def decided(learnt, folder, rule: dict):
    """A copy of the exported folder with this rule."""
    shutil.copytree(learnt, folder)
    (folder / DECISION).write_text(json.dumps(rule))
    return folder


@pytest.fixture(scope="module")
def least(learnt, tmp_path_factory):
    folder = decided(learnt, tmp_path_factory.mktemp("least") / "export", {"min_probability": 0.8})
    with running(folder) as server:
        yield server


@pytest.fixture(scope="module")
def threshold(learnt, tmp_path_factory):
    rule = {"threshold": {"label": "good", "probability": 0.1}}
    with running(decided(learnt, tmp_path_factory.mktemp("threshold") / "export", rule)) as server:
        yield server


def test_an_unsure_text_has_no_label_and_is_counted_apart(least, learnt):
    rows = Classifier(learnt).probabilities(TEXTS)
    _, answer = least.post("/predict", {"texts": TEXTS})
    found = answer["predictions"]
    assert [one["unsure"] for one in found] == [bool(row.max() < 0.8) for row in rows]
    assert {one["label"] for one in found if one["unsure"]} == {None}
    assert all(one["probability"] == max(one["probabilities"].values()) for one in found)
    unsure = sum(one["unsure"] for one in found)
    assert 0 < unsure < len(TEXTS)
    assert least.metric("unsure_texts_total") == unsure
    answered = [least.metric(f'predicted_texts_total{{label="{label}"}}') for label in ("bad", "good")]
    assert sum(answered) == len(TEXTS) - unsure


def test_words_push_the_most_probable_label_of_an_unsure_text(least):
    text = "the film is a dull story with a great and moving plot"
    _, answer = least.post("/explain", {"text": text})
    likeliest = max(answer["probabilities"], key=answer["probabilities"].__getitem__)
    assert answer["probability"] == answer["probabilities"][likeliest]
    push = {part["text"]: part["push"] for part in answer["parts"] if part["push"]}
    assert (push["dull"] > 0) == (likeliest == "bad")
    assert (push["great"] > 0) == (likeliest == "good")


def test_words_push_the_answer_of_a_threshold_also_where_it_is_less_probable(threshold, learnt):
    rows = Classifier(learnt).probabilities(TEXTS)
    text, row = next((text, row) for text, row in zip(TEXTS, rows, strict=True) if 0.1 <= row[1] < 0.45)
    _, answer = threshold.post("/explain", {"text": text})
    assert (answer["label"], answer["unsure"]) == ("good", False)
    assert answer["probability"] == pytest.approx(row[1], abs=1e-6)
    push = {part["text"]: part["push"] for part in answer["parts"] if part["push"]}
    bad = [word for word in push if word in ("dull", "boring", "awful", "stale", "clumsy", "tedious")]
    assert bad
    assert all(push[word] < 0 for word in bad)


def test_the_page_says_when_there_is_no_answer(least, threshold, learnt):
    assert "where no label has a probability of at least 0.8000." in least.send("GET", "/")[2].decode()
    assert "The answer is good from a probability of 0.1000 on" in threshold.send("GET", "/")[2].decode()
    rows = Classifier(learnt).probabilities(TEXTS)
    text, row = next((text, row) for text, row in zip(TEXTS, rows, strict=True) if row.max() < 0.8)
    with chromium() as browser, Opened(browser, least.address) as opened:
        opened.page.get_by_label("Your text").fill(text)
        opened.page.get_by_role("button", name="Classify").click()
        opened.page.locator("#result").wait_for()
        assert opened.page.inner_text("#verdict") == "unsure"
        likeliest = ["bad", "good"][row.argmax()]
        shown = opened.page.inner_text("#confidence")
        assert shown.startswith(f"The most probable class is {likeliest}, with a calibrated probability of")
        assert opened.page.locator("#probabilities .first").inner_text().split()[0] == likeliest
        assert likeliest in opened.page.locator(".of").first.inner_text()
        assert opened.problems == []
