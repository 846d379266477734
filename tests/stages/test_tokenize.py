"""The stage `tokenize`: it cleans, splits and tokenises the rows."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from finetune.base.errors import UserError
from finetune.base.metric_files import stage_metrics
from finetune.rows.stored import label_names, read_rows
from finetune.rows.tokens import load_tokenizer
from finetune.sources import bounds
from finetune.splitting import raw
from stages import tokenize
from tests.support.project import PARAMS
from tests.support.tiny import FILLER, reviews


def write_raw(workdir, base, rows, labels=None, name="all", **changes):
    """data/raw, models/base and params.yaml as `download` leaves them; each row is (text, label, group)."""
    raw = workdir / "data/raw"
    raw.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("group", pa.string())])
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)
    pq.write_table(table, raw / f"{name}.parquet", row_group_size=bounds.BATCH)
    source = {"uri": "data/local/reviews.csv", "rows": {}, "labels": labels or {"bad": "negative", "good": "positive"}}
    (raw / "source.json").write_text(json.dumps(source))
    (workdir / "models").mkdir(exist_ok=True)
    if not (workdir / "models/base").exists():
        shutil.copytree(base, workdir / "models/base")
        (workdir / "models/base/source.json").write_text('{"uri": "tiny"}')
    params = PARAMS | {"split": PARAMS["split"] | changes.pop("split", {}), "tokenize": PARAMS["tokenize"] | changes}
    (workdir / "params.yaml").write_text(yaml.safe_dump(params))


def review_rows(count: int, **options) -> list[tuple]:
    return [(row["text"], row["label"], row["film"]) for row in reviews(count, **options)]


def test_rows_are_stored_unpadded_with_their_position_in_the_source(workdir, tiny_bert):
    rows = review_rows(120)
    write_raw(workdir, tiny_bert, rows)
    tokenize.main()
    for name in ("train", "validation", "test"):
        split = read_rows(name)
        assert label_names(split) == ["negative", "positive"]
        for row in split:
            text, label, group = rows[row["row"]]
            assert (row["text"], row["group"]) == (text, group)
            assert row["label"] == {"bad": 0, "good": 1}[label]
            assert len(row["input_ids"]) == len(text.split()) + 2  # each word is one token of the tiny vocabulary
        assert split["row"][:] == sorted(split["row"])


def test_test_is_the_fold_and_the_record_of_the_settings_names_folds_only_where_there_are_some(workdir, tiny_bert):
    write_raw(workdir, tiny_bert, review_rows(120))
    tokenize.main()
    recorded = json.loads((workdir / "data/tokenized/source.json").read_text())["settings"]["split"]
    assert recorded == {name: value for name, value in PARAMS["split"].items() if name not in ("folds", "fold")}
    tested = []
    for fold in range(3):
        write_raw(workdir, tiny_bert, review_rows(120), split={"folds": 3, "fold": fold, "validation": 0.1})
        tokenize.main()
        recorded = json.loads((workdir / "data/tokenized/source.json").read_text())["settings"]["split"]
        assert (recorded["folds"], recorded["fold"]) == (3, fold)
        tested += read_rows("test")["row"][:]
    assert sorted(tested) == list(range(120))


def test_dropped_rows_are_counted_and_reported_and_ids_still_point_to_the_source(workdir, tiny_bert, capsys):
    """Texts that differ only in case and spacing are duplicates; numbers are texts."""
    odd = [
        ("", "good", None),
        ("  \n ", "bad", None),
        (None, "good", None),
        ("a plot", "plot", None),
        ("a story", None, None),
    ]
    odd += [("42", "good", None), ("007", "bad", None), ("The  FILM\n", "good", None), ("the film", "bad", None)]
    rows = odd + [(text, label, None) for text, label, _ in review_rows(60)]
    write_raw(workdir, tiny_bert, rows)
    tokenize.main()
    metrics = stage_metrics("data")
    assert metrics["dropped"] == {"empty": 3, "duplicate": 1, "unlabelled": 2, "group": 0, "subset": 0}
    assert "; dropped 3 empty, 1 duplicate, 2 unlabelled\n" in capsys.readouterr().out
    assert sum(metrics["rows"].values()) == len(rows) - 6 == sum(metrics["labels"].values())
    texts = {row["row"]: row["text"] for name in ("train", "validation", "test") for row in read_rows(name)}
    assert texts == {row: text for row, (text, *_) in enumerate(rows) if row not in (0, 1, 2, 3, 4, 8)}


def test_texts_that_show_nothing_are_dropped_and_counted_as_empty(workdir, tiny_bert):
    """Zero-width, control, joining and filling characters; an emoji with a joiner in it stays."""
    unseen = ["\u200b\u200b", "\ufeff", "\x00\x1f", "\u200d \u200c", "\ufe0f", "\u3164\u3164", "\u2800", "\u00ad\u2060"]
    rows = [(text, "good", None) for text in [*unseen, "👩\u200d🚀", "❤\ufe0f"]]
    write_raw(workdir, tiny_bert, rows + [(text, label, None) for text, label, _ in review_rows(60)])
    tokenize.main()
    metrics = stage_metrics("data")
    assert metrics["dropped"] == {"empty": len(unseen), "duplicate": 0, "unlabelled": 0, "group": 0, "subset": 0}
    kept = {row["row"] for name in ("train", "validation", "test") for row in read_rows(name)}
    assert kept == set(range(len(unseen), len(rows) + 60))


def test_truncation_is_counted_and_lengths_are_measured_before_it(workdir, tiny_bert):
    """30 texts of 4 words make 6 tokens, 10 of 18 words make 20; a quarter is cut to 8."""
    short = [
        (f"the film {word} {other}", label, None)
        for word, label in (("great", "good"), ("dull", "bad"))
        for other in FILLER
    ]
    long = [
        (" ".join([word] * 17 + [other]), label, None)
        for word, label in (("great", "good"), ("dull", "bad"))
        for other in FILLER[:5]
    ]
    write_raw(workdir, tiny_bert, short + long, max_length=8, truncation="head_tail")
    tokenize.main()
    metrics = stage_metrics("data")
    assert metrics["truncated"] == 0.25
    assert (metrics["tokens"]["mean"], metrics["tokens"]["p95"]) == (9.5, 20.0)
    cut = [row for name in ("train", "validation", "test") for row in read_rows(name) if row["truncated"]]
    assert len(cut) == 10
    assert all(len(row["input_ids"]) == 8 for row in cut)


def test_a_tokenizer_that_does_not_fit_the_texts_is_measured_and_reported(workdir, tiny_bert, capsys):
    """The tiny vocabulary knows no Chinese character, and every word of the reviews."""
    write_raw(workdir, tiny_bert, [(f"{text}好坏片", label, None) for text, label, _ in review_rows(60)])
    tokenize.main()
    tokens = stage_metrics("data")["tokens"]
    assert 0.05 < tokens["unknown"] < 0.5
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(
        f"warning: the tokenizer of models/base does not fit the texts: {tokens['unknown']:.0%} of the "
    )
    assert line.endswith("choose an encoder for texts like these in model.uri (docs/data.md, Other languages)")
    write_raw(workdir, tiny_bert, review_rows(60))
    tokenize.main()
    tokens = stage_metrics("data")["tokens"]
    assert (tokens["unknown"], tokens["per_word"]) == (0.0, 1.0)
    assert "warning" not in capsys.readouterr().out


def test_a_subset_larger_than_the_split_is_reported(workdir, tiny_bert, capsys):
    """60 rows without groups: a fifth each for validation and test, 36 to train on."""
    rows = [(text, label, None) for text, label, _ in review_rows(60)]
    write_raw(workdir, tiny_bert, rows, split={"train_rows": 500, "test_rows": 12})
    tokenize.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["split.train_rows is 500, but train has only 36 rows: all are used"]


def changed_json(path: Path, **changes):
    """A JSON file with some keys replaced; those with None are removed."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def without_padding(folder: Path, **config):
    """A checkpoint whose tokenizer names no padding token, as `PreTrainedTokenizerFast(tokenizer_file=…)` leaves it."""
    changed_json(folder / "tokenizer_config.json", pad_token=None, tokenizer_class="PreTrainedTokenizerFast")
    changed_json(folder / "config.json", **config)


