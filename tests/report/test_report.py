"""The report and DVC's plots as a reader sees them: in a real browser, with the network off."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from finetune import plots_page
from finetune.base.errors import UserError
from finetune.base.files import write_csv, write_json
from finetune.report import __main__ as report_command
from finetune.report import row_browser
from finetune.results.experiments import settings_digest
from finetune.results.folds import folds_digest
from tests.conftest import ROOT
from tests.support.browser import Opened, chromium
from tests.support.project import PARAMS

# One process has one browser for all of them.
pytestmark = pytest.mark.xdist_group("report")

NAMES = ["负面", "正面 <b>"]
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> \"quoted\" & 'quoted'"
TEMPERATURE = 1.5
# Row, true label, logits; the model is right on 0, 1, 2 and wrong on 3, 4, 5, with 5 the surest: 1 / (1 + e^(-3 / 1.5)) = 0.881.
ROWS = [(0, 0, (2, 0)), (1, 1, (0, 2)), (2, 1, (0, 1)), (3, 0, (0, 0.5)), (4, 1, (1, 0)), (5, 0, (0, 3))]
TEXTS = ["差", "好", "很好", "这部电影不太好看", "a rare film with " + "words " * 200, HOSTILE]


def block(accuracy: float, rows: int = 6, key: str = "accuracy") -> dict:
    """An entry with its interval, 0.1 to each side."""
    return {key: accuracy, "rows": rows, "interval": {"low": max(0, accuracy - 0.1), "high": min(1, accuracy + 0.1)}}


def scores(accuracy: float) -> dict:
    """A score block."""
    of_label = {"accuracy": accuracy, "precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 3}
    return block(accuracy) | {"precision": 0.5, "recall": 0.5, "f1": 0.5, "per_class": dict.fromkeys(NAMES, of_label)}


def log_loss() -> float:
    """Mean of log(1 + e^((other - true) / temperature)) over the rows."""
    margins = [logits[1 - label] - logits[label] for _, label, logits in ROWS]
    return float(np.mean(np.log1p(np.exp(np.array(margins) / TEMPERATURE))))


def write_metrics(folder):
    """Metrics and plots as Git has them, written by hand, everything there is."""
    metrics, plots = folder / "metrics", folder / "metrics/plots"
    test = scores(0.5) | {"gain": {"value": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01}, "roc_auc": 0.7}
    test |= {"log_loss": log_loss(), "brier": 0.3, "ece": 0.2, "intervals": {"ece": {"low": 0.1, "high": 0.3}}}
    before = {"log_loss": 0.9, "brier": 0.4, "ece": 0.251}
    test |= {"calibration": {"temperature": TEMPERATURE, "uncalibrated": before}}
    test |= {"selective": {f"keep_{kept}": block(1 - kept / 200) for kept in (90, 80, 50)}}
    write_json(metrics / "test.json", test)
    baselines = ("majority", "tfidf", "embedding", "untrained", "zero_shot", "few_shot")
    write_json(metrics / "baseline.json", {name: scores(0.3) for name in baselines} | {"best": "tfidf"})
    weights = {"total": 20, "trained": 10}
    train = {"best_epoch": 1, "epochs": 2, "steps": 4, "parameters": weights, "precision": "fp32"}
    write_json(metrics / "train.json", train)
    data = {"rows": {"train": 9, "validation": 3, "test": 6}, "labels": dict.fromkeys(NAMES, 9)}
    data |= {"dropped": {"empty": 0, "duplicate": 2}, "tokens": {"mean": 5.0, "p95": 9.0}, "truncated": 0.25}
    write_json(metrics / "data.json", data)
    slices = {"length": {"short": block(0.9), "long": block(0.4)}, "label": {name: block(0.5, 3) for name in NAMES}}
    write_json(metrics / "slices.json", slices | {"worst": {"slice": "length: long"} | block(0.4)})
    rates = {"typos": block(0.25, 4, "failure_rate"), "negation": block(0.5, 2, "failure_rate")}
    write_json(metrics / "behaviour.json", rates)
    pairs = {"train_validation": 0, "train_test": 1, "validation_test": 0}
    write_json(metrics / "checks.json", {"near_duplicates": pairs, "suspicious_labels": {"train": 1, "test": 0}})
    evaluate, baseline = plots / "evaluate", plots / "baseline_eval"
    write_csv(
        evaluate / "confusion.csv",
        ["actual", "predicted"],
        [[NAMES[0], NAMES[0]]] + [[NAMES[0], NAMES[1]]] * 2 + [[NAMES[1], NAMES[1]]] * 2 + [[NAMES[1], NAMES[0]]],
    )
    for where, name in ((evaluate, "fine-tuned"), (baseline, "baseline")):
        write_csv(where / "roc.csv", ["false_positive_rate", name], [[0, 0.2], [0.5, 0.8], [1, 1]])
        write_csv(where / "precision_recall.csv", ["recall", name], [[0, 1], [1, 0.5]])
    write_csv(
        evaluate / "reliability.csv", ["confidence", "accuracy", "calibrated"], [[0.6, 0.5, 0.6], [0.9, 0.7, 0.9]]
    )
    write_csv(evaluate / "reliability_scaled.csv", ["confidence", "accuracy"], [[0.6, 0.6], [0.8, 0.7]])
    write_csv(evaluate / "confidence.csv", ["confidence", "right", "wrong"], [[0.6, 1, 2], [0.9, 2, 1]])
    write_csv(
        evaluate / "selective.csv", ["coverage", "accuracy", "low", "high"], [[0.5, 0.8, 0.6, 0.9], [1, 0.5, 0.3, 0.7]]
    )
    groups = [["group", "<i>film</i>", 3, 0.2, 0.1, 0.4], ["length", "long", 6, 0.4, 0.3, 0.5]]
    write_csv(evaluate / "slices.csv", ["kind", "slice", "rows", "accuracy", "low", "high"], groups)
    curves = plots / "train/plots/metrics"
    for name, column in (
        ("train/loss", "loss"),
        ("validation/loss", "loss"),
        ("validation/accuracy", "accuracy"),
        ("validation/f1", "f1"),
    ):
        (curves / name).parent.mkdir(parents=True, exist_ok=True)
        (curves / f"{name}.tsv").write_text(f"step\t{column}\n2\t0.6\n4\t0.5\n")
    digest = settings_digest(PARAMS)
    of_seeds = {"mean": 0.5, "spread": 0.01, "interval": {"low": 0.48, "high": 0.52}, "values": [0.49, 0.51]}
    write_json(metrics / "seeds.json", {"settings": digest, "rows": 6, "seeds": [1, 2], "accuracy": of_seeds})
    ours = scores(0.5) | {"rows": 30, "f1": 0.5, "gain": {"value": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01}}
    mean = {name: ours[name] for name in ("accuracy", "precision", "recall", "f1")}
    ours |= {"mean": mean, "spread": dict.fromkeys(mean, 0.02), "values": {"accuracy": [0.4, 0.6]}}
    ours |= {"intervals": {"accuracy": ours["interval"]}, "baselines": {name: scores(0.3) for name in baselines}}
    ours |= {"folds": 2, "fold_rows": [14, 16], "groups": None, "best": "tfidf", "skipped": {}}
    write_json(metrics / "folds.json", {"settings": folds_digest(PARAMS)} | ours)
    write_json(metrics / "search.json", search_results())
    points = [[size, name, 0.5, 0.4, 0.6, digest] for size in (10, 20) for name in ("fine-tuned", "best baseline")]
    write_csv(metrics / "learning_curve.csv", ["rows", "classifier", "accuracy", "low", "high", "settings"], points)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"export": PARAMS["export"]}))


def search_results() -> dict:
    """A search over two parameters: three complete trials, the second the best, and one that was ended early."""
    trials = [
        {"trial": number, "state": "pruned" if value is None else "complete", "value": value}
        | {"settings": {"train.lr": lr, "train.dropout": None}, "experiment": f"search-{number}"}
        for number, (value, lr) in enumerate([(0.5, 3e-3), (0.75, 1e-4), (None, 1e-2), (0.625, 2e-3)])
    ]
    without = settings_digest(PARAMS, without=("train.lr", "train.dropout"))
    shares = {"train.lr": 0.75, "train.dropout": 0.25}
    words = ["No setting beat the defaults by more than the noise between seeds.", HOSTILE]
    found = {"settings": without, "metric": "validation.accuracy", "trials": trials, "importances": shares}
    return found | {"words": words}


def write_data(folder):
    """What is in DVC's cache: predictions, texts, lists."""
    data = folder / "data"
    for name in ("predictions", "tokenized"):
        (data / name).mkdir(parents=True)
    ids, labels, logits = zip(*ROWS, strict=True)
    columns = {"row": ids, "label": labels, "predicted": [int(one[1] > one[0]) for one in logits], "logits": logits}
    pq.write_table(
        pa.table({name: list(values) for name, values in columns.items()}), data / "predictions/test.parquet"
    )
    pq.write_table(pa.table({"row": list(ids), "text": TEXTS}), data / "tokenized/test.parquet")
    write_json(data / "tokenized/source.json", {"data": {"uri": "data/local/评论.csv"}, "model": {"uri": "hf://x/y"}})
    failures = [["typos", 1, NAMES[1], NAMES[0], f"good {HOSTILE}", f"godo {HOSTILE}"]]
    write_csv(
        data / "predictions/behaviour.csv", ["edit", "row", "label_before", "label_after", "before", "after"], failures
    )
    header = ["split", "row", "other_split", "other_row", "similarity", "text", "other_text"]
    write_csv(data / "predictions/near_duplicates.csv", header, [["train", 7, "test", 2, 0.9, HOSTILE, "很好"]])
    header = ["split", "row", "label", "suggested", "confidence", "text"]
    write_csv(data / "predictions/suspicious_labels.csv", header, [["train", 8, *NAMES, 0.97, HOSTILE]])


