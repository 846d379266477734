"""The model card: it holds measured values only, reads well, and has the Hub's format."""

import json
import re

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from finetune.export.card import Facts, aligned, model_card
from finetune.export.pins import pinned_versions
from finetune.wording.markdown import code, table
from finetune.wording.numbers import dotted, interval
from tests.conftest import ROOT
from tests.support.export_project import METRICS, SOURCE, TEST

EXPORT = {
    "reload": {"max_difference": 1e-6, "agreement": 1.0},
    "onnx": {"max_difference": 1e-6, "agreement": 1.0},
    "int8": {"accuracy": 0.8, "change": -0.0125, "agreement": 0.975, "kept": True, "why": "it may fall by 0.02"},
    "megabytes": {"model": 90.87, "onnx": 90.89, "int8": 59.71},
}
SPEED = {
    "data": SOURCE["data"]["uri"],
    "model": SOURCE["model"]["uri"],
    "rows": 160,
    "max_length": 128,
    "tokens": {"one": 16, "many": 27.0},
    "threads": 2,
    "relative": {
        "one": {"model": 1.0, "onnx": 4.5, "int8": 6.0},
        "many": {"model": 1.0, "onnx": 2.1, "int8": 3.9},
    },
}
FACTS = Facts(
    name="reviews",
    license=None,
    source=SOURCE,
    metrics=METRICS | {"export": EXPORT},
    parameters={"tokenize.max_length": 128, "train.lr": 0.0001, "train.lora.targets": None},
    versions={"torch": "2.13.0", "onnxruntime": "1.31.1"},
    speed=SPEED,
    grouped=True,
)


def with_metrics(**changed: dict) -> Facts:
    """The facts with some metrics files replaced."""
    return FACTS._replace(metrics=FACTS.metrics | changed)


def section(card: str, title: str) -> str:
    """Text of a section, on one line."""
    return " ".join(card.split(f"\n## {title}\n")[1].split("\n## ")[0].split())


def cells(card: str) -> list[list[str]]:
    """Rows of all tables."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in card.splitlines() if line.startswith("|")
    ]


def test_the_card_compares_the_model_with_the_best_baseline():
    card = model_card(FACTS)
    assert "**81.2%** of 160 test rows correctly (95% interval 75.0% to 87.5%)" in card
    assert "+6.2 points over the best baseline (TF-IDF and logistic regression; 95% interval" in card
    assert "+1.0 to +11.0, McNemar's exact p = 0.012), which is a significant gain" in card
    assert ["TF-IDF and logistic regression", "75.0%", "75.0% to 87.5%", "0.800"] in cells(card)
    assert ["area under the ROC curve", "0.900", "0.750 to 0.875"] in cells(card)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.11, "a significant gain"),
        (-0.02, 0.04, "no significant difference"),
        (-0.6, -0.2, "a significant loss"),
    ],
)
def test_the_card_calls_only_significant_differences_a_gain_or_a_loss(low, high, verdict):
    test = TEST | {"gain": {"value": (low + high) / 2, "low": low, "high": high, "p_value": 0.5}}
    assert f"which is {verdict}." in model_card(with_metrics(test=test))


def test_the_card_shows_the_data_the_splits_and_what_keeps_them_apart():
    card = model_card(FACTS)
    assert ["texts and labels", "`hf://datasets/owner/reviews@main`", "`commit c0ffee`"] in cells(card)
    assert "left out: 1 empty, 2 duplicate, 3 unlabelled." in section(card, "Data and licence")
    assert "No licence is stated" in section(card, "Data and licence")
    assert ["train", "800", "training"] in cells(card)
    assert ["`a`", "500"] in cells(card)
    splits = section(card, "Splits")
    assert "all rows of a group are in the same split" in splits
    assert "1 between train and test" in splits
    assert "9 of 800 in train, 2 of 100 in validation, 3 of 160 in test" in splits
    assert "the rows have no groups" in section(model_card(FACTS._replace(grouped=False)), "Splits")


def test_a_licence_is_in_the_text_and_in_the_metadata():
    card = model_card(FACTS._replace(license="cc-by-4.0"))
    assert "under the licence `cc-by-4.0`" in card
    assert ModelCard(card).data.license == "cc-by-4.0"


def test_weak_slices_and_edits_are_shown_only_if_they_were_measured():
    """The worst slice's interval ends at 0.9, above the accuracy over all rows, 0.8125; below at 0.8."""
    card = model_card(FACTS)
    assert ["length of the text", "long", "77.5%", "70.0% to 90.0%", "40"] in cells(card)
    assert "cut to the maximum length" not in section(card, "Where it is better and worse")  # one slice alone
    assert "of 5 slices is `group: a\\|b`: 60.0% of 40 rows are correct." in card
    assert "corrected for choosing the worst slice (Bonferroni), is" in card
    assert "so this may be chance" in card
    slices = METRICS["slices"]
    worse = slices | {"worst": slices["worst"] | {"interval": {"low": 0.4, "high": 0.8}}}
    assert "the slice is worse by more than chance" in model_card(with_metrics(slices=worse))

    assert ["two neighbouring letters swapped in every tenth word", "10.0%", "6.0% to 20.0%", "40"] in cells(card)
    limits = section(card, "Limits")
    assert (
        "make more than one answer in twenty wrong: two neighbouring letters swapped in every tenth word (10.0%)."
        in limits
    )
    assert "lower case" not in limits
    bare = model_card(with_metrics(slices={"length": {"long": slices["length"]["long"]}}, behaviour={}))
    assert "better and worse" not in bare
    assert "changes its answers" not in bare
    assert "answer in twenty" not in bare


