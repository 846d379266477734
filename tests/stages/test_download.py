"""The stage `download`: raw rows, their labels and their origin; one line for each mistake a user can fix."""

import copy
import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save_file

from finetune.base.errors import UserError
from stages import download
from tests.support.project import PARAMS

CSV = "text,label,film\nfine,good,A\nawful,bad,A\nso so, ,B\nodd,weird,\n great , good ,C\n"
NONE = {"sha256": None, "labels": None, "group": None}


@pytest.fixture
def project(workdir):
    """Writes a project with a local table and model; keywords change the parameters of `data` and `model`."""
    model = workdir / "data/local/model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "vocab.txt").write_text("[PAD]\n")
    save_file({"weight": np.zeros(1000, np.float32)}, model / "model.safetensors")

    def project(
        table: str = CSV,
        name: str = "reviews.csv",
        model: dict | None = None,
        baseline: dict | None = None,
        gate: dict | None = None,
        **data,
    ):
        params = copy.deepcopy(PARAMS)
        params["baseline"]["zero_shot"]["prompts"] = None
        params["baseline"] |= baseline or {}
        params["gate"] = gate or {}
        params["data"] |= {"uri": f"data/local/{name}", "text": "text", "label": "label", **NONE, **data}
        params["model"] |= {"uri": "data/local/model", "sha256": None, **(model or {})}
        (workdir / "params.yaml").write_text(yaml.safe_dump(params))
        path = workdir / "data/local" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table)

    return project


def raw(name: str = "all") -> list[tuple]:
    """Rows of a file in data/raw."""
    table = pq.read_table(f"data/raw/{name}.parquet")
    assert table.schema.names == ["text", "label", "group"]
    return [tuple(row.values()) for row in table.to_pylist()]


def source(folder: str = "data/raw") -> dict:
    return json.loads(Path(folder, "source.json").read_text(encoding="utf-8"))


def labels_of(*values: str) -> str:
    """A table with one row for each label."""
    return "text,label\n" + "".join(f"text,{value}\n" for value in values)


def written() -> dict[str, bytes]:
    """Content of every file the stage wrote."""
    files = [file for folder in ("data/raw", "models/base") for file in Path(folder).rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


def test_rows_are_kept_as_they_are_except_that_labels_are_trimmed(project):
    """`tokenize` counts the row labelled weird, which data.labels lacks, and the row without a label."""
    project(labels={"bad": "negative", "good": "positive"}, group="film")
    download.main()
    assert raw() == [
        ("fine", "good", "A"),
        ("awful", "bad", "A"),
        ("so so", None, "B"),
        ("odd", "weird", None),
        (" great ", "good", "C"),
    ]
    assert source() == {
        "uri": "data/local/reviews.csv",
        "sha256": hashlib.sha256(CSV.encode()).hexdigest(),
        "rows": {"all": 5},
        "labels": {"bad": "negative", "good": "positive"},
    }
    assert source("models/base") == {"uri": "data/local/model"}
    assert set(written()) == {"data/raw/all.parquet", "data/raw/source.json"} | {
        f"models/base/{name}" for name in ("config.json", "vocab.txt", "model.safetensors", "source.json")
    }


def test_a_folder_becomes_a_file_for_each_split(project):
    project(labels_of("a", "b"), "mine/train.csv")
    project(labels_of("b"), "mine/dev.csv", uri="data/local/mine")
    download.main()
    assert raw("train") == [("text", "a", None), ("text", "b", None)]
    assert raw("validation") == [("text", "b", None)]
    assert source() == {
        "uri": "data/local/mine",
        "rows": {"train": 2, "validation": 1},
        "labels": {"a": "a", "b": "b"},
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "C"], ["C", "a", "b"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["--5", "1"], ["--5", "1"]),
        (["02", "1"], ["1", "02"]),
        (["差评", "好评"], ["好评", "差评"]),
        ([" a", "a ", "b", ""], ["a", "b"]),
    ],
)
def test_labels_of_the_data_set_itself_are_sorted(project, values, expected):
    """好 is U+597D, 差 is U+5DEE."""
    project(labels_of(*values))
    download.main()
    assert list(source()["labels"].items()) == [(value, value) for value in expected]