def written(folder, monkeypatch, *arguments: str):
    """The report of a folder, as `python -m finetune.report` writes it."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["report", *arguments])
    report_command.main()
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with everything that there can be in it."""
    folder = tmp_path_factory.mktemp("report")
    write_metrics(folder)
    write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        return written(folder, patch)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_it_opens_without_a_network_draws_every_chart_and_never_scrolls_sideways(browser, report, width, scheme):
    with Opened(browser, report, width, scheme) as opened:
        charts = opened.charts()
        assert len(charts) == 13
        assert all(charts)
        for part in opened.page.locator("details").all():
            part.locator("summary").click()
        assert not opened.is_too_wide()
        assert opened.page.locator(".missing").all_inner_texts() == []
        assert opened.problems == []


def test_it_tells_the_verdict_the_numbers_and_where_they_come_from(browser, report):
    with Opened(browser, report) as opened:
        shown = opened.page.inner_text("main")
        assert opened.page.inner_text("h1").startswith("Fine-tuning helps: +20.0 points over tfidf on 6 test rows")
        assert [cell.split("\n")[0] for cell in opened.page.locator(".confusion tbody td").all_inner_texts()] == [
            "1",
            "2",
            "1",
            "2",
        ]
        assert "The worst slice is length: long: 40.0% on 6 rows" in shown
        assert "partly low by chance" in shown
        assert "temperature of 1.50" in shown
        calibration = [row.split() for row in shown.splitlines() if row.startswith("Calibration error (ECE)")]
        assert calibration[0][3:] == ["0.200"]  # as it ships
        assert "0.251" in shown  # as trained
        assert "data/local/评论.csv" in shown
        assert "2 seeds" in shown
        assert "In 2 folds, 30 rows were tested once each, by a model that had not seen them: 50.0% right" in shown
        assert "Fine-tuning helps: +20.0 points over tfidf (+10.0 to +30.0, McNemar p = 0.01)" in shown
        drawn = opened.page.locator("#slices figure title").all_text_contents()
        assert "length: long: 40.0%, 95% interval 30.0% to 50.0%" in drawn


