"""Behaviour under edits: how often the answer changes where it must not, or stays where it must change."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from finetune.base.fields import Text, joined
from finetune.base.params_results import Behaviour
from finetune.encoder.prediction import logits
from finetune.evaluation.edits import Edit, case, contractions, negation, neutral, typos
from finetune.rows.form import Form, encoded
from finetune.rows.stored import texts_read, token_ids
from finetune.scoring.intervals import SEED, share_interval


class AnswerKind(NamedTuple):
    """What the answers of a task are, one a row: those `of` logits, whether two of a row `differ`, and one in `words`."""

    of: Callable[[np.ndarray], np.ndarray]
    differ: Callable[[np.ndarray, np.ndarray], np.ndarray]
    words: Callable[[np.ndarray], str]


def edited_rows(texts: Sequence[Text], positions: Iterable[int], edit: Edit, limit: int) -> dict[int, Text]:
    """Edited texts by their row, of the first `limit` of `positions` that the edit changes; the same on every call.

    Of several columns, each text is edited.
    """
    edited_texts = {}
    for position in positions:
        if len(edited_texts) >= limit:
            break
        chance, text = random.Random(f"{SEED} {position}"), texts[position]
        edited = edit(text, chance) if isinstance(text, str) else [edit(field, chance) for field in text]
        if edited != text:
            edited_texts[int(position)] = edited
    return edited_texts


def all_edits(
    texts: Sequence[Text], limit: int, sentences: Sequence[str], flippable: np.ndarray | None
) -> dict[str, dict[int, Text]]:
    """Edited texts by edit and row: at most `limit` rows for each edit, drawn with a fixed seed.

    Negation takes only rows that are `flippable` (bool, of shape [rows]; None: no row is). Texts of several columns get no neutral
    sentence and no negation: their label may lie in how they differ.
    """
    order = np.random.default_rng(SEED).permutation(len(texts))
    edits = {"typos": typos, "case": case, "contractions": contractions}
    alone = all(isinstance(text, str) for text in texts)
    if alone:
        edits["neutral"] = neutral(sentences)
    edited = {name: edited_rows(texts, order, edit, limit) for name, edit in edits.items()}
    if flippable is not None and alone:
        edited["negation"] = edited_rows(texts, order[flippable[order]], negation, limit)
    return {name: rows for name, rows in edited.items() if rows}


def failed_rows(name: str, differ: np.ndarray) -> np.ndarray:
    """Rows that fail an edit, from whether their answers differ: one that changes, or for negation one that stays."""
    return ~differ if name == "negation" else differ


def failure_entry(failed: np.ndarray) -> dict:
    """Failure rate, rows and interval."""
    count = int(failed.sum())
    return {"failure_rate": count / len(failed), "rows": len(failed), "interval": share_interval(count, len(failed))}


def as_list(row: np.ndarray | list[np.ndarray]) -> list:
    """A stored row, or the windows of a document, as lists."""
    return [window.tolist() for window in row] if isinstance(row, list) else row.tolist()


def behaviour_of(
    model,
    tokenizer,
    rows: Dataset,
    predicted: np.ndarray,
    answers: AnswerKind,
    form: Form,
    settings: Behaviour,
    flippable: np.ndarray | None = None,
) -> tuple[dict[str, dict], list[list]]:
    """Failure rates by edit, and for each failed row the edit, row id, answers and texts before and after.

    `predicted` holds the model's answers to the rows; for `flippable` see `all_edits`.
    """
    texts, ids, before = texts_read(rows), rows["row"][:], token_ids(rows)
    rates, failures = {}, []
    for edit, edited in all_edits(texts, settings.rows, settings.neutral, flippable).items():
        positions = np.array(list(edited))
        tokens = encoded(tokenizer, list(edited.values()), form)
        after = predicted[positions]
        # Some edits change nothing for some models: an uncased one gets the same tokens.
        seen = [row for row, position in enumerate(positions.tolist()) if tokens[row] != as_list(before[position])]
        if seen:
            edited_tokens = [tokens[row] for row in seen]
            after[seen] = answers.of(logits(model, edited_tokens, tokenizer.pad_token_id, desc=edit))
        failed = failed_rows(edit, answers.differ(predicted[positions], after))
        rates[edit] = failure_entry(failed)
        failures += [
            [edit, ids[position], answers.words(predicted[position]), answers.words(answer)]
            + [joined(text) for text in (texts[position], edited[position])]
            for position, answer in zip(positions[failed].tolist(), after[failed], strict=True)
        ]
    return rates, failures
