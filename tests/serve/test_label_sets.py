"""The server, its page and the SageMaker handler on a model for several labels per text."""

import json
import os
import subprocess
import sys

import pytest

from finetune.publish import sagemaker_handler
from finetune.runtime.classifier import Classifier
from tests.support.browser import Opened, chromium
from tests.support.random_export import NAMES, random_export
from tests.support.server import running
from tests.support.tiny import reviews

pytestmark = pytest.mark.xdist_group("serve")
THRESHOLDS = dict(zip(NAMES, (0.5, 0.6, 0.7), strict=True))
TEXTS = [row["text"] for row in reviews(40, seed=5)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """An exported folder with these thresholds."""
    return random_export(tmp_path_factory.mktemp("sets") / "export", thresholds=THRESHOLDS)


@pytest.fixture(scope="module")
def server(sets):
    with running(sets) as found:
        yield found


@pytest.fixture(scope="module")
def rows(sets):
    """Probabilities of the texts; among them are texts with no label, one, and more."""
    rows = Classifier(sets).probabilities(TEXTS)
    assert {0, 1, 2} <= {len(reached(row)) for row in rows}
    return rows


def reached(row) -> list[str]:
    return [name for name, share in zip(NAMES, row.tolist(), strict=True) if share >= THRESHOLDS[name]]


def with_labels(rows, count: int) -> int:
    """Position of the first text with so many labels."""
    return next(at for at, row in enumerate(rows) if len(reached(row)) == count)


def test_a_text_gets_the_labels_that_predict_gives_it(server, sets, rows):
    status, answer = server.post("/predict", {"texts": TEXTS})
    assert status == 200
    assert [one["labels"] for one in answer["predictions"]] == [reached(row) for row in rows]
    assert {frozenset(one) for one in answer["predictions"]} == {frozenset({"labels", "probabilities", "truncated"})}
    said = subprocess.run(
        [sys.executable, "-m", "finetune.predict", "--model", sets, *TEXTS[:5]],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    assert [line["labels"] for line in lines] == [one["labels"] for one in answer["predictions"][:5]]
    assert lines[0]["probabilities"] == pytest.approx(answer["predictions"][0]["probabilities"], abs=1e-6)
    for name in NAMES:
        count = sum(name in reached(row) for row in rows)
        assert server.metric(f'predicted_texts_total{{label="{name}"}}') == count
    assert server.metric("texts_without_label_total") == sum(not reached(row) for row in rows)


def test_words_push_the_label_that_is_named_or_the_one_farthest_above_its_threshold(server, rows):
    at = with_labels(rows, 2)
    _, answer = server.post("/explain", {"text": TEXTS[at]})
    above = {name: share - THRESHOLDS[name] for name, share in zip(NAMES, rows[at].tolist(), strict=True)}
    assert answer["explained"] == max(above, key=above.__getitem__)
    assert answer["thresholds"] == THRESHOLDS
    assert answer["labels"] == reached(rows[at])
    other = next(name for name in NAMES if name != answer["explained"])
    _, named = server.post("/explain", {"text": TEXTS[at], "label": other})
    assert named["explained"] == other
    word = next(part for part in named["parts"] if part["push"])
    left = TEXTS[at].replace(word["text"], "", 1)
    _, without = server.post("/predict", {"text": left})
    expected = named["probabilities"][other] - without["predictions"][0]["probabilities"][other]
    assert word["push"] == pytest.approx(expected, abs=1e-4)
    status, refused = server.post("/explain", {"text": "good", "label": "fine"})
    assert (status, refused["detail"]) == (422, f"label: must be one of {', '.join(NAMES)}, found 'fine'")


def test_the_document_names_the_types_for_several_labels(server):
    paths = json.loads(server.send("GET", "/openapi.json")[2])
    types = paths["components"]["schemas"]
    assert "Prediction" not in types
    assert list(types["SetPrediction"]["properties"]) == ["labels", "probabilities", "truncated"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_the_page_shows_every_label_with_its_threshold(server, rows, width, scheme):
    none, two = with_labels(rows, 0), with_labels(rows, 2)
    with chromium() as browser, Opened(browser, server.address, width, scheme) as opened:
        page = opened.page

        def classify(text: str):
            page.get_by_label("Your text").fill(text)
            with page.expect_response("**/explain"):
                page.get_by_role("button", name="Classify").click()
            page.locator("#result").wait_for()

        classify(TEXTS[none])
        page.get_by_text("No label reaches its threshold.").wait_for()
        assert page.inner_text("#verdict") == "none"
        classify(TEXTS[two])
        page.get_by_text("Each reaches its threshold.").wait_for()
        assert page.inner_text("#verdict") == ", ".join(reached(rows[two]))
        assert set(page.locator("#probabilities .first dt").all_inner_texts()) == set(reached(rows[two]))
        assert "of 70.0% needed" in page.inner_text("#probabilities")
        explained = page.get_by_label("Label").input_value()
        other = next(name for name in NAMES if name != explained)
        with page.expect_response("**/explain"):
            page.get_by_label("Label").select_option(other)
        page.locator(".of", has_text=other).first.wait_for()
        assert page.get_by_label("Label").input_value() == other
        assert not opened.is_too_wide()
        assert opened.problems == []


def test_sagemaker_answers_with_the_same_labels(sets, rows):
    model = sagemaker_handler.model_fn(str(sets))
    answers = sagemaker_handler.predict_fn(TEXTS, model)
    assert [answer["labels"] for answer in answers] == [reached(row) for row in rows]
    assert answers[0]["probabilities"] == pytest.approx(dict(zip(NAMES, rows[0].tolist(), strict=True)), abs=1e-6)
    table, kind = sagemaker_handler.output_fn(answers, "text/csv")
    assert kind == "text/csv"
    assert len(table.splitlines()) == len(TEXTS)