def test_a_search_is_shown_with_its_best_trials_first_and_its_proposal(browser, report):
    with Opened(browser, report) as opened:
        shown = opened.page.inner_text("#training")
        assert "No setting beat the defaults by more than the noise between seeds." in shown
        assert "complete: 3, pruned: 1, failed: 0" in shown
        rows = opened.page.locator("[aria-label='The best trials of the search'] tbody tr").all_inner_texts()
        assert [row.split() for row in rows] == [
            ["1", "0.7500", "0.0001", "null", "search-1"],
            ["3", "0.6250", "0.002", "null", "search-3"],
            ["0", "0.5000", "0.003", "null", "search-0"],
        ]
        shares = opened.page.locator("[aria-label='Importance of each searched parameter'] tbody tr").all_inner_texts()
        assert [row.split() for row in shares] == [["train.lr", "75.0%"], ["train.dropout", "25.0%"]]


def test_texts_and_labels_from_the_data_are_shown_and_never_run(browser, report):
    with Opened(browser, report) as opened:
        page = opened.page
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main b").count() == 0
        assert page.locator("#mistakes tbody td.text").first.inner_text() == HOSTILE
        page.locator("#data summary").first.click()
        assert HOSTILE in page.inner_text("#data")
        assert page.locator("#behaviour .examples").inner_text().count(HOSTILE) == 2
        assert page.locator("#behaviour del").all_inner_texts() == ["good"]
        assert page.locator("#behaviour ins").all_inner_texts() == ["godo"]
        assert page.locator(".confusion tbody th").all_inner_texts() == NAMES


