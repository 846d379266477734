"""Metrics in two files: the headline that DVC compares and the detail, joined again under the same names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.base.metric_files import FILES, joined, split_metrics, stage_metrics, write_metrics

NAMES = st.sampled_from(["f1", "accuracy", "a.b", "best", "", "*"])
METRICS = st.recursive(
    st.integers(), lambda inner: st.dictionaries(NAMES, inner) | st.lists(st.integers()), max_leaves=12
)


def test_a_key_takes_all_below_it_and_a_star_stands_for_any_name():
    metrics = {
        "best": "tfidf",
        "tfidf": {"accuracy": 0.8, "interval": {"low": 0.7}, "per_class": {"a.b": {"f1": 0.5, "rows": [1]}}},
        "zero.shot": {"accuracy": 0.6},
        "skipped": {"why": "no prompts"},
        "majority": {"accuracy": 0.5, "absent": []},
    }
    headline, detail = split_metrics(metrics, ("best", "*.accuracy"))
    assert headline == {
        "best": "tfidf",
        "tfidf": {"accuracy": 0.8, "per_class": {"a.b": {"rows": [1]}}},
        "zero.shot": {"accuracy": 0.6},
        "majority": {"accuracy": 0.5, "absent": []},
    }
    assert detail == {
        "tfidf": {"interval": {"low": 0.7}, "per_class": {"a.b": {"f1": 0.5}}},
        "skipped": {"why": "no prompts"},
    }
    assert split_metrics({"rows": {"test": 3}, "tokens": {}}, ("rows",)) == ({"rows": {"test": 3}}, {"tokens": {}})


@given(st.dictionaries(NAMES, METRICS), st.lists(st.sampled_from(["f1", "*.accuracy", "best.f1", "a.b", "*.*.f1"])))
def test_headline_and_detail_join_to_the_same_metrics(metrics, keys):
    headline, detail = split_metrics(metrics, tuple(keys))
    assert joined(headline, detail) == metrics


def test_a_stage_reads_what_an_earlier_stage_wrote_and_names_a_missing_file(workdir):
    test = {"accuracy": 0.84, "per_class": {"bad": {"f1": 0.8}}, "interval": {"low": 0.8, "high": 0.9}}
    write_metrics("test", test)
    assert json.loads((workdir / "metrics/test.json").read_text()) == {
        "accuracy": 0.84,
        "interval": {"low": 0.8, "high": 0.9},
    }
    assert stage_metrics("test") == test
    write_metrics("slices", {"worst": {"accuracy": 0.5}})
    assert [path.name for path in sorted(workdir.glob("metrics/*.json"))] == ["test.json"]
    assert stage_metrics("slices") == {"worst": {"accuracy": 0.5}}
    (workdir / "metrics/detail/evaluate/test.json").unlink()
    with pytest.raises(FileNotFoundError, match="metrics/detail/evaluate/test.json"):
        stage_metrics("test")


def test_every_headline_is_a_metrics_file_of_its_stage_and_every_detail_folder_a_part_of_it():
    """dvc.yaml and the table of files name the same."""
    import yaml

    from tests.conftest import ROOT

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        files = [file for file, (writer, keys) in FILES.items() if writer == name and keys]
        details = {f"metrics/detail/{name}"} if any(writer == name for writer, _ in FILES.values()) else set()
        assert [path for entry in stage.get("metrics", []) for path in entry] == [
            f"metrics/{file}.json" for file in files
        ]
        plots = {path for entry in stage.get("plots", []) for path in entry}
        assert {path for path in plots if path.startswith("metrics/detail")} == details