def test_calibration_is_shown_as_it_ships_and_as_trained():
    test = METRICS["test"] | {"intervals": METRICS["test"]["intervals"] | {"brier": {"low": 0.1, "high": 0.125}}}
    card = model_card(with_metrics(test=test))
    assert "logits are divided by a temperature of\n1.600, fitted on validation" in card
    assert "`model.safetensors` gives the probabilities as trained" in card
    assert ["calibration error (ECE)", "0.031", "-", "0.051"] in cells(card)
    assert ["Brier score", "0.110", "0.100 to 0.125", "0.120"] in cells(card)
    assert ["80%", "90.0%", "84.0% to 94.0%", "128"] in cells(card)


@pytest.mark.parametrize("changed", [{"model": "hf://owner/another"}, {"rows": 161}, {"max_length": 64}])
def test_speeds_are_shown_only_if_they_were_measured_with_this_model_on_these_texts(changed):
    card = model_card(FACTS)
    int8 = ["`onnx/model_int8.onnx`", "products with weights in int8", "59.7 MB", "97.5%", "6.0", "3.9"]
    assert int8 in cells(card)
    assert "int8 was kept: it may fall by 0.02." in section(card, "Size and speed")
    other = model_card(FACTS._replace(speed=SPEED | changed))
    assert int8[:4] in cells(other)
    assert "Speed was not measured with this encoder on these texts." in section(other, "Size and speed")


def test_an_int8_model_that_was_left_out_is_neither_listed_nor_used():
    left_out = EXPORT | {"int8": EXPORT["int8"] | {"kept": False}, "megabytes": {"model": 90.87, "onnx": 90.89}}
    card = model_card(with_metrics(export=left_out))
    assert "int8 was left out: it may fall by 0.02." in card
    assert "model_int8.onnx" not in card
    assert 'InferenceSession("onnx/model.onnx"' in card
    assert 'InferenceSession("onnx/model_int8.onnx"' in model_card(FACTS)


def test_parameters_and_versions_are_shown():
    card = model_card(FACTS)
    assert ["`train.lr`", "`0.0001`"] in cells(card)
    assert ["`train.lora.targets`", "`null`"] in cells(card)
    assert "Versions: torch 2.13.0, onnxruntime 1.31.1." in card
    assert dotted({"a": {"b": {"c": 1}, "d": None}}) == {"a.b.c": 1, "a.d": None}
    assert pinned_versions(ROOT).keys() >= {"torch", "onnx"}


def test_the_strategy_is_shown_with_the_reason_for_it_and_a_training_that_learnt_nothing_with_its_warning():
    assert "`full` (auto: measured best for more than 100 training rows, found 800)." in model_card(FACTS)
    assert "Warning" not in model_card(FACTS)
    chosen = FACTS.metrics["train"] | {"reason": "set in params.yaml", "warning": "the model learnt nothing: why"}
    card = model_card(with_metrics(train=chosen))
    assert "The strategy was `full`.\n" in card
    assert "Warning: the model learnt nothing: why." in card


def test_the_metadata_is_what_the_hub_s_library_reads_back(tmp_path):
    (tmp_path / "README.md").write_text(model_card(FACTS), encoding="utf-8")
    data = ModelCard.load(tmp_path / "README.md", ignore_metadata_errors=False).data
    assert (data.model_name, data.pipeline_tag, data.library_name) == ("reviews", "text-classification", "transformers")
    assert (data.datasets, data.base_model) == (["owner/reviews"], "owner/encoder")
    found = {result.metric_type: result for result in data.eval_results}
    assert (found["accuracy"].metric_value, found["accuracy"].dataset_revision) == (0.8125, "c0ffee")
    assert found["f1"].metric_name == "macro F1, 95% interval 0.7500 to 0.8750"
    raw = metadata_load(tmp_path / "README.md")
    assert set(raw) == {"library_name", "pipeline_tag", "base_model", "datasets", "metrics", "tags", "model-index"}


