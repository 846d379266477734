"""Stored rows: Arrow's buffers as numpy views, and samples."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.rows import stored
from finetune.rows.stored import class_ids, count_stored, label_names, read_rows, read_sample, row_features, token_ids
from finetune.rows.token_ids import TokenIds, as_token_ids

NAMES = ["bad", "good"]


@pytest.fixture
def rows(workdir) -> list[dict]:
    """100 rows in data/tokenized/train.parquet, in groups of 30, 30, 30 and 10 rows; row n has n % 7 + 1 tokens."""
    rows = [
        {
            "row": 3 * number,
            "text": f"text {number}",
            "label": number % 2,
            "group": None,
            "input_ids": list(range(number, number + number % 7 + 1)),
            "truncated": False,
        }
        for number in range(100)
    ]
    (workdir / "data/tokenized").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=row_features(NAMES).arrow_schema)
    pq.write_table(table, workdir / "data/tokenized/train.parquet", row_group_size=30)
    return rows


def test_token_ids_are_views_of_arrows_buffers(rows, monkeypatch):
    monkeypatch.setattr(stored, "BATCH", 30)
    ids = token_ids(read_rows("train"))
    assert [row.tolist() for row in ids] == [row["input_ids"] for row in rows]
    assert ids.lengths.tolist() == [number % 7 + 1 for number in range(100)]
    assert ids[31].dtype == np.int32
    assert any(np.shares_memory(ids[31], values) for values in ids.values)
    with pytest.raises(IndexError):
        ids[100]


def test_selected_rows_share_the_buffers(rows):
    ids = token_ids(read_rows("train"))
    chosen = ids.select([99, 0, 45]).select([2, 0])
    assert [row.tolist() for row in chosen] == [rows[45]["input_ids"], rows[99]["input_ids"]]
    assert chosen.values is ids.values
    assert list(ids.select([])) == []


def test_lists_and_parts_of_columns_are_rows_of_ids_too():
    assert [row.tolist() for row in as_token_ids([[1, 2], [3]])] == [[1, 2], [3]]
    assert [row.tolist() for row in TokenIds(pa.array([[1], [2, 3], [4]], pa.list_(pa.int32()))[1:])] == [[2, 3], [4]]
    assert len(as_token_ids([])) == 0


def test_only_named_columns_are_read(rows):
    read = read_rows("train", ["label", "input_ids"])
    assert read.column_names == ["label", "input_ids"]
    assert label_names(read) == NAMES
    assert class_ids(read).tolist() == [row["label"] for row in rows]


def test_rows_chosen_from_a_data_set_give_their_columns(rows):
    chosen = read_rows("train").select([7, 3])
    assert class_ids(chosen).tolist() == [1, 1]
    assert [row.tolist() for row in token_ids(chosen)] == [rows[7]["input_ids"], rows[3]["input_ids"]]


@pytest.mark.usefixtures("rows")
def test_a_sample_is_the_same_each_time_in_the_order_of_the_source_and_part_of_a_larger_one(monkeypatch):
    monkeypatch.setattr(stored, "BATCH", 16)
    small, large = read_sample("train", 20, 1), read_sample("train", 60, 1)
    assert len(small) == 20
    assert small["row"][:] == sorted(small["row"][:]) == read_sample("train", 20, 1)["row"][:]
    assert set(small["row"][:]) < set(large["row"][:])
    assert small["row"][:] != read_sample("train", 20, 2)["row"][:]
    assert [row["text"] for row in small] == [f"text {row // 3}" for row in small["row"]]
    assert read_sample("train", 100, 1)[:] == read_rows("train")[:]
    assert count_stored("train") == 100