def test_mistakes_are_searched_filtered_and_sorted(browser, report):
    with Opened(browser, report) as opened:
        page = opened.page
        form, shown = page.locator("#mistakes form"), page.locator("#mistakes tbody tr")

        def rows() -> list[int]:
            return [int(row.split("\t")[0]) for row in shown.all_inner_texts()]

        def count() -> str:
            return page.inner_text("#mistakes .count")

        # Confidences: row 5 0.881, row 4 0.661, row 3 0.583.
        assert (rows(), count()) == ([5, 4, 3], "3 rows")
        form.get_by_label("Search in the texts").fill("电影 不太")
        assert (rows(), count()) == ([3], "1 of 3 rows")
        assert page.locator("#mistakes mark").all_inner_texts() == ["电影", "不太"]
        form.get_by_label("Search in the texts").fill(".")
        assert rows() == [5]
        assert page.locator("#mistakes mark").all_inner_texts() == [".", "."]  # a letter like others, no pattern
        page.get_by_role("button", name="Clear filters").click()
        shown.nth(2).wait_for()
        form.get_by_label("True label").select_option(NAMES[0])
        assert rows() == [5, 3]
        form.get_by_label("True label").select_option("any")
        form.get_by_label("Predicted").select_option(NAMES[0])
        assert rows() == [4]
        form.get_by_label("Predicted").select_option("any")
        form.get_by_label("Confidence at most").fill("70")
        form.get_by_label("Confidence at least").fill("60")
        assert rows() == [4]
        page.get_by_role("button", name="Clear filters").click()
        shown.nth(2).wait_for()
        page.get_by_role("button", name="Confidence").click()
        assert rows() == [3, 4, 5]
        assert page.locator("#mistakes th[aria-sort=ascending]").inner_text().startswith("Confidence")
        page.get_by_role("button", name="Row", exact=True).click()
        page.get_by_role("button", name="Row", exact=True).click()
        assert rows() == [5, 4, 3]
        assert "1 long texts are cut" in page.inner_text("#mistakes")
        assert opened.problems == []


def test_the_mistakes_are_reached_by_keyboard_alone(browser, report):
    with Opened(browser, report) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the mistakes"
        assert page.locator(".skip:focus").bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == "search"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.type("电影")
        assert page.locator("#mistakes tbody tr").count() == 1


def colours(opened) -> dict[str, str]:
    """Colours of the page, a text and a line of a chart."""
    return opened.page.evaluate(
        """() => ({page: getComputedStyle(document.body).backgroundColor,
            text: getComputedStyle(document.querySelector("figure > svg text")).fill,
            line: getComputedStyle(document.querySelector("#labels figure > svg .mark-line path[role]")).stroke})"""
    )


def test_dark_mode_changes_the_page_and_its_charts(browser, report):
    with Opened(browser, report) as light, Opened(browser, report, scheme="dark") as dark:
        there, here = colours(light), colours(dark)
    assert all(there[name] != here[name] for name in there)
    assert here["page"] == "rgb(19, 20, 22)"


