"""The server, its page and the SageMaker handler on a model for several labels per text."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from pydantic import ValidationError

from finetune.export.runtime_files import write_profile
from finetune.publish import sagemaker_handler
from finetune.runtime.classifier import Classifier
from finetune.runtime.drift import PROFILE
from finetune.serve.schemas import problem_line, requests
from tests.serve.test_openapi import assert_as_documented
from tests.support.browser import Opened, chromium
from tests.support.random_export import NAMES, random_export
from tests.support.server import command, running
from tests.support.tiny import reviews

pytestmark = pytest.mark.xdist_group("serve")
THRESHOLDS = dict(zip(NAMES, (0.5, 0.6, 0.7), strict=True))
TEXTS = [row["text"] for row in reviews(40, seed=5)]
VALIDATION = [row["text"] for row in reviews(1000, seed=2)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """An exported folder with these thresholds."""
    folder = random_export(tmp_path_factory.mktemp("sets") / "export", thresholds=THRESHOLDS)
    write_profile(folder, VALIDATION)
    return folder


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
    assert server.metric("answered_texts_total") == len(TEXTS)


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
    _, spaced = server.post("/explain", {"text": TEXTS[at], "label": f" {other} "})  # names as in the data
    assert spaced["explained"] == other


def test_the_document_names_the_types_for_several_labels(server):
    paths = json.loads(server.send("GET", "/openapi.json")[2])
    types = paths["components"]["schemas"]
    assert "Prediction" not in types
    assert list(types["SetPrediction"]["properties"]) == ["labels", "probabilities", "truncated"]
    asked = types["OneTextOneLabel"]
    assert asked["required"] == ["text"]
    assert asked["properties"]["label"]["anyOf"] == [{"type": "string", "enum": NAMES}, {"type": "null"}]


def test_a_message_about_an_unknown_label_names_ten():
    body = requests(8, 100, labels=[f"label {number}" for number in range(1000)]).one
    with pytest.raises(ValidationError) as raised:
        body(text="good", label="x")
    (line,) = map(problem_line, raised.value.errors())
    assert line.endswith("label 8, label 9 and 990 more, found 'x'")


@pytest.mark.parametrize(
    ("wanted", "drifted"),
    [
        (lambda _: True, set()),
        (lambda row: len(reached(row)) == 0, {"label", "labels"}),
        (lambda row: reached(row)[:1] != NAMES[:1], {"label"}),
    ],
)
def test_other_labels_are_drift_and_texts_of_the_same_kind_are_none(sets, wanted, drifted):
    texts = [row["text"] for row in reviews(2000, seed=9)]
    rows = Classifier(sets).probabilities(texts)
    texts = [text for text, row in zip(texts, rows, strict=True) if wanted(row)][:500]
    assert len(texts) >= 200
    with running(sets, "--max-texts", "500") as server:
        assert server.post("/predict", {"texts": texts})[0] == 200
        drift = server.get("/health")["drift"]
    assert drift["features"].keys() == {"label", "labels", "confidence", "length", "unknown"}
    assert {name for name, one in drift["features"].items() if one["drifted"]} >= drifted
    assert drift["verdict"] == ("drift" if drifted else "none")


def test_a_profile_without_the_number_of_labels_is_refused_in_one_line(sets, tmp_path):
    """As a profile was that counted the most probable label of every text."""
    folder = shutil.copytree(sets, tmp_path / "export")
    profile = json.loads((folder / PROFILE).read_text())
    del profile["features"]["labels"]
    (folder / PROFILE).write_text(json.dumps(profile))
    done = subprocess.run(**command("--folder", str(folder), "--port", "0"), timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is not a reference profile (ValueError: without the feature labels); export the model again" in done.stderr


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "light"), (375, "dark")])
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
        assert page.inner_text("#verdict") == "No label reaches its threshold."
        below = {name: THRESHOLDS[name] - share for name, share in zip(NAMES, rows[none].tolist(), strict=True)}
        closest = min(below, key=below.__getitem__)
        share = 100 * rows[none][NAMES.index(closest)]
        assert page.inner_text("#confidence") == (
            f"The closest is {closest}, with a calibrated probability of {share:.1f}%; "
            f"it needs {100 * THRESHOLDS[closest]:.1f}%."
        )
        assert page.get_by_label("Label to explain").input_value() == closest
        assert page.locator("#probabilities .first").count() == 0
        assert not opened.is_too_wide()
        classify(TEXTS[two])
        page.get_by_text("2 of 3 labels reach their thresholds.").wait_for()
        assert page.locator("#verdict .chip").all_text_contents() == reached(rows[two])
        assert page.locator("#verdict").text_content() == ", ".join(reached(rows[two]))
        assert page.locator("[aria-live] #verdict").count() == 1
        assert set(page.locator("#probabilities .first dt").all_inner_texts()) == set(reached(rows[two]))
        bars = []
        for line in page.locator("#probabilities > div").all():
            name = line.locator("dt").inner_text()
            word = "reaches" if name in reached(rows[two]) else "below"
            assert line.locator(".note").inner_text() == f"{word} {100 * THRESHOLDS[name]:.1f}%"
            bar, mark = line.locator(".bar").bounding_box(), line.locator(".bar i").bounding_box()
            middle = mark["x"] + mark["width"] / 2 - bar["x"]
            assert middle / bar["width"] == pytest.approx(THRESHOLDS[name], abs=0.01)
            assert mark["height"] > bar["height"]  # also visible on the colour of the bar
            bars.append((bar["x"], bar["width"]))
        assert len(set(bars)) == 1
        explained = page.get_by_label("Label").input_value()
        other = next(name for name in NAMES if name != explained)
        page.evaluate("window.chip = document.querySelector('#verdict .chip')")
        with page.expect_response("**/explain"):
            page.get_by_label("Label").select_option(other)
        page.locator(".of", has_text=other).first.wait_for()
        assert page.get_by_label("Label").input_value() == other
        assert page.evaluate("chip.isConnected")  # not written again, which a screen reader would read again
        assert not opened.is_too_wide()
        assert opened.problems == []


def test_sagemaker_answers_with_the_same_labels(sets, rows):
    model = sagemaker_handler.model_fn(str(sets))
    answers = sagemaker_handler.predict_fn(TEXTS, model)
    assert [answer["labels"] for answer in answers] == [reached(row) for row in rows]
    assert answers[0]["probabilities"] == pytest.approx(dict(zip(NAMES, rows[0].tolist(), strict=True)), abs=1e-6)
    table, kind = sagemaker_handler.output_fn(answers, "text/csv")
    assert kind == "text/csv"
    lines = list(csv.reader(io.StringIO(table)))
    assert [json.loads(line[0]) for line in lines] == [answer["labels"] for answer in answers]
    assert [list(map(float, line[1:])) for line in lines] == [list(one["probabilities"].values()) for one in answers]


def test_every_generated_request_is_answered_as_documented(sets, tmp_path):
    assert_as_documented(sets, tmp_path)


def test_another_label_is_explained_by_keyboard(server, rows):
    text = TEXTS[with_labels(rows, 2)]
    with chromium() as browser, Opened(browser, server.address) as opened:
        page = opened.page
        page.get_by_label("Your text").fill(text)
        page.keyboard.press("Control+Enter")
        page.locator("#result").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "explained"
        before = page.get_by_label("Label to explain").input_value()
        with page.expect_response("**/explain") as response:
            page.keyboard.press("m" if before != "mixed" else "g")
        named = response.value.request.post_data_json
        assert named == {"text": text, "label": "mixed" if before != "mixed" else "good, or so"}
        page.locator(".of", has_text=named["label"]).first.wait_for()
        assert page.evaluate("document.activeElement.id") == "explained"
        assert opened.problems == []
