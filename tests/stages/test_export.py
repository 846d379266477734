"""The folder that ships: reloaded in a fresh process and compared on every test row."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from finetune.base.errors import UserError
from finetune.base.files import write_json
from finetune.base.metric_files import stage_metrics
from finetune.encoder.models import save, trained_classifier
from finetune.encoder.prediction import logits
from finetune.export.proof import agreement, int8_verdict
from finetune.rows.tokens import load_tokenizer
from finetune.runtime.classifier import FP32, INT8, Classifier
from stages import export
from stages.export import FINETUNED
from tests.export.test_card import LEAST
from tests.support.export_project import NAMES, write_evaluated
from tests.support.warm import warm_spawns


@pytest.fixture
def evaluated(workdir, tiny_bert):
    """A working folder as `evaluate` leaves it."""
    write_evaluated(workdir, tiny_bert)
    return workdir


@pytest.fixture(scope="module")
def twice_exported(tmp_path_factory, tiny_bert):
    """A working folder after two exports, and the folder `before` in it with what the first one wrote.

    The first has a decision, compares 7 test rows and gets no name; the second has the tiny project's settings.
    """
    folder = tmp_path_factory.mktemp("exported")
    write_evaluated(folder, tiny_bert)
    test, params = folder / "metrics/detail/evaluate/test.json", folder / "params.yaml"
    facts, settings = test.read_text(encoding="utf-8"), params.read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(export, "MOST_COMPARED", 7)
        write_json(test, json.loads(facts) | {"decision": LEAST})
        params.write_text(settings.replace("name: tiny", "name: null"), encoding="utf-8")
        with warm_spawns():
            export.main()
        for name in ("models/export", "metrics"):
            shutil.copytree(name, folder / "before" / name)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        test.write_text(facts, encoding="utf-8")
        params.write_text(settings, encoding="utf-8")
        with warm_spawns():
            export.main()
    return folder


@pytest.fixture
def exported_here(twice_exported, monkeypatch):
    """That folder as the current one; do not change it."""
    monkeypatch.chdir(twice_exported)
    return twice_exported


@pytest.fixture
def before(twice_exported, monkeypatch):
    """What the first export wrote, as the current folder; do not change it."""
    monkeypatch.chdir(twice_exported / "before")
    return twice_exported / "before"


def test_the_exported_folder_answers_as_evaluated_and_with_label_names(exported_here, tmp_path):
    from transformers import pipeline

    assert any(pq.read_table("data/tokenized/test.parquet").column("truncated").to_pylist())
    metrics = stage_metrics("export")
    assert metrics["reload"]["agreement"] == 1.0
    assert metrics["reload"]["max_difference"] < 1e-5
    weights = (exported_here / "models/export/model.safetensors").stat().st_size
    assert metrics["megabytes"]["model"] == pytest.approx(weights / 1e6, abs=0.01)
    assert metrics["onnx"] == {"max_difference": pytest.approx(0, abs=1e-4), "agreement": 1.0}
    assert metrics["int8"]["kept"]
    # Cut texts have the token ids that were evaluated.
    classifier = Classifier(exported_here / "models/export", threads=1)
    assert classifier.model == INT8
    rows = pq.read_table("data/tokenized/test.parquet")
    assert classifier.encode(rows.column("text").to_pylist()) == rows.column("input_ids").to_pylist()
    assert (classifier.labels, classifier.temperature, classifier.max_length) == (NAMES, 1.6, 12)
    # An application needs nothing but a copy of the folder.
    shipped = shutil.copytree("models/export", tmp_path / "shipped")
    assert pipeline("text-classification", model=str(shipped))("the film is great")[0]["label"] in NAMES
    assert not list(shipped.glob("*.bin"))


def test_of_many_test_rows_a_sample_is_compared_and_metrics_and_card_say_so(before):
    metrics = stage_metrics("export")
    assert metrics["rows"] == 7
    assert (metrics["reload"]["agreement"], metrics["onnx"]["agreement"]) == (1.0, 1.0)
    assert metrics["int8"]["accuracy"] * 7 == pytest.approx(round(metrics["int8"]["accuracy"] * 7), abs=1e-4)
    assert json.loads((before / "models/export/profile.json").read_text())["texts"] == 7
    card = (before / "models/export/README.md").read_text()
    assert "The labels were compared on 7 of the test rows, drawn with a seed." in card


def test_a_model_that_nobody_named_is_named_after_its_data(before):
    """The data are hf://datasets/owner/reviews@main."""
    card = (before / "models/export/README.md").read_text()
    assert "\n- name: reviews-classifier\n" in card
    assert "\n# reviews-classifier\n" in card