def luminance(colour: str) -> float:
    """Relative luminance; WCAG 2.2. #ffffff is 1, #000000 is 0."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1])
def test_texts_and_lines_have_the_contrast_of_wcag_aa(mode):
    """4.5 to 1 for texts, 3 to 1 for what is drawn; black on white is (1 + 0.05) / (0 + 0.05) = 21."""
    assert (luminance("#ffffff") + 0.05) / (luminance("#000000") + 0.05) == pytest.approx(21)
    style = (ROOT / "finetune/html/report.css").read_text()
    found = dict(re.findall(r"--(\w+): (#\w{6});", style.split(":root {")[mode + 1].split("}")[0]))
    for ground in (found["paper"], found["card"]):
        for name, least in {
            "ink": 4.5,
            "muted": 4.5,
            "ours": 4.5,
            "good": 4.5,
            "bad": 4.5,
            "theirs": 3,
            "third": 3,
        }.items():
            high, low = sorted((luminance(found[name]) + 0.05, luminance(ground) + 0.05), reverse=True)
            assert high / low >= least, name


def test_what_is_missing_is_shown_in_a_line_each(browser, tmp_path, monkeypatch):
    """A fresh clone of a project that was last run before these files were there."""
    write_metrics(tmp_path)
    for name in ("slices", "behaviour", "checks"):
        (tmp_path / f"metrics/{name}.json").unlink()
    write_json(tmp_path / "metrics/seeds.json", {"settings": "other"})
    folds = json.loads((tmp_path / "metrics/folds.json").read_text())
    write_json(tmp_path / "metrics/folds.json", folds | {"settings": "other"})
    write_json(tmp_path / "metrics/search.json", search_results() | {"settings": "other"})
    curve = tmp_path / "metrics/learning_curve.csv"
    curve.write_text(curve.read_text().replace(settings_digest(PARAMS), "other"))
    with Opened(browser, written(tmp_path, monkeypatch), 360) as opened:
        shown = "\n".join(opened.page.locator(".missing").all_inner_texts())
        assert opened.problems == []
        assert not opened.is_too_wide()
    assert [part for part in ("slices.json", "behaviour.json", "checks.json", "source.json") if part not in shown] == []
    assert "Mistakes cannot be shown: there is no dvc.lock" in shown
    assert "metrics/seeds.json belongs to other settings; `make seeds` trains these." in shown
    assert "metrics/folds.json belongs to other settings; `make folds` runs these." in shown
    assert "metrics/learning_curve.csv belongs to other settings" in shown
    assert "metrics/search.json belongs to other settings; `make search` starts from these." in shown


def test_many_labels_have_a_small_matrix_and_a_list_of_their_mistakes(browser, tmp_path, monkeypatch):
    """Label 0 has four rows, two of them taken for label 1; the row of label 6 is taken for label 2."""
    write_metrics(tmp_path)
    names = [f"label {number} with a long name" for number in range(7)]
    test = json.loads((tmp_path / "metrics/test.json").read_text())
    test["per_class"] = dict.fromkeys(names, test["per_class"][NAMES[0]])
    write_json(tmp_path / "metrics/test.json", test)
    pairs = [(0, 1), (0, 1), (0, 0), (0, 0), (6, 2)]
    rows = [[names[actual], names[predicted]] for actual, predicted in pairs]
    write_csv(tmp_path / "metrics/plots/evaluate/confusion.csv", ["actual", "predicted"], rows)
    with Opened(browser, written(tmp_path, monkeypatch), 1280) as opened:
        matrix = opened.page.locator(".confusion.many")
        assert matrix.locator("tbody tr").first.inner_text().split("\t")[1:3] == ["2", "2"]
        box = matrix.bounding_box()
        assert box["height"] < 300
        confused = opened.page.get_by_role("region", name="Most frequent confusions")
        cells = [re.split(r"[\n\t]+", row) for row in confused.locator("tbody tr").all_inner_texts()]
        assert cells == [
            [names[0], f"taken for {names[1]}", "2", "50%"],
            [names[6], f"taken for {names[2]}", "1", "100%"],
        ]
        assert not opened.is_too_wide()
        assert opened.problems == []


def test_a_model_without_a_chosen_name_has_the_one_of_its_card(tmp_path, monkeypatch):
    write_metrics(tmp_path)
    params = PARAMS | {"export": PARAMS["export"] | {"name": None}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    page = written(tmp_path, monkeypatch).read_text(encoding="utf-8")
    assert "Report on <strong>reviews-classifier</strong>" in page


def test_without_metrics_it_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    with pytest.raises(UserError, match="there is no metrics/test.json at workspace; run `make repro`"):
        written(tmp_path, monkeypatch)


def test_more_mistakes_than_a_page_holds_are_counted(monkeypatch):
    """Two of three mistakes are kept, those the model was surest of: rows 5 and 4."""
    monkeypatch.setattr(row_browser, "ROWS", 2)
    ids, labels, logits = zip(*ROWS, strict=True)
    columns = {"row": ids, "label": labels, "predicted": [int(one[1] > one[0]) for one in logits], "logits": logits}
    table = pa.table({name: list(values) for name, values in columns.items()})
    found = row_browser.wrong_rows(table, dict(zip(ids, TEXTS, strict=True)), NAMES)
    assert [row[0] for row in found["rows"]] == [5, 4]
    assert (found["left_out"], found["cut"]) == (1, 1)
    assert found["rows"][0][3] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-4)
    assert len(found["rows"][1][-1]) == row_browser.CHARACTERS


@pytest.fixture(scope="module")
def changed(built, tmp_path_factory):
    """The built project with another learning rate, one threshold more and other predictions, all made by hand."""
    project = built.copy(tmp_path_factory.mktemp("changed") / "project")
    project.set_param("train.lr", 0.001)
    project.write_params(project.params() | {"gate": project.params()["gate"] | {"test.f1": {"min": 0.5}}})
    path = project.folder / "data/predictions/test.parquet"
    table = pq.read_table(path)
    logits = np.array(table["logits"].to_pylist(), float)
    labels = table["label"].to_numpy()
    # Rows 0 and 1 of the file turn wrong where they were right, and right where they were wrong.
    logits[:2] = logits[:2, ::-1]
    path.unlink()  # it may be a link into DVC's cache
    columns = {"row": table["row"], "label": table["label"], "predicted": logits.argmax(1)}
    pq.write_table(pa.table(columns | {"logits": pa.array(list(logits))}), path)
    metrics = json.loads(project.read("metrics/test.json"))
    detail = json.loads(project.read("metrics/detail/evaluate/test.json"))
    logits = logits / detail["calibration"]["temperature"]
    shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    metrics["log_loss"] = float(-shares[np.arange(len(labels)), labels].mean())
    write_json(project.folder / "metrics/test.json", metrics)
    return project


def test_two_revisions_stand_side_by_side(browser, changed, monkeypatch):
    with Opened(browser, written(changed.folder, monkeypatch, "--against", "main"), 360) as opened:
        page = opened.page
        settings = page.locator("#against h3 + .scroll tbody tr").all_inner_texts()
        assert settings == ["train.lr\t0.003\t0.001", "gate.test.f1.min\t-\t0.5"]
        assert page.locator("#against tbody").first.locator("tr").count() == 8
        assert "paired on" in page.inner_text("#against")
        assert page.locator("#against .rows tbody tr").count() == 2
        assert all(opened.charts())
        assert not opened.is_too_wide()
        assert opened.problems == []


def test_rows_of_a_revision_that_cannot_be_had_are_shown_in_a_line(changed, tmp_path, monkeypatch):
    clone = changed.copy(tmp_path / "clone")
    shutil.rmtree(clone.folder / ".dvc/cache")
    page = written(clone.folder, monkeypatch, "--against", "main").read_text(encoding="utf-8")
    assert (
        "Rows cannot be compared: neither DVC&#39;s cache nor a remote has data/predictions/test.parquet of main"
        in page
    )
    assert "intervals in Git" in page


def test_an_unknown_revision_ends_in_one_line(changed, monkeypatch):
    with pytest.raises(UserError, match="^Git knows no revision 'nowhere'"):
        written(changed.folder, monkeypatch, "--against", "nowhere")


@pytest.mark.parametrize("command", [["show"], ["diff", "main"]])
def test_dvc_plots_open_without_a_network(browser, changed, command):
    if not (changed.folder / ".dvc/plots.html").is_file():
        changed.run("python", "-m", "finetune.plots_page")
        assert changed.run("git", "status", "--porcelain", ".dvc").stdout == ""
    changed.dvc("plots", *command)
    with Opened(browser, changed.folder / "dvc_plots/index.html") as opened:
        opened.page.wait_for_selector(".vega-embed canvas, .vega-embed svg")
        count = opened.page.locator("main > div").count()
        opened.page.wait_for_function(f"document.querySelectorAll('.vega-embed.has-actions').length === {count}")
        assert count >= len(yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"])
        assert opened.problems == []


def test_a_page_of_your_own_stays(workdir):
    (workdir / ".dvc").mkdir()
    plots_page.main()
    shown = (workdir / ".dvc/config.local").read_text()
    assert "html_template = plots.html" in shown
    (workdir / ".dvc/config.local").write_text(shown.replace("plots.html", "mine.html"))
    plots_page.main()
    assert "html_template = mine.html" in (workdir / ".dvc/config.local").read_text()


def test_the_picture_in_the_readme_is_small():
    assert (ROOT / "docs/report.png").stat().st_size <= 200_000
