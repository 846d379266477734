"""Ids of labels, and hashes of texts and groups: 21 bytes a row, so that rows can be split without holding their texts."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from finetune.base.names import UNSEEN_ALONE, normal_name


class RowKeys(NamedTuple):
    """Everything that splitting needs to know about the rows: four arrays of one length."""

    source: np.ndarray  # int8: the split the row came in; TRAIN where the source has one table
    label: np.ndarray  # int32: class id, -1 where the row has none of the labels
    text: np.ndarray  # uint64: hash of the text, 0 where it is empty
    group: np.ndarray  # uint64: hash of the group; a row without a group gets a hash of its id


def label_ids(labels: dict[str, str]) -> dict[str, int]:
    """Id of each raw label: the position of its name among the different names, {"1": "bad", "2": "bad", "3": "good"} -> 0, 0, 1."""
    ids = {name: position for position, name in enumerate(dict.fromkeys(labels.values()))}
    return {value: ids[name] for value, name in labels.items()}


def row_keys(batches: Iterable[tuple[int, pa.RecordBatch]], count: int, ids: dict[str, int]) -> RowKeys:
    """Keys of `count` rows, which come in batches of text, label and group, each with the split of its source."""
    keys = RowKeys(*(np.empty(count, kind) for kind in (np.int8, np.int32, np.uint64, np.uint64)))
    start = 0
    for part, batch in batches:
        rows = slice(start, start + batch.num_rows)
        texts, labels, groups = (batch.column(name).to_pylist() for name in ("text", "label", "group"))
        fields = batch.column("fields").to_pylist() if "fields" in batch.schema.names else None
        keys.source[rows] = part
        keys.label[rows] = [ids.get(label, -1) for label in labels]
        keys.text[rows] = [text_key(text) for text in texts] if fields is None else list(map(fields_key, fields))
        # A row without a group is a group by itself. No name of a group has a control character.
        hashes = {group: hash64(group) for group in set(groups) if group}
        keys.group[rows] = [hashes.get(group) or hash64(f"row\0{row}") for row, group in enumerate(groups, start)]
        start += batch.num_rows
    return keys


def text_key(text: str | None) -> int:
    """Hash of a text that ignores case, spacing and invisible characters; 0 if nothing of it can be seen."""
    normal = normal_name((text or "").casefold())
    return hash64(normal) if normal and normal.strip(UNSEEN_ALONE) else 0


def fields_key(fields: list[str]) -> int:
    """As `text_key`, of the texts of several columns: equal only if each is; 0 if nothing of any can be seen."""
    # A hash of each: joined texts would be equal where a part moves from one column to the next.
    keys = [text_key(field) for field in fields]
    return hash64(repr(keys)) if any(keys) else 0


def hash64(text: str) -> int:
    """64-bit hash, never 0. The probability that any two of ten million texts collide is 3 in a million."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1
