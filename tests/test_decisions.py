"""Class weights and decisions through real `dvc`: from params.yaml to metrics, folder, card, report and answers."""

import json

from finetune.results.metrics import read_metrics


def test_weights_and_a_decision_pass_through_the_whole_pipeline(project):
    """Balanced weights, the epoch with the best macro F1, and a threshold; then a least probability, which trains nothing."""
    before = project.read("metrics/detail/evaluate/test.json")
    assert "decision" not in before
    project.set_params(
        {
            "train.class_weights": "balanced",
            "train.best": "f1",
            "decide.threshold": {"label": "positive", "recall": 0.9},
        }
    )
    assert project.ran(project.dvc("repro").stdout) == ["train", "evaluate", "export"]
    metrics = read_metrics(project.folder / "metrics")
    counts = metrics["data"]["labels"]
    weights = metrics["train"]["class_weights"]
    assert (weights["positive"] > weights["negative"]) == (counts["positive"] < counts["negative"])
    recorded = json.loads(project.read("models/finetuned/training.json"))
    assert (recorded["class_weights"], recorded["best"]) == ("balanced", "f1")
    decision = metrics["test"]["decision"]
    assert decision["threshold"]["label"] == "positive"
    assert decision["validation"]["recall"]["value"] >= 0.9
    assert json.loads(project.read("models/export/decision.json")) == decision
    card = project.read("models/export/README.md")
    assert "The answer is `positive` from a probability of" in card
    assert "in the loss, which distorts the probabilities" in card
    texts = ["the film is great and moving", "a dull and boring story"]
    found = [json.loads(line) for line in project.run("python", "-m", "finetune.predict", *texts).stdout.splitlines()]
    for answer in found:
        positive = answer["probabilities"]["positive"] >= decision["threshold"]["probability"]
        assert answer["label"] == ("positive" if positive else "negative")
    project.run("python", "-m", "finetune.report")
    assert "When does it answer?" in project.read("report.html")

    project.set_params({"decide.threshold": None, "decide.min_accuracy": 0.9})
    output = project.dvc("repro").stdout
    assert project.ran(output) == ["evaluate", "export"]
    decision = read_metrics(project.folder / "metrics")["test"]["decision"]
    assert "threshold" not in decision
    assert decision["validation"]["accuracy"]["value"] >= 0.9
    assert (
        f"decision: answers from a probability of {decision['min_probability']:.4f} on; validation answered" in output
    )
    assert json.loads(project.read("models/export/decision.json")) == decision
    project.set_param("gate", {"test.decision.test.answered.value": {"min": 0.0}})
    assert "test.decision.test.answered.value" in project.run("python", "-m", "finetune.gate").stdout

    project.set_params({"train.class_weights": None, "train.best": "accuracy", "decide.min_accuracy": None})
    project.dvc("repro")
    assert project.read("metrics/detail/evaluate/test.json") == before
    assert not (project.folder / "models/export/decision.json").exists()
    assert "class_weights" not in project.read("models/finetuned/training.json")


def test_a_setting_for_a_label_that_the_data_lack_stops_the_first_stage_with_one_line(project):
    project.set_param("data.group", None)  # `download` runs again
    project.set_param("train.class_weights", {"rare": 5.0})
    done = project.dvc("repro", check=False)
    assert (
        "error: train.class_weights must name labels, which are negative, positive, found rare\n"
        in done.stdout + done.stderr
    )
    project.set_params({"train.class_weights": None, "decide.threshold": {"label": "rare", "recall": 0.9}})
    done = project.dvc("repro", check=False)
    message = "error: decide.threshold.label must be one of the labels negative, positive, found rare\n"
    assert message in done.stdout + done.stderr