def test_a_model_whose_answers_differ_from_the_evaluated_ones_does_not_ship(evaluated):
    table = pq.read_table("data/predictions/test.parquet")
    other = np.array(table.column("logits").to_pylist(), np.float32) + np.float32([0.5, 0, 0])
    pq.write_table(
        pa.table({"row": table.column("row"), "logits": pa.array(list(other))}), "data/predictions/test.parquet"
    )
    message = r"differ from the evaluated ones by up to .*export\.tolerance allows 0\.001"
    with warm_spawns(), pytest.raises(UserError, match=message):
        export.main()
    assert not (evaluated / "metrics/export.json").exists()


def test_an_int8_model_that_loses_too_much_is_left_out_and_the_metrics_say_why(evaluated):
    """Two classes differ by so little that rounding decides between them; each row's label is the evaluated one."""
    model = trained_classifier(FINETUNED).cpu()
    with torch.no_grad():
        model.classifier.weight[2] = 0
        model.classifier.weight[1] = model.classifier.weight[0] * (1 + 1e-4)
        model.classifier.bias.copy_(torch.tensor([0.0, 0.0, -9.0]))
    tokenizer = load_tokenizer(FINETUNED)
    table = pq.read_table("data/tokenized/test.parquet")
    found = logits(model, table.column("input_ids").to_pylist(), tokenizer.pad_token_id)
    # Half of the rows on each side of the boundary.
    with torch.no_grad():
        model.classifier.bias[1] -= float(np.median(found[:, 1] - found[:, 0]))
    save(model, tokenizer, FINETUNED)
    found = logits(model, table.column("input_ids").to_pylist(), tokenizer.pad_token_id)
    pq.write_table(
        pa.table({"row": table.column("row"), "logits": pa.array(list(found))}), "data/predictions/test.parquet"
    )
    labels = pa.array(found.argmax(1))
    pq.write_table(
        table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), labels),
        "data/tokenized/test.parquet",
    )
    with warm_spawns():
        export.main()
    int8 = stage_metrics("export")["int8"]
    assert not int8["kept"]
    assert int8["accuracy"] == pytest.approx(1 + int8["change"])
    assert int8["change"] < -0.005
    assert int8["why"] == f"accuracy changes by {int8['change']:+.4f}; export.int8.max_drop allows a fall of 0.005"
    assert "int8" not in stage_metrics("export")["megabytes"]
    assert not (evaluated / "models/export" / INT8).exists()
    assert Classifier(evaluated / "models/export", threads=1).model == FP32


@pytest.mark.parametrize(("max_drop", "kept"), [(0.25, True), (0.2, False), (0, False)])
def test_int8_is_kept_while_accuracy_falls_no_further_than_allowed(max_drop, kept):
    """Evaluated: 4 of 4 right. In int8: 3 of 4, a fall of 0.25; 3 of 4 labels are the same."""
    labels = np.array([0, 0, 1, 1])
    evaluated = np.array([[2.0, 0], [1, 0], [0, 1], [0, 2]])
    found = np.array([[2.0, 0], [1, 0], [0, 1], [1, 0]])
    assert int8_verdict(labels, evaluated, found, max_drop) == {
        "accuracy": 0.75,
        "change": -0.25,
        "agreement": 0.75,
        "kept": kept,
        "why": f"accuracy changes by -0.2500; export.int8.max_drop allows a fall of {max_drop}",
    }


def test_a_more_accurate_int8_model_is_kept():
    labels = np.array([0, 1])
    verdict = int8_verdict(labels, np.array([[0.0, 1], [0, 1]]), np.array([[1.0, 0], [0, 1]]), 0)
    assert (verdict["kept"], verdict["change"], verdict["agreement"]) == (True, 0.5, 0.5)


def test_agreement_and_difference_are_those_of_the_rows():
    """Differences 0.1 and 0.2; the second row changes its label."""
    found = agreement(np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([[0.6, 0.4], [0.4, 0.6]]))
    assert found == {"max_difference": pytest.approx(0.2), "agreement": 0.5}


def test_the_exported_folder_holds_a_profile_of_the_validation_texts(exported_here):
    found = json.loads((exported_here / "models/export/profile.json").read_text(encoding="utf-8"))
    assert found["texts"] == 20
    assert found["labels"] == NAMES
    lengths = pq.read_table("data/tokenized/validation.parquet").column("text").to_pylist()
    # Every word is one token of the tiny vocabulary; the cut to 12 does not shorten them.
    assert found["mean"]["length"] == pytest.approx(np.mean([len(text.split()) for text in lengths]), abs=1e-6)
    assert [sum(feature["counts"]) for feature in found["features"].values()] == [20] * 4


def test_a_decision_ships_as_a_file_and_goes_when_there_is_none(before, exported_here):
    assert json.loads((before / "models/export/decision.json").read_text(encoding="utf-8")) == LEAST
    assert Classifier(before / "models/export", threads=1).decision.min_probability == 0.7
    assert "## Decision" in (before / "models/export/README.md").read_text(encoding="utf-8")
    assert not (exported_here / "models/export/decision.json").exists()
    assert "## Decision" not in (exported_here / "models/export/README.md").read_text(encoding="utf-8")
