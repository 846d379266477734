"""What is committed belongs together: `dvc.lock` is about these sources, these parameters and these metrics.

A failure means that something was edited after the last run: `make repro`, and commit `dvc.lock` and `metrics/`.
"""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from finetune.params import Loader, parse_yaml
from tests.conftest import ROOT

LOCK = yaml.load((ROOT / "dvc.lock").read_text(encoding="utf-8"), Loader)["stages"]
PIPELINE = yaml.load((ROOT / "dvc.yaml").read_text(encoding="utf-8"), Loader)["stages"]
# A fresh clone has nothing of what is in DVC's cache, and nothing of what you put into data/local.
CACHED = [out for stage in PIPELINE.values() for out in stage["outs"]] + ["data/local"]
RUN_AGAIN = "changed since the last run; run `make repro` and commit dvc.lock and metrics/"


def md5(path: Path) -> str:
    """MD5 of a file, or of a folder as DVC writes it: that of the sorted list of its files and their MD5, in JSON."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = [
        {"md5": md5(file), "relpath": file.relative_to(path).as_posix()} for file in path.rglob("*") if file.is_file()
    ]
    listed = json.dumps(sorted(files, key=lambda file: file["relpath"]), sort_keys=True)
    return hashlib.md5(listed.encode()).hexdigest() + ".dir"


def recorded(stage: str) -> dict[str, str]:
    """MD5 of everything in Git that a stage read or wrote, by its path."""
    entries = [*LOCK[stage]["deps"], *LOCK[stage]["outs"]]
    return {
        entry["path"]: entry["md5"]
        for entry in entries
        if not any(entry["path"] == out or entry["path"].startswith(f"{out}/") for out in CACHED)
    }


def test_a_folder_has_the_md5_that_dvc_gives_it(tmp_path):
    """By hand: printf '[{"md5": "%s", "relpath": "b/c"}]' "$(printf x | md5sum | cut -c -32)" | md5sum."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c").write_text("x")
    listed = '[{"md5": "9dd4e461268c8034f5c8564e155c67a6", "relpath": "b/c"}]'
    assert md5(tmp_path) == hashlib.md5(listed.encode()).hexdigest() + ".dir"


def test_the_record_is_about_the_stages_of_dvc_yaml():
    assert set(LOCK) == set(PIPELINE)
    for name, stage in PIPELINE.items():
        assert {entry["path"] for entry in LOCK[name]["deps"]} == set(stage["deps"]), name


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_was_run_with_these_sources_and_left_these_metrics(stage):
    before = recorded(stage)
    assert f"stages/{stage}.py" in before
    written = [
        path for entry in PIPELINE[stage].get("metrics", []) + PIPELINE[stage].get("plots", []) for path in entry
    ]
    assert set(written) <= set(before)
    assert [path for path, known in before.items() if md5(ROOT / path) != known] == [], RUN_AGAIN


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_was_run_with_these_parameters(stage):
    params = parse_yaml(ROOT / "params.yaml")
    used = LOCK[stage]["params"]["params.yaml"]
    assert used == {section: params[section] for section in PIPELINE[stage]["params"]}, RUN_AGAIN
