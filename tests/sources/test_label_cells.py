"""Several labels per text, in each form in which a table may hold them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.base.errors import UserError
from finetune.base.params_data import Data
from finetune.sources.label_cells import label_cells
from finetune.sources.tables import read_batches

DATA = {"uri": "t.csv", "sha256": None, "text": "text", "label": "label", "labels": None, "group": None}


def data(**values) -> Data:
    return Data(**DATA | {"task": "multi_label"} | values)


def test_a_list_a_separated_text_and_columns_of_0_and_1_give_the_same_sets():
    expected = [["insult", "toxic"], [], None]
    assert label_cells({"label": [["toxic", " insult"], [], None]}, data()) == expected
    assert label_cells({"label": ["toxic; insult;", "", None]}, data(separator=";")) == expected
    columns = {"toxic": ["1", "0", ""], "insult": ["True", "0.0", "1"]}
    assert label_cells(columns, data(label=["toxic", "insult"])) == expected


def test_lists_are_read_from_json_lines_and_from_parquet(tmp_path):
    cells = [["a", "b"], [], None]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": "x", "label": cell}) + "\n" for cell in cells))
    pq.write_table(pa.table({"text": ["x"] * 3, "label": cells}), tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.parquet"):
        (batch,) = read_batches(tmp_path / name, ["text", "label"], "label")
        assert batch["label"] == cells
        with pytest.raises(UserError, match="must (be|hold) text"):
            list(read_batches(tmp_path / name, ["text", "label"]))


@pytest.mark.parametrize(
    ("batch", "values", "message"),
    [
        ({"label": [["a", "a "]]}, {}, "row 8 of t.csv, column 'label' holds the label 'a' twice"),
        ({"label": ["a;b"]}, {}, "holds the text 'a;b'; expected a list of labels: set data.separator"),
        ({"label": [["a", ""]]}, {}, "holds a list with an empty label"),
        ({"a": ["1"], "b": ["2"]}, {"label": ["a", "b"]}, "column 'b' holds '2'; expected 0 or 1"),
    ],
)
def test_a_wrong_cell_ends_in_one_line(batch, values, message):
    with pytest.raises(UserError) as caught:
        label_cells(batch, data(**values), start=7)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