def test_a_tokenizer_without_a_padding_token_gets_the_one_that_the_config_names(workdir, tiny_bert):
    shutil.copytree(tiny_bert, workdir / "models/base")
    without_padding(workdir / "models/base")
    write_raw(workdir, tiny_bert, review_rows(60))
    (workdir / "models/base/source.json").write_text('{"uri": "tiny"}')
    tokenize.main()
    tokenizer = load_tokenizer("data/tokenized/tokenizer")
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", 0)


@pytest.mark.parametrize("pad_id", [5, 9999])
def test_a_tokenizer_without_any_padding_token_is_refused(workdir, tiny_bert, pad_id):
    """Id 5 is a word of the reviews."""
    shutil.copytree(tiny_bert, workdir / "models/base")
    without_padding(workdir / "models/base", pad_token_id=pad_id)
    write_raw(workdir, tiny_bert, review_rows(60))
    with pytest.raises(
        UserError, match=r"^the tokenizer has no padding token, so .*; choose an encoder with one in model"
    ):
        tokenize.main()


def test_a_tokenizer_of_another_encoder_is_refused(workdir, tiny_bert):
    shutil.copytree(tiny_bert, workdir / "models/base")
    changed_json(workdir / "models/base/config.json", vocab_size=20)
    write_raw(workdir, tiny_bert, review_rows(60))
    with pytest.raises(
        UserError, match=r"^the tokenizer gives the token id 3\d, but the encoder's vocab_size is 20: they do"
    ):
        tokenize.main()


