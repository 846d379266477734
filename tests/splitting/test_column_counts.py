"""Columns of texts: duplicates are equal in every column, and shared texts of test and train are counted."""

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.splitting.column_counts import column_counts, column_lines
from finetune.splitting.keys import fields_key, row_keys


def test_rows_are_duplicates_only_if_each_column_is_equal():
    assert fields_key(["A  film", "dull"]) == fields_key(["a film", "DULL"])
    assert fields_key(["a | b", "c"]) != fields_key(["a", "b | c"])  # joined they are equal
    assert fields_key(["a", ""]) != fields_key(["", "a"])
    assert fields_key([" ", "\u200b"]) == 0
    schema = pa.schema(
        [(name, pa.string()) for name in ("text", "label", "group")] + [("fields", pa.list_(pa.string()))]
    )
    rows = [
        {"text": "a | b | c", "label": "x", "group": None, "fields": fields}
        for fields in (["a | b", "c"], ["a", "b | c"])
    ]
    keys = row_keys([(0, pa.RecordBatch.from_pylist(rows, schema=schema))], 2, {"x": 0})
    assert keys.text[0] != keys.text[1]


def test_empty_cells_and_test_texts_that_train_has_too_are_counted(tmp_path):
    """Train has the premise A twice; test has A with another hypothesis, B, and a premise that is empty, as one in train."""
    splits = {
        "train": [["A", "x"], ["A", "y"], ["", "z"]],
        "validation": [["C", ""]],
        "test": [["a ", "w"], ["B", "x"], ["", "v"]],
    }
    for name, fields in splits.items():
        pq.write_table(pa.table({"fields": fields}), tmp_path / f"{name}.parquet")
    counts = column_counts(["premise", "hypothesis"], tmp_path)
    assert counts == {"premise": {"empty": 2, "shared": 1}, "hypothesis": {"empty": 1, "shared": 1}}
    assert column_lines(counts, 3, "a pair") == [
        "columns premise, hypothesis: read as a pair",
        "2 rows have nothing under premise",
        "1 rows have nothing under hypothesis",
        "1 of 3 test rows share their premise with a training row; if that gives their label away, set data.group to premise",
        "1 of 3 test rows share their hypothesis with a training row; if that gives their label away, set data.group to hypothesis",
    ]