def test_several_raw_values_may_share_a_name(project):
    labels = {"1": "negative", "2": "negative", "4": "positive", "5": "positive"}
    project(labels_of("1", "5", "3"), labels=labels)
    download.main()
    assert source()["labels"] == labels


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        (
            labels_of("good", "good", "bad", ""),
            {"labels": {"good": "positive", "bda": "negative"}},
            "data.labels: no row holds 'bda', which stands for 'negative'; column 'label' holds 'good' (2), 'bad' (1)",
        ),
        (labels_of("a", "a"), {}, "a classifier needs at least two labels; column 'label' holds 'a' (2)"),
        (labels_of("a", "b"), {"labels": {"a": "x", "b": "x"}}, "a classifier needs at least two labels"),
        (labels_of(), {}, "data/local/reviews.csv has no row; expected rows below the names of the columns"),
        (labels_of("", " "), {}, "a classifier needs at least two labels; column 'label' holds no value"),
        (
            labels_of(*map(str, range(1001))),
            {},
            "column 'label' holds more than 1,000 different values, so it is probably not a label",
        ),
        (CSV, {"label": "sentiment"}, "reviews.csv has no column 'sentiment'; its columns are text, label, film"),
        (CSV, {"group": "movie"}, "reviews.csv has no column 'movie'; its columns are text, label, film"),
        (CSV, {"uri": "data/local/nope.csv"}, "data/local/nope.csv does not exist; put the file there"),
        (CSV, {"sha256": "0" * 64}, "reviews.csv has the SHA-256 "),
        (
            CSV,
            {"uri": "data/local", "sha256": "0" * 64},
            "data.sha256 must be null for a folder of files, and data/local is one",
        ),
        (CSV, {"model": {"uri": "data/local/nope"}}, "data/local/nope does not exist"),
        (CSV, {"model": {"uri": "data/local/reviews.csv"}}, "data/local/reviews.csv must be a folder with a config"),
        (CSV, {"model": {"sha256": "0" * 64}}, "model.safetensors has the SHA-256 "),
    ],
)
def test_a_source_that_cannot_be_used_is_reported_in_one_line(project, table, settings, message):
    project(table, **settings)
    with pytest.raises(UserError) as caught:
        download.main()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        (
            "baseline",
            {"zero_shot": {"prompts": {"bad": "x", "god": "y"}, "template": "{text}{label}"}},
            "baseline.zero_shot.prompts must have one prompt for each of the labels bad, good (or be null, for the label "
            "names), found bad, god",
        ),
        (
            "gate",
            {"test.per_class.positive.f1": {"min": 0.5}},
            "gate.test.per_class.positive.f1 must name one of the labels bad, good",
        ),
        (
            "gate",
            {"folds.per_class.positive.f1": {"min": 0.5}},
            "gate.folds.per_class.positive.f1 must name one of the labels bad, good",
        ),
    ],
)
def test_settings_for_other_labels_are_refused_before_the_model_is_fetched(project, section, value, message):
    """They belong to later stages; a baseline that is switched off needs no prompts."""
    project(labels_of("bad", "good"), **{section: value})
    with pytest.raises(UserError) as caught:
        download.main()
    assert str(caught.value) == message
    assert not Path("models/base").exists()
    project(labels_of("bad", "good"), **{section: value | {"skip": ["zero_shot"]} if section == "baseline" else {}})
    download.main()


def test_a_model_without_the_file_that_its_checksum_is_of_is_refused(project):
    Path("data/local/model/model.safetensors").rename("data/local/model/pytorch_model.bin")
    project(model={"sha256": "0" * 64})
    with pytest.raises(
        UserError, match=r"^model\.sha256 is that of model\.safetensors, which data/local/model does not hold"
    ):
        download.main()


def test_the_right_checksums_pass_and_are_recorded(project):
    weights = hashlib.sha256(Path("data/local/model/model.safetensors").read_bytes()).hexdigest()
    project(sha256=hashlib.sha256(CSV.encode()).hexdigest(), model={"sha256": weights})
    download.main()
    assert source("models/base")["sha256"] == weights


def test_a_second_run_writes_the_same_bytes(project):
    project()
    download.main()
    first = written()
    download.main()
    assert written() == first


def test_no_file_of_an_earlier_source_remains(project):
    project()
    download.main()
    Path("models/base/model.safetensors.index.json").write_text("{}")
    project(labels_of("a", "b"), "mine/train.csv", uri="data/local/mine")
    download.main()
    assert not Path("data/raw/all.parquet").exists()
    assert not Path("models/base/model.safetensors.index.json").exists()


def test_data_in_the_output_folder_is_refused_and_kept(project):
    project(name="../raw/mine.csv", uri="data/raw/mine.csv")
    with pytest.raises(
        UserError, match=r"^data/raw/mine\.csv lies in data/raw, which this stage clears before it writes"
    ):
        download.main()
    assert Path("data/raw/mine.csv").read_text() == CSV


def test_a_model_in_the_output_folder_is_refused_and_kept(project):
    Path("models").mkdir()
    Path("data/local/model").rename("models/base")
    project(model={"uri": "models/base"})
    with pytest.raises(UserError, match=r"^models/base lies in models/base, which this stage clears"):
        download.main()
    assert Path("models/base/model.safetensors").is_file()


def run_stage(largest_file: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess:
    """`python -m stages.download`, with a limit on the size of a file to simulate a full disk."""
    code = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}));"
        "runpy.run_module('stages.download', run_name='__main__', alter_sys=True)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_stage_ends_with_one_line_if_its_output_cannot_be_written(project):
    project()
    Path("data/raw").write_text("in the way")
    stage = run_stage()
    assert stage.returncode == 1
    assert stage.stderr == "error: data/raw must be a folder, found a file; move it away and run `dvc repro` again\n"


@pytest.mark.parametrize(("limit", "file"), [(500, "an output"), (3000, "models/base/model.safetensors")])
def test_the_stage_ends_with_one_line_if_the_disk_is_full(project, limit, file):
    """The rows take about 1,500 bytes, the weights 4,000."""
    project()
    stage = run_stage(largest_file=limit)
    assert stage.returncode == 1
    assert stage.stderr.startswith(f"error: no room to write {file} (")
    assert stage.stderr.count("\n") == 1