def test_the_source_s_own_splits_are_kept(workdir, tiny_bert):
    rows = [(text, label, None) for text, label, _ in review_rows(100)]
    write_raw(workdir, tiny_bert, rows[:70], name="train", split={"test": 0.5})
    write_raw(workdir, tiny_bert, rows[70:], name="test", split={"test": 0.5})
    tokenize.main()
    assert read_rows("test")["text"][:] == [text for text, *_ in rows[70:]]
    assert len(read_rows("validation")) == 14  # a fifth of 70


def test_the_bytes_are_the_same_on_every_run_on_all_cores_and_for_every_batch_size(workdir, tiny_bert, monkeypatch):
    write_raw(workdir, tiny_bert, review_rows(500))

    def digests():
        tokenize.main()
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(workdir.glob("data/tokenized/**/*"))
            if path.is_file()
        }

    first = digests()
    assert first == digests()
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")  # tests run on one core otherwise
    assert first == digests()
    assert {"train.parquet", "validation.parquet", "test.parquet", "tokenizer.json", "source.json"} <= set(first)
    rows = read_rows("train")[:]
    monkeypatch.setattr(raw, "BATCH", 64)
    tokenize.main()
    assert read_rows("train")[:] == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 65}, "tokenize.max_length must be at most 64, the limit of this encoder, found 65"),
        ({"split": {"train_rows": 1}}, "train has 1 rows and none of them is"),
    ],
)
def test_impossible_settings_are_refused(workdir, tiny_bert, changes, message):
    write_raw(workdir, tiny_bert, review_rows(60), **changes)
    with pytest.raises(UserError, match=message):
        tokenize.main()


@pytest.mark.parametrize("config", ["{}", '{"model_type": "nonesuch"}'])
def test_an_encoder_that_transformers_does_not_know_is_refused(workdir, tiny_bert, config):
    base = workdir / "models/base"
    shutil.copytree(tiny_bert, base)
    write_raw(workdir, tiny_bert, review_rows(60))
    (base / "config.json").write_text(config)
    with pytest.raises(UserError, match=r"models/base/config\.json describes no model that transformers \S+ knows"):
        tokenize.main()


PEAKS = """
import os, sys, tracemalloc
import pyarrow as pa
from finetune.rows import encoding
from stages import tokenize

encoding.MOST_WORDS = 5_000  # remembered, up to a limit that the smaller number of rows must reach too
os.chdir(sys.argv[1])
tokenize.main()  # imports what it needs
tracemalloc.start()
for folder in sys.argv[1:]:
    os.chdir(folder)
    tracemalloc.reset_peak()
    tokenize.main()
    print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory())
"""


def test_no_text_and_no_token_of_past_batches_is_held(workdir, tiny_bert):
    """Growth of the peak memory from 10,000 to 25,000 rows, as Python, numpy and Arrow count it.

    The peak that Linux reports differs from run to run by more than what is looked for here.
    Splitting takes 21 bytes a row, and more while it sorts. A row of this test has a text of 560 bytes
    and 66 tokens: if they were held, they would add 600 bytes as `str`, 560 in Arrow, 590 as a list of ids, 264 as int32.
    """
    counts = (10_000, 25_000)
    for count in counts:
        (workdir / str(count)).mkdir()
        long = "the story of an actor " * 12 + "x" * 280  # one unknown token: many bytes, little work
        rows = [(f"film number {row} {long}", ("good", "bad")[row % 2], None) for row in range(count)]
        write_raw(workdir / str(count), tiny_bert, rows, max_length=64)
    folders = [str(workdir / str(count)) for count in counts]
    done = subprocess.run([sys.executable, "-c", PEAKS, *folders], check=True, capture_output=True, text=True)
    small, large = (int(line) for line in done.stdout.splitlines() if line.isdigit())
    assert 0 < (large - small) / (counts[1] - counts[0]) < 150


def test_a_full_disk_ends_in_one_line(workdir, tiny_bert):
    """A limit of 1,000 bytes per file simulates the full disk. pyarrow prints what fails while it closes a file later."""
    write_raw(workdir, tiny_bert, review_rows(120))
    script = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000));"
        "runpy.run_module('stages.tokenize', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.partition(" (")[0]) == (1, "error: no room to write an output")
