"""`predict` on a folder of tables: one Parquet file for each, resumed after a stop, on a disk and in S3 (moto's server)."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from finetune.base.errors import Stopped, UserError
from finetune.predict.scorer import Job, Scorer, library_versions
from finetune.predict.storage import RemoteFolder
from finetune.scoring.decisions import DECISION
from tests.conftest import ROOT
from tests.support.random_export import random_export
from tests.support.s3_server import bucket_keys, s3_endpoint
from tests.support.tiny import reviews, write_table

ROWS = [{"id": str(number), **row} for number, row in enumerate(reviews(60, seed=3))]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A tiny exported folder; not to be changed."""
    return random_export(tmp_path_factory.mktemp("folder") / "export")


@pytest.fixture(scope="module")
def s3():
    with s3_endpoint() as endpoint:
        endpoint.client.create_bucket(Bucket="reviews")
        yield endpoint


@pytest.fixture
def predict(shipped, workdir):
    """Function that runs the real command and returns what it wrote to stderr, after checking its exit status."""

    def run(*arguments, status: int = 0, **environment) -> str:
        command = [sys.executable, "-m", "finetune.predict", "--model", shipped, "--threads", "1", "--prefix", "p_"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=workdir,
            capture_output=True,
            text=True,
            env=os.environ | environment,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.replace(f"{workdir}/", "")

    return run


def write_folder(folder: Path, names: list[str], rows: int = 20) -> Path:
    """A folder of CSV files, `rows` rows in each, with ids that go on from file to file."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_table(folder / name, ROWS[number * rows : number * rows + rows])
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_part_has_the_bytes_that_predict_writes_for_it_alone(predict, workdir):
    write_folder(workdir / "in", ["a.csv", "2026/b.csv"])
    (workdir / "in/_SUCCESS").touch()
    (workdir / "in/.b.csv.crc").touch()
    said = predict("--input", "in", "--output", "out")
    assert said == "2 parts are in out; this run scored 40 rows\n"
    assert names_in(workdir / "out") == ["2026/b.parquet", "_predict.json", "a.parquet"]
    for name in ("a", "2026/b"):
        predict("--input", f"in/{name}.csv", "--output", "alone.parquet")
        assert (workdir / f"out/{name}.parquet").read_bytes() == (workdir / "alone.parquet").read_bytes()
    assert pq.read_table(workdir / "out/2026/b.parquet").column("id").to_pylist() == [str(n) for n in range(20, 40)]


def test_the_parts_follow_the_decision_of_the_model(shipped, predict, workdir):
    """Its answers are those of `predict` on one table, and parts of another rule are not mixed with them."""
    folder = shutil.copytree(shipped, workdir / "decided")
    (folder / DECISION).write_text('{"min_probability": 0.9}')
    write_folder(workdir / "in", ["a.csv"])
    said = predict("--model", "decided", "--input", "in", "--output", "out")
    assert "in: 20 of 20 rows are unsure and therefore have no label" in said
    predict("--model", "decided", "--input", "in/a.csv", "--output", "alone.parquet")
    assert (workdir / "out/a.parquet").read_bytes() == (workdir / "alone.parquet").read_bytes()
    assert pq.read_table(workdir / "out/a.parquet").column("p_unsure").to_pylist() == [True] * 20
    (folder / DECISION).write_text('{"min_probability": 0.2}')
    refused = predict("--model", "decided", "--input", "in", "--output", "out", status=1)
    assert "out holds parts made with another model" in refused


def test_only_missing_parts_are_made_and_leftovers_of_a_killed_run_go(predict, workdir):
    write_folder(workdir / "in", ["a.csv", "b.csv", "c.csv"])
    predict("--input", "in", "--output", "out")
    kept = (workdir / "out/a.parquet").stat().st_mtime_ns
    whole = (workdir / "out/b.parquet").read_bytes()
    (workdir / "out/b.parquet").rename(workdir / "out/.b.parquet.4711.part")
    said = predict("--input", "in", "--output", "out")
    assert said == "3 parts are in out (2 of them were there already); this run scored 20 rows\n"
    assert (workdir / "out/b.parquet").read_bytes() == whole
    assert (workdir / "out/a.parquet").stat().st_mtime_ns == kept
    assert names_in(workdir / "out") == ["_predict.json", "a.parquet", "b.parquet", "c.parquet"]
    said = predict("--input", "in", "--output", "out")
    assert said == "3 parts are in out (3 of them were there already); this run scored 0 rows\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_continues_with_the_same_bytes(predict, shipped, workdir, number):
    write_folder(workdir / "in", ["a.csv"])
    write_table(workdir / "in/b.csv", [{"id": n, "text": f"{ROWS[n % 60]['text']} {n}"} for n in range(60_000)])
    command = [sys.executable, "-m", "finetune.predict", "--model", shipped, "--threads", "1", "--prefix", "p_"]
    process = subprocess.Popen(
        [*command, "--input", "in", "--output", "out"], cwd=workdir, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list((workdir / "out").glob(".b.parquet.*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    if number == signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 128 + number
        assert (
            said.replace(f"{workdir}/", "")
            == "stopped; 1 of 2 parts are in out, and the same command makes the others\n"
        )
        assert names_in(workdir / "out") == ["_predict.json", "a.parquet"]
    # The rest of a large part is not needed to see that it goes on: a smaller one takes its place.
    write_table(workdir / "in/b.csv", ROWS[:20])
    predict("--input", "in", "--output", "out")
    assert names_in(workdir / "out") == ["_predict.json", "a.parquet", "b.parquet"]
    predict("--input", "in/b.csv", "--output", "alone.parquet")
    assert (workdir / "out/b.parquet").read_bytes() == (workdir / "alone.parquet").read_bytes()


def test_a_part_with_a_mistake_does_not_stop_the_others_and_is_made_once_it_is_fixed(predict, workdir):
    write_folder(workdir / "in", ["a.csv", "b.csv", "c.csv"])
    good = (workdir / "in/b.csv").read_text()
    (workdir / "in/b.csv").write_text(good + '1,"never closed\n')
    said = predict("--input", "in", "--output", "out", status=1).splitlines()
    assert said[0].startswith("error: in/b.csv line 22 opens a double quote that is never closed")
    assert said[1] == (
        "error: 2 of 3 parts are in out; 1 failed (b.csv): fix them and run the same command again, which makes only the "
        "missing ones"
    )
    (workdir / "in/b.csv").write_text(good)
    assert predict("--input", "in", "--output", "out").startswith("3 parts are in out (2 of them were there already)")


def test_rows_without_a_text_are_counted_and_keep_their_place(predict, workdir):
    write_folder(workdir / "in", ["a.csv"])
    write_table(workdir / "in/b.csv", [{"id": "x", "text": " "}, {"id": "y", "text": "good"}, {"id": "z", "text": ""}])
    said = predict("--input", "in", "--output", "out").splitlines()
    assert said[0] == "in: 2 of 23 rows have no text and therefore no label"
    found = pq.read_table(workdir / "out/b.parquet")
    assert [label is None for label in found.column("p_label").to_pylist()] == [True, False, True]


def test_different_columns_in_the_parts_are_reported(predict, workdir):
    write_folder(workdir / "in", ["a.csv"])
    write_table(workdir / "in/b.csv", [{"text": "good", "stars": 3}])
    said = predict("--input", "in", "--output", "out")
    assert "in: the parts have different columns or types, as a.csv and b.csv\n" in said


REFUSED = {
    "empty": (lambda here: (here / "in").mkdir(), "in holds no file, or does not exist; expected tables of one format"),
    "no table": (
        lambda here: (write_folder(here / "in", ["a.csv"]) / "notes.txt").touch(),
        "in holds notes.txt; expected",
    ),
    "formats": (
        lambda here: (write_folder(here / "in", ["a.csv"]) / "b.jsonl").write_text('{"text": "good"}\n'),
        "in holds CSV (a.csv) and JSON Lines (b.jsonl), whose columns have different types; give each format a folder",
    ),
    "one name": (
        lambda here: (write_folder(here / "in", ["a.csv"]) / "a.csv.gz").touch(),
        "in: a.csv and a.csv.gz would both become a.parquet; rename one of them",
    ),
    "a pipe": (
        lambda here: os.mkfifo(write_folder(here / "in", ["a.csv"]) / "b.csv"),
        "in/b.csv is a pipe, expected a file",
    ),
    "others": (
        lambda here: (write_folder(here / "in", ["a.csv"]), write_folder(here / "out", ["old/report.csv"])),
        "out already holds old/report.csv, not written by this command; choose an empty folder",
    ),
    "a part of somebody else": (
        lambda here: (write_folder(here / "in", ["a.csv"]), write_folder(here / "out", ["a.parquet"])),
        "out already holds a.parquet, not written by this command; choose an empty folder",
    ),
    "a damaged record": (
        lambda here: (write_folder(here / "in", ["a.csv"]), write_folder(here / "out", ["_predict.json"])),
        "out/_predict.json is damaged or was written by another program; choose another output folder",
    ),
    "a file": (
        lambda here: (write_folder(here / "in", ["a.csv"]), (here / "out").touch()),
        "out is a file, expected a folder for the scored parts",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_does_not_fit_is_refused_in_one_line_and_nothing_is_written(predict, workdir, case):
    prepare, expected = REFUSED[case]
    prepare(workdir)
    before = names_in(workdir)
    said = predict("--input", "in", "--output", "out", status=1)
    assert said.startswith(f"error: {expected}")
    assert said.count("\n") == 1
    assert names_in(workdir) == before


@pytest.mark.parametrize(("input", "output"), [("in", "in"), ("in", "in/scored"), ("in/raw", "in")])
def test_folders_that_lie_in_each_other_are_refused(predict, workdir, input, output):
    write_folder(workdir / input, ["a.csv"])
    said = predict("--input", input, "--output", output, status=1)
    assert (
        said == f"error: --output {output} and --input {input} lie in each other; choose a folder outside the input\n"
    )


def test_a_resume_with_another_model_other_options_or_changed_input_is_refused(predict, workdir, tmp_path_factory):
    write_folder(workdir / "in", ["a.csv", "b.csv"])
    predict("--input", "in", "--output", "out")
    before = {name: (workdir / "out" / name).read_bytes() for name in names_in(workdir / "out")}
    said = predict("--input", "in", "--output", "out", "--prefix", "q_", status=1)
    assert said.startswith("error: out holds parts made with other options (")
    other = random_export(tmp_path_factory.mktemp("other") / "export", temperature=2.0)
    said = predict("--input", "in", "--output", "out", "--model", str(other), status=1)
    assert said.startswith("error: out holds parts made with another model (")
    write_table(workdir / "in/a.csv", ROWS[:3])
    said = predict("--input", "in", "--output", "out", status=1)
    changed = "since out/a.parquet was made from it; delete that part, or choose another output folder"
    assert said == f"error: a.csv has changed {changed}\n"
    (workdir / "in/a.csv").unlink()
    assert predict("--input", "in", "--output", "out", status=1) == f"error: a.csv is gone {changed}\n"
    assert {name: (workdir / "out" / name).read_bytes() for name in names_in(workdir / "out")} == before


def test_before_the_first_part_options_may_change_and_later_parts_may_be_added(predict, workdir):
    write_folder(workdir / "in", ["a.csv"])
    predict("--input", "in", "--output", "out", "--text-column", "body", status=1)
    predict("--input", "in", "--output", "out")
    write_folder(workdir / "in", ["b.csv"])
    assert predict("--input", "in", "--output", "out").startswith("2 parts are in out (1 of them were there already)")
    assert sorted(json.loads((workdir / "out/_predict.json").read_text())["parts"]) == ["a.parquet", "b.parquet"]


def test_two_processes_do_not_score_into_one_folder(predict, workdir):
    from filelock import FileLock

    write_folder(workdir / "in", ["a.csv"])
    (workdir / "out").mkdir()
    with FileLock(workdir / "out/.predict.lock"):
        said = predict("--input", "in", "--output", "out", status=1)
    assert said == "error: another process is scoring into out; wait for it, or choose another folder\n"


def test_options_that_contradict_each_other_are_refused(predict, workdir):
    write_folder(workdir / "in", ["a.csv"])
    said = predict("--input", "in", status=1)
    assert said == "error: --input in is a folder; name the folder for the scored parts with --output\n"
    said = predict("--input", "in/a.csv", "--output", "b.csv", "--ray", "auto", status=1)
    assert said.startswith("error: --ray needs a folder: --input FOLDER --output FOLDER")


def test_without_ray_the_option_says_how_to_install_it(predict, workdir):
    """A module of this name that cannot be imported stands for a missing one, so that the test runs with Ray too."""
    write_folder(workdir / "in", ["a.csv"])
    (workdir / "hidden").mkdir()
    (workdir / "hidden/ray.py").write_text("raise ImportError('ray')")
    environment = {"PYTHONPATH": f"{workdir}/hidden:{ROOT}"}
    said = predict("--input", "in", "--output", "out", "--ray", "auto", status=1, **environment)
    assert said == (
        "error: --ray needs Ray, which is not installed; run `make cluster`, or `pip install -r requirements-cluster.txt "
        "-c constraints.txt`\n"
    )
    assert not (workdir / "out").exists()


def test_a_bucket_is_scored_into_another_one_and_resumed(predict, workdir, s3):
    write_folder(workdir / "in", ["a.csv", "2026/b.csv"])
    predict("--input", "in", "--output", "out")
    for name in names_in(workdir / "in"):
        s3.write("reviews", f"raw/{name}", (workdir / "in" / name).read_bytes())
    s3.write("reviews", "raw/", b"")  # the mark of a console for a folder
    folders = ["--input", "s3://reviews/raw/", "--output", "s3://reviews/scored"]
    temporary = workdir / "temporary"
    temporary.mkdir()
    environment = s3.environment | {"TMPDIR": str(temporary)}
    said = predict(*folders, **environment)
    assert said == "2 parts are in s3://reviews/scored; this run scored 40 rows\n"
    scored = [key for key in bucket_keys(s3, "reviews") if key.startswith("scored/")]
    assert scored == ["scored/2026/b.parquet", "scored/_predict.json", "scored/a.parquet"]
    for name in ("a.parquet", "2026/b.parquet"):
        assert s3.read("reviews", f"scored/{name}") == (workdir / "out" / name).read_bytes()
    s3.client.delete_object(Bucket="reviews", Key="scored/a.parquet")
    assert "(1 of them were there already); this run scored 20 rows" in predict(*folders, **environment)
    assert list(temporary.glob("finetune-predict-*")) == []  # a client of S3 leaves a file of its own
    s3.write("reviews", "raw/a.csv", b"id,text\n1,good\n")
    assert predict(*folders, status=1, **environment).startswith(
        "error: a.csv has changed since s3://reviews/scored/a.parquet"
    )
    s3.write("reviews", "one/a.csv", b"id,text\n1,good\n")
    said = predict("--input", "s3://reviews/one/a.csv", "--output", "s3://reviews/new", status=1, **environment)
    assert said == "error: s3://reviews/one/a.csv is a file, expected a folder; name the folder that holds it\n"
    said = predict("--input", "s3://nowhere/raw", "--output", "s3://reviews/new", status=1, **environment)
    assert said.startswith("error: s3://nowhere/raw holds no file, or does not exist")
    said = predict("--input", "s3://reviews/raw", "--output", "s3://reviews", status=1, **environment)
    assert "lie in each other" in said
    said = predict("--input", "s3://reviews/one", "--output", "s3://nowhere/new", status=1, **environment)
    assert said.startswith("error: s3://nowhere/new")
    assert said.count("\n") == 1


def test_an_upload_that_breaks_leaves_no_part_and_the_next_run_makes_it(predict, s3):
    s3.write("reviews", "few/a.csv", b"id,text\n1,good\n")
    folders = ["--input", "s3://reviews/few", "--output", "s3://reviews/broken"]
    with s3.cut_in_the_middle() as cut:
        said = predict("--input", "in", *folders[2:], status=1, **s3.environment | {"AWS_ENDPOINT_URL": cut.url})
    assert said.count("\n") == 1
    assert not [key for key in bucket_keys(s3, "reviews") if key.startswith("broken/")]
    assert predict(*folders, **s3.environment).startswith("1 parts are in s3://reviews/broken")


@pytest.mark.usefixtures("workdir")
def test_a_worker_with_other_libraries_or_without_the_folder_says_which():
    """On a cluster, the line that a worker's machine sends back names the machine."""
    here, wanted = library_versions(), library_versions() | {"numpy": "1.0"}
    job = Job("in", "out", ["text"], "", 1, wanted)
    with pytest.raises(
        UserError, match=rf" has numpy {re.escape(here['numpy'])} instead of 1\.0; run `make cluster` there"
    ):
        Scorer(job, {}).ready()
    with pytest.raises(UserError, match="/out; name a folder that all machines share"):
        Scorer(job._replace(libraries=here), {}).ready()


def test_a_stop_is_no_error_of_the_store():
    with pytest.raises(Stopped), RemoteFolder("memory://in").reached("part.csv"):
        raise Stopped("stopped", 143)