def test_data_from_elsewhere_is_named_as_it_is_and_no_hub_repository_is_made_up():
    source = SOURCE | {"data": {"uri": "data/local/a|b.csv"}, "model": {"uri": "pkg:pypi/encoder@1.0#model"}}
    card = model_card(FACTS._replace(source=source))
    assert ["texts and labels", "`data/local/a\\|b.csv`", ""] in cells(card)
    data = ModelCard(card).data
    assert (data.datasets, data.base_model) == (None, None)
    assert data.eval_results[0].dataset_name == "data/local/a|b.csv"


def test_a_name_from_the_data_breaks_no_table():
    assert code("a|b`c\n![x](y)") == "`a\\|b'c ![x](y)`"
    assert table(["name", "rows"], [["a", "1,234"], ["b", "5"]]).splitlines() == [
        "| name   |   rows |",
        "|:-------|-------:|",
        "| a      |  1,234 |",
        "| b      |      5 |",
    ]


def test_a_pipe_in_a_name_ends_no_cell_of_the_template_s_tables():
    assert aligned(f"| name | |\n| {code('a | b')} | 1 |\n").splitlines() == [
        "| name     |    |",
        "|:---------|---:|",
        "| `a \\| b` |  1 |",
    ]


def test_the_card_of_a_whole_run_has_no_hole(built):
    card = built.read("models/export/README.md")
    assert f"**{100 * json.loads(built.read('metrics/test.json'))['accuracy']:.1f}%**" in card
    assert not re.search(r"\bnan\b|\bNone\b|\bTrue\b", re.sub("```.*?```", "", card, flags=re.DOTALL))


def test_an_interval_has_as_many_digits_as_tell_its_ends_apart():
    """Wilson's of 10,000 of 10,000 begins at 10000 / (10000 + 3.8415) = 0.99962."""
    assert interval({"low": 0.803, "high": 0.846}) == "80.3% to 84.6%"
    assert interval({"low": 0.99962, "high": 1.0}) == "99.96% to 100.00%"


SHARE = {"value": 0.9, "rows": 40, "interval": {"low": 0.8, "high": 0.95}}
LEAST = {
    "min_probability": 0.7,
    "wanted": {"accuracy": 0.95},
    "validation": {"answered": SHARE, "accuracy": SHARE | {"value": 0.96}},
    "test": {"answered": SHARE | {"value": 0.85}, "accuracy": {"value": None, "rows": 0, "interval": None}},
}
THRESHOLD = {
    "threshold": {"label": "a|b", "probability": 0.31},
    "wanted": {"recall": 0.9},
    "validation": dict.fromkeys(("precision", "recall", "accuracy"), SHARE) | {"f1": 0.75},
    "test": dict.fromkeys(("precision", "recall", "accuracy"), SHARE) | {"f1": 0.6875},
}


def test_a_decision_is_shown_with_what_validation_promises_and_test_gives():
    card = model_card(with_metrics(test=FACTS.metrics["test"] | {"decision": LEAST}))
    shown = section(card, "Decision")
    assert "The answer is “unsure” where no label has a probability of at least 0.7000." in shown
    assert "It was chosen for an accuracy of 95% on validation." in shown
    assert ["texts that get an answer", "90.0%", "80.0% to 95.0%", "85.0%", "80.0% to 95.0%"] in cells(card)
    assert ["accuracy of the answers", "96.0%", "80.0% to 95.0%", "-", "-"] in cells(card)
    assert "Every text gets one of the labels, or none if all are improbable" in card
    assert "## Decision" not in model_card(FACTS)


def test_a_threshold_is_shown_with_its_label_and_breaks_no_table():
    shown = section(model_card(with_metrics(test=FACTS.metrics["test"] | {"decision": THRESHOLD})), "Decision")
    assert r"The answer is `a\|b` from a probability of 0.3100 on, and the other label below." in shown
    assert "It was chosen for a recall of 90% on validation." in shown
    assert "| macro F1 | 0.750 | - | 0.688 | - |" in re.sub(" +", " ", shown)


def test_weights_and_the_score_that_chose_the_epoch_are_shown_where_they_are_set():
    trained = FACTS.metrics["train"] | {"class_weights": {"a": 0.52631, "b": 10.0}}
    card = model_card(with_metrics(train=trained)._replace(parameters=FACTS.parameters | {"train.best": "f1"}))
    assert "The classes weighed `a` 0.526, `b` 10 in the loss, which distorts the probabilities" in " ".join(
        card.split()
    )
    assert "was the best on validation (by macro F1; accuracy" in card
    assert "weighed" not in model_card(FACTS)
    assert "on validation (accuracy" in model_card(FACTS)


def test_a_teacher_is_named_with_its_pin_and_without_one_the_card_says_nothing():
    teacher = {"uri": "hf://owner/large@main", "commit": "c0ffee", "accuracy": 0.875}
    card = model_card(with_metrics(train=METRICS["train"] | {"teacher": teacher}))
    row = ["teacher, whose probabilities it learnt too", "`hf://owner/large@main`", "`commit c0ffee`"]
    assert row in cells(card)
    assert "teacher" not in model_card(FACTS)
