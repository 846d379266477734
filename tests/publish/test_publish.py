"""Real publishing without a network: to a folder, to S3 (moto's server) and to a Hub on loopback."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from finetune.base.errors import UserError
from finetune.base.files import csv_writer
from finetune.publish import __main__ as command_line
from finetune.publish import folder as publish_folder
from finetune.publish import s3 as publish_s3
from finetune.publish.record import SUMS, record_of, relative_files
from finetune.publish.s3 import RECORD
from finetune.publish.sagemaker import PACKAGES, write_archive
from finetune.publish.sagemaker_handler import input_fn, output_fn
from finetune.runtime.classifier import Classifier
from tests.conftest import ROOT
from tests.support.export_project import NAMES
from tests.support.hub_server import Hub
from tests.support.imports import all_imports
from tests.support.loopback import closed_port
from tests.support.project import Project
from tests.support.s3_server import CREDENTIALS, bucket_keys, s3_endpoint

# One test process exports the tiny project once for all tests that use it.
pytestmark = pytest.mark.xdist_group("exported")

TEXTS = ["the film is great", "a dull and boring story", "一 great film"]


@pytest.fixture
def project(exported, tmp_path) -> Project:
    """A copy of the exported project that a test may change."""
    return exported.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def s3():
    with s3_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


def publish(project: Project, to, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the command in a separate process."""
    return project.run(sys.executable, "-m", "finetune.publish", str(to), *options, check=False, **environment)


SEND = """
import sys
from pathlib import Path

from finetune.base.command import run
from finetune.publish import hub, s3


def main():
    service = hub if sys.argv[1].startswith("hf://") else s3
    print(service.publish(Path("models/export"), service.parse_destination(sys.argv[1])))


raise SystemExit(run(main))
"""


def send(project: Project, to: str, **environment: str) -> subprocess.CompletedProcess:
    """The command without its checks of gate and pipeline, whose imports take most of its time."""
    return project.run(sys.executable, "-c", SEND, to, check=False, **environment)


def succeeded(done: subprocess.CompletedProcess) -> str:
    """Stdout of a command that succeeded."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(done: subprocess.CompletedProcess) -> str:
    """The one-line error of a command that was refused; clients may have logged retries before it."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    return last.removeprefix("error: ")


@pytest.fixture
def publish_here(monkeypatch):
    """Function that publishes in this process, which saves starting one."""

    def run(project: Project, to):
        for name, value in project.environment.items():
            if name.startswith("DVC_"):
                monkeypatch.setenv(name, value)
        monkeypatch.chdir(project.folder)
        monkeypatch.setattr(sys, "argv", ["publish", str(to)])
        command_line.main()

    return run


@pytest.fixture
def refused_here(publish_here):
    """Function that publishes in this process and returns the one-line refusal."""

    def run(project: Project, to) -> str:
        with pytest.raises(UserError) as caught:
            publish_here(project, to)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder, by relative path."""
    return {name: (folder / name).read_bytes() for name in relative_files(folder)}


def hub_settings(hub: Hub, token: str | None = "hf_writer") -> dict[str, str]:
    """Environment of a client that talks to the Hub on loopback, by LFS."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return settings | ({"HF_TOKEN": token} if token else {})


# Checks before anything is published.


def test_nothing_is_published_if_the_gate_does_not_hold(project, tmp_path):
    params = project.params()
    project.write_params(params | {"gate": {"test.accuracy": {"min": 0.99}, "test.nothing": {"max": 1}}})
    message = refusal(publish(project, tmp_path / "out"))
    assert "the gate does not hold: test.accuracy is 0.8125, wanted at least 0.99; test.nothing is -" in message
    assert not (tmp_path / "out").exists()


def test_a_model_under_the_name_of_other_data_is_not_published(project, refused_here, tmp_path):
    project.set_param("export.name", "film-review-sentiment")
    message = refused_here(project, tmp_path / "out")
    assert message.startswith(
        "export.name is film-review-sentiment, the name of another data set's model, and data.uri is "
    )
    assert not (tmp_path / "out").exists()


def changed_byte(folder: Path):
    path = folder / "models/export/model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def missing_file(folder: Path):
    (folder / "models/export/tokenizer.json").unlink()


def added_file(folder: Path):
    (folder / "models/export/notes.txt").write_text("mine")


def missing_folder(folder: Path):
    shutil.rmtree(folder / "models/export")


def other_name(folder: Path):
    text = (folder / "params.yaml").read_text().replace("name: tiny", "name: other")
    (folder / "params.yaml").write_text(text)


def other_metrics(folder: Path):
    path = folder / "metrics/test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": 0.99}))


def other_export_metrics(folder: Path):
    path = folder / "metrics/export.json"
    path.write_text(path.read_text().replace("1.0", "0.5"))


def metrics_gone(folder: Path):
    (folder / "metrics/detail/evaluate/slices.json").unlink()


def changed_byte_without_a_cache(folder: Path):
    shutil.rmtree(folder / ".dvc/cache")
    changed_byte(folder)


def no_lock(folder: Path):
    (folder / "dvc.lock").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed_byte,
            "models/export is not the folder that dvc.lock names; restore that with `dvc checkout --force",
        ),
        (missing_file, "models/export is not the folder that dvc.lock names"),
        (added_file, "models/export is not the folder that dvc.lock names"),
        (missing_folder, "models/export is missing; get it from a remote with `dvc pull models/export`"),
        (other_name, "the pipeline is not up to date (export: params.yaml export modified); run `dvc repro` first"),
        (other_metrics, "not up to date (export: metrics/test.json modified)"),
        (other_export_metrics, "not up to date (export: metrics/export.json modified)"),
        (metrics_gone, "not up to date (export: metrics/detail/evaluate modified)"),
        (changed_byte_without_a_cache, "models/export is not the folder that dvc.lock names"),
        (no_lock, "there is no dvc.lock that names models/export"),
    ],
)
def test_only_what_dvc_lock_names_is_published(project, refused_here, tmp_path, change, message):
    change(project.folder)
    assert message in refused_here(project, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("gs://bucket/model", "expected hf://OWNER/NAME, s3://BUCKET/KEY or a folder"),
        ("", "expected hf://OWNER/NAME"),
        ("s3:/bucket/key", "cannot publish to 's3:/bucket/key'; expected hf://OWNER/NAME, s3://BUCKET/KEY or a folder"),
        ("hf:owner/name", "expected hf://OWNER/NAME"),
        ("hf://name", "must have the form hf://OWNER/NAME"),
        ("hf://datasets/owner/name", "must have the form hf://OWNER/NAME"),
        ("hf://owner/name#part", "must have the form hf://OWNER/NAME"),
        ("s3://", "must have the form s3://BUCKET/KEY"),
        ("s3://KEY:HUSH@bucket/key", "the destination must not hold a password, token or signature"),
        ("s3://HUSH@bucket/key", "the destination must not hold a password, token or signature"),
        ("s3://bucket/key?X-Amz-Signature=HUSH", "the destination must not hold a password, token or signature"),
        ("hf://user:HUSH@owner/name", "the destination must not hold a password, token or signature"),
        ("data/raw/copy", "cannot publish to data/raw/copy: data/ is the pipeline's own"),
        (".git/copy", ".git/ is the pipeline's own"),
        ("s3://[bucket/key", "s3://[bucket/key must have the form s3://BUCKET/KEY"),
    ],
)
@pytest.mark.usefixtures("workdir")
def test_an_impossible_destination_is_reported_before_any_check(monkeypatch, destination, message):
    monkeypatch.setattr(sys, "argv", ["publish", destination])
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        command_line.main()
    assert "HUSH" not in str(refused.value)


def test_the_exported_folder_cannot_hold_a_copy_of_itself(exported, refused_here):
    assert "cannot publish into models/export" in refused_here(exported, "models/export/copy")


def test_a_link_into_the_exported_folder_is_refused_too(project, refused_here, tmp_path):
    before = contents(project.folder / "models/export")
    (tmp_path / "link").symlink_to(project.folder / "models/export")
    assert "cannot publish into models/export" in refused_here(project, tmp_path / "link" / "sub")
    assert contents(project.folder / "models/export") == before
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert "is not a folder but a link" in refused_here(project, tmp_path / "round")


@pytest.mark.parametrize("place", ["/", ".", "..", "./", "models/..", "link"])
def test_the_project_and_the_folders_around_it_are_no_destination(project, refused_here, tmp_path, place):
    (tmp_path / "project/link").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    message = f"cannot publish to {place}, which holds this project; choose a folder of its own for the model"
    assert refused_here(project, place) == message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("kind", ["file", "pipe", "device"])
def test_what_is_no_folder_is_refused_before_any_check(monkeypatch, kind):
    """The current folder is no DVC project, so any check would complain about that."""
    os.mkfifo("pipe")
    Path("file").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["publish", "/dev/null" if kind == "device" else kind])
    with pytest.raises(UserError, match=" is not a folder; choose one that is empty or does not exist"):
        command_line.main()
    assert Path("file").read_text() == "mine"


@pytest.mark.usefixtures("workdir")
def test_a_name_that_no_folder_can_have_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["publish", "a" * 300])
    with pytest.raises(UserError, match=r"^not published: \[Errno 36\] File name too long: .*; make the destination"):
        command_line.main()


def test_the_exported_folder_alone_suffices_as_after_a_pull(project, publish_here, tmp_path):
    for absent in (".dvc/cache", "models/finetuned", "data"):
        shutil.rmtree(project.folder / absent)
    publish_here(project, tmp_path / "out")
    assert (tmp_path / "out" / SUMS).is_file()


def test_a_running_dvc_command_stops_publishing(project, refused_here, tmp_path):
    script = "import time; from dvc.repo import Repo, lock_repo\nwith lock_repo(Repo()): print('locked', flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", script], cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "locked\n"
        assert "another `dvc` command is running here" in refused_here(project, tmp_path / "out")
    finally:
        holder.kill()
        holder.communicate()


def test_the_gate_judges_metrics_written_until_dvc_s_lock_is_free(project, tmp_path):
    """Between the start and the lock, the script does what a finishing `dvc repro` does: it writes metrics and dvc.lock."""
    script = (
        "import contextlib, dvc.repo, json, pathlib, runpy, subprocess, sys\n"
        "real = dvc.repo.lock_repo\n"
        "@contextlib.contextmanager\n"
        "def lock_repo(repo):\n"
        "    dvc.repo.lock_repo = real\n"
        "    path = pathlib.Path('metrics/test.json')\n"
        "    path.write_text(json.dumps(json.loads(path.read_text()) | {'accuracy': 0.25}))\n"
        "    subprocess.run(['dvc', 'commit', '--quiet', '--force', 'export'], check=True)\n"
        "    with real(repo): yield\n"
        "dvc.repo.lock_repo = lock_repo\n"
        f"sys.argv = ['publish', {str(tmp_path / 'out')!r}]\n"
        "runpy.run_module('finetune.publish', run_name='__main__')\n"
    )
    message = refusal(project.run(sys.executable, "-c", script, check=False))
    assert "the gate does not hold: test.accuracy is 0.25, wanted at least 0.5" in message
    assert not (tmp_path / "out").exists()


def test_a_running_stage_stops_publishing_but_a_killed_one_does_not(project, publish_here, refused_here, tmp_path):
    pipeline = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    pipeline["stages"]["export"]["cmd"] = "rm -rf models/export; echo started > started; sleep 60"
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    shutil.copytree(project.folder / "models/export", tmp_path / "export")
    running = subprocess.Popen(
        ["dvc", "repro", "--quiet", "export"], cwd=project.folder, env=project.environment, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (project.folder / "started").exists():
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.1)
        message = refused_here(project, tmp_path / "out")
        assert "a stage is running; wait until it has finished" in message
        assert f"(PID {running.pid}): " in message
        assert not (tmp_path / "out").exists()
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    assert str(running.pid) in (project.folder / ".dvc/tmp/rwlock").read_text()  # left behind by DVC
    project.run("git", "checkout", "-q", ".")
    shutil.copytree(tmp_path / "export", project.folder / "models/export")
    publish_here(project, tmp_path / "out")
    assert (tmp_path / "out" / SUMS).is_file()


# To a folder.


def test_a_folder_is_published_with_checksums_and_published_again(project, tmp_path):
    target = tmp_path / "new" / "model"
    assert f"published to {target}" in succeeded(publish(project, target))
    found = contents(target)
    sums = found.pop(SUMS).decode()
    assert found == contents(project.folder / "models/export")
    first, second, *_ = sums.splitlines()
    assert first.startswith("# This list was written by finetune.publish: ")
    assert second == f"{hashlib.sha256(found['README.md']).hexdigest()}  README.md"
    check = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    checked = subprocess.run(check, cwd=target, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert Classifier(target).labels == NAMES

    # Another model replaces it, and nothing of the old one remains.
    (project.folder / "models/export/tokenizer_config.json").unlink()
    project.dvc("commit", "--force", "export")
    succeeded(publish(project, target))
    assert {name: content for name, content in contents(target).items() if name != SUMS} == contents(
        project.folder / "models/export"
    )
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_a_folder_that_holds_something_else_is_left_alone(exported, publish_here, refused_here, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    publish_here(exported, mine)  # an empty folder may be used
    (mine / "thesis.txt").write_text("years of work")
    message = refused_here(exported, mine)
    assert "holds thesis.txt, which was not published there" in message
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes").write_text("x")
    assert "holds notes, which was not published there" in refused_here(exported, other)
    assert "is not a folder" in refused_here(exported, other / "notes")
    message = refused_here(exported, other / "notes" / "below")
    assert "make the destination writable, or choose another" in message
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert contents(other) == {"notes": b"x"}


def with_sums_of_its_own(folder: Path):
    """Replaces the folder by a user's, with a list that `sha256sum` wrote."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    listed = subprocess.run(["sha256sum", "thesis.txt"], cwd=folder, capture_output=True, check=True)
    (folder / SUMS).write_bytes(listed.stdout)


def with_a_file_put_on_the_list(folder: Path):
    (folder / "thesis.txt").write_text("years of work")
    listed = subprocess.run(["sha256sum", "thesis.txt"], cwd=folder, capture_output=True, check=True)
    (folder / SUMS).write_bytes((folder / SUMS).read_bytes() + listed.stdout)


def with_a_list_in_latin_1(folder: Path):
    (folder / SUMS).write_bytes(f"{'0' * 64}  café\n".encode("latin-1"))


def with_an_edited_card(folder: Path):
    (folder / "README.md").write_text("edited by hand")


def with_a_file_missing(folder: Path):
    (folder / "README.md").unlink()


def with_an_empty_folder(folder: Path):
    (folder / "mine").mkdir()


@pytest.fixture(scope="module")
def published(exported, tmp_path_factory):
    """A publication; tests must not change it."""
    target = tmp_path_factory.mktemp("published") / "model"
    publish_folder.publish(exported.folder / "models/export", target)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_sums_of_its_own, "holds a SHA256SUMS that this version did not write"),
        (with_a_file_put_on_the_list, "SHA256SUMS that this version did not write or that was edited since"),
        (with_a_list_in_latin_1, "holds a SHA256SUMS that this version did not write"),
        (with_an_edited_card, "was published, but README.md has changed since"),
        (with_a_file_missing, "was published, but README.md has changed since"),
        (with_an_empty_folder, "holds mine, which was not published there"),
    ],
)
def test_only_an_unmodified_publication_is_replaced(published, exported, tmp_path, change, message):
    target = tmp_path / "model"
    shutil.copytree(published, target)
    change(target)
    before = sorted(target.rglob("*")), contents(target)
    with pytest.raises(UserError, match=message):
        publish_folder.publish(exported.folder / "models/export", target)
    assert (sorted(target.rglob("*")), contents(target)) == before


def test_a_copy_that_does_not_fit_leaves_the_earlier_one(exported, tmp_path):
    """A limit on the size of a file simulates a full disk: the weights do not fit."""
    target = tmp_path / "model"
    publish_folder.publish(exported.folder / "models/export", target)
    before = contents(target)
    script = (
        "import resource, runpy, shutil, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "real, (_, most) = shutil.copyfile, resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "def copyfile(*names):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, most))\n"
        "    try: real(*names)\n"
        "    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))\n"
        "shutil.copyfile = copyfile\n"
        f"sys.argv = ['publish', {str(target)!r}]\n"
        "runpy.run_module('finetune.publish', run_name='__main__')\n"
    )
    message = refusal(exported.run(sys.executable, "-c", script, check=False))
    assert "no room for a copy" in message
    assert contents(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_during_the_copy_leaves_the_earlier_one_and_the_next_run_cleans_up(exported, tmp_path):
    target = tmp_path / "model"
    export = exported.folder / "models/export"
    publish_folder.publish(export, target)
    before = contents(target)
    script = (
        "import os, shutil, signal\n"
        "from pathlib import Path\n"
        "from finetune.publish import folder\n"
        "copied, real = [], shutil.copyfile\n"
        "def copyfile(*names):\n"
        "    if copied: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    copied.append(real(*names))\n"
        "shutil.copyfile = copyfile\n"
        f"folder.publish(Path('models/export'), Path({str(target)!r}))\n"
    )
    assert exported.run(sys.executable, "-c", script, check=False).returncode == -signal.SIGKILL
    assert contents(target) == before
    (left,) = (path for path in tmp_path.iterdir() if path != target)
    # The same for a kill between the two renames: the earlier copy lies in the temporary folder.
    target.rename(left / "before")
    assert exported.run(sys.executable, "-c", script, check=False).returncode == -signal.SIGKILL
    assert contents(target) == before
    publish_folder.publish(export, target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# To S3, for SageMaker.

# Runs with only the archive's code on the path, through the functions that SageMaker's container calls for a request.
CONTAINER = """
import json, sys
from types import SimpleNamespace
from sagemaker_inference.transformer import Transformer

answers = []
transformer = Transformer()
for kind, accept, body in json.load(sys.stdin):
    asked = SimpleNamespace(get_request_properties=lambda: {"Content-Type": kind, "Accept": accept})
    reply = {"status": 200, "type": None}
    context = SimpleNamespace(
        system_properties={"model_dir": sys.argv[1]},
        request_processor=[asked],
        set_response_content_type=lambda _, kind: reply.update(type=kind),
        set_response_status=lambda code, phrase: reply.update(status=code, phrase=phrase),
    )
    (answer,) = transformer.transform([{"body": body.encode()}], context)
    answers.append([reply, answer])
import finetune
print(json.dumps({"answers": answers, "finetune": finetune.__file__, "heavy": sorted({"torch", "transformers", "pyarrow"} & set(sys.modules))}))
"""


def in_container(folder: Path, requests: list[tuple[str, str, str]]) -> dict:
    """Answers of SageMaker's serving code to requests (content type, accept, body), from the archive unpacked in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", CONTAINER, str(folder)],
        cwd=folder / "code",
        env=environment,
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def unpacked(exported, tmp_path_factory, s3):
    """The archive published to S3, unpacked elsewhere; tests must not change it."""
    folder = tmp_path_factory.mktemp("archive")
    printed = succeeded(publish(exported, "s3://models/film", **s3.environment))
    assert "published to s3://models/film/model.tar.gz" in printed
    (folder / "model.tar.gz").write_bytes(s3.read("models", "film/model.tar.gz"))
    with tarfile.open(folder / "model.tar.gz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return folder / "unpacked"


def test_the_archive_in_s3_works_in_sagemaker_s_serving_code(exported, unpacked):
    classifier = Classifier(exported.folder / "models/export")
    expected = classifier.probabilities(TEXTS)
    json_type, csv_type = "application/json", "text/csv"
    found = in_container(
        unpacked,
        [
            (json_type, json_type, json.dumps({"inputs": TEXTS})),
            (csv_type, csv_type, "".join(f'"{text}"\n' for text in TEXTS)),
            (json_type, "*/*", json.dumps({"inputs": TEXTS[0]})),
            ("image/png", json_type, "x"),
            (json_type, json_type, '{"texts": []}'),
            (csv_type, json_type, "a, b"),
            (json_type, "image/png", json.dumps({"inputs": TEXTS})),
        ],
    )
    assert Path(found["finetune"]).is_relative_to(unpacked)
    assert found["heavy"] == []
    (many_reply, many), (csv_reply, as_csv), (_, one), *wrong = found["answers"]
    assert (many_reply["status"], many_reply["type"], csv_reply["type"]) == (200, json_type, csv_type)
    for answer, row in zip(json.loads(many), expected, strict=True):
        assert answer["label"] == NAMES[row.argmax()]
        assert answer["probabilities"] == pytest.approx(dict(zip(NAMES, row.tolist(), strict=True)), abs=1e-6)
    assert [line.split(",")[0] for line in as_csv.splitlines()] == [NAMES[index] for index in expected.argmax(1)]
    assert json.loads(one) == json.loads(many)[:1]
    reasons = [
        "the content type must be application/json or text/csv, found 'image/png'",
        'the body must be {"inputs"',
        "row 1 has 2 fields, expected one text",
        "the answer can be application/json or text/csv, but only 'image/png' is accepted",
    ]
    for (reply, _), reason in zip(wrong, reasons, strict=True):
        assert reply["status"] == 500  # the toolkit's status for every error
        assert reason in reply["phrase"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
@example(["a\rb", "c\nd", 'e"f', "g,h", "i\u2028j", "k\x85l", " "])
def test_every_label_and_every_text_passes_through_csv(labels):
    body, kind = output_fn([{"label": label, "score": 0.5} for label in labels], "text/csv")
    assert kind == "text/csv"
    rows = list(csv.reader(io.StringIO(body, newline=""), strict=True))
    assert rows == [[label, "0.5"] for label in labels]
    sent = io.StringIO()
    csv_writer(sent).writerows([label] for label in labels)
    assert input_fn(sent.getvalue().encode(), "text/csv") == labels


def test_the_archive_holds_what_its_script_needs_and_one_model_file(unpacked, exported):
    names = relative_files(unpacked)
    model = (
        "onnx/model_int8.onnx"
        if (exported.folder / "models/export/onnx/model_int8.onnx").exists()
        else "onnx/model.onnx"
    )
    code = ["code/inference.py", "code/requirements.txt", "code/finetune/__init__.py"]
    modules = [name for name in names if name.startswith("code/finetune/") and name.count("/") == 3]
    assert names == sorted(["README.md", "tokenizer.json", model, *code, *modules])
    needed = all_imports(ROOT, ROOT / "finetune/publish/sagemaker_handler.py")
    assert needed <= {name.removeprefix("code/") for name in modules}
    assert {name.split("/")[1] for name in needed} == set(PACKAGES)
    assert {name.split("/")[2] for name in modules} == set(PACKAGES)
    pins = (unpacked / "code/requirements.txt").read_text().split()
    listed = [line for name in ("", "-export") for line in (ROOT / f"requirements{name}.txt").read_text().split("\n")]
    assert [pin.partition("==")[0] for pin in pins] == ["numpy", "onnxruntime", "tokenizers"]
    assert set(pins) <= set(listed)


def test_the_same_folder_always_gives_the_same_archive(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(exported.folder)
    write_archive(Path("models/export"), tmp_path / "first.tar.gz")
    for path in Path("models/export").rglob("*"):
        os.utime(path, (1, 1))
    monkeypatch.setattr(time, "time", lambda: 1e9)  # the clock that gzip reads
    write_archive(Path("models/export"), tmp_path / "second name.tar.gz")
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second name.tar.gz").read_bytes()


def test_a_key_is_a_folder_unless_it_names_an_archive():
    assert (
        publish_s3.parse_destination("s3://bucket/film")
        == publish_s3.parse_destination("s3://bucket/film/")
        == "s3://bucket/film/model.tar.gz"
    )
    assert publish_s3.parse_destination("s3://bucket") == "s3://bucket/model.tar.gz"
    assert publish_s3.parse_destination("s3://bucket/film/v2.tar.gz") == "s3://bucket/film/v2.tar.gz"


def test_an_upload_to_s3_that_breaks_leaves_the_old_object(exported, s3):
    s3.write("models", "cut/model.tar.gz", b"the old one", **{RECORD: "0", f"{RECORD}-size": "11"})
    with s3.cut_in_the_middle() as cut:
        message = refusal(
            send(exported, "s3://models/cut", **s3.environment | {"AWS_ENDPOINT_URL": cut.url, "AWS_MAX_ATTEMPTS": "1"})
        )
    assert cut.broken > 0
    assert "s3://models/cut/model.tar.gz was not written" in message
    assert s3.read("models", "cut/model.tar.gz") == b"the old one"


def test_a_stop_during_an_upload_removes_the_archive_that_was_to_be_sent(exported, tmp_path):
    """The server accepts connections and stays silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "TMPDIR": str(tmp_path)}
        with subprocess.Popen(
            [sys.executable, "-m", "finetune.publish", "s3://models/stop"],
            cwd=exported.folder,
            env=exported.environment | CREDENTIALS | settings,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            message = process.stderr.read()
            connection.close()
    assert process.returncode == 143
    assert message == "stopped; what was published before is unchanged, or replaced whole\n"
    assert not list(tmp_path.rglob("*.tar.gz"))


def test_an_endpoint_that_is_no_address_is_one_line(exported):
    message = refusal(send(exported, "s3://models/x", **CREDENTIALS, AWS_ENDPOINT_URL="nonsense"))
    assert message.startswith("s3://models/x/model.tar.gz was not written (Invalid endpoint: nonsense)")


def test_only_an_object_that_this_project_published_is_replaced(exported, s3):
    succeeded(send(exported, "s3://models/twice", **s3.environment))
    succeeded(send(exported, "s3://models/twice", **s3.environment))
    s3.write("models", "twice/model.tar.gz", b"another model")
    message = refusal(send(exported, "s3://models/twice", **s3.environment))
    assert message.startswith("s3://models/twice/model.tar.gz was not published by this project; choose a key that")
    assert s3.read("models", "twice/model.tar.gz") == b"another model"


def test_mistakes_about_s3_end_in_one_line(exported, s3):
    assert "there is no bucket nowhere" in refusal(send(exported, "s3://nowhere/x", **s3.environment))
    none = {
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    message = refusal(send(exported, "s3://models/x", AWS_ENDPOINT_URL=s3.url, **none))
    assert "there are no credentials for s3://models/x/model.tar.gz" in message
    gone = s3.environment | {"AWS_ENDPOINT_URL": closed_port(), "AWS_MAX_ATTEMPTS": "1"}
    assert "check the network and publish again" in refusal(send(exported, "s3://models/x", **gone))
    assert [key for key in bucket_keys(s3, "models") if key.startswith("x")] == []


# To the Hub.


def with_record(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files as published: with the list of their checksums."""
    return files | {SUMS: record_of({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})}


MINE = {"README.md": b"mine", "config.json": b"{}"}
PUBLISHED = with_record({"README.md": b"the old one", "model.safetensors": b"w" * 2000})


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (MINE, "holds README.md, which was not published there"),
        (MINE | {SUMS: b"0  README.md\n"}, "holds a SHA256SUMS that this version did not write or that was edited"),
        (PUBLISHED | {"thesis.txt": b"years"}, "holds thesis.txt, which was not published there"),
        (PUBLISHED | {"README.md": b"edited"}, "was published, but README.md has changed since"),
        (PUBLISHED | {"model.safetensors": b"v" * 2000}, "was published, but model.safetensors has changed since"),
        (
            {name: content for name, content in PUBLISHED.items() if name != "model.safetensors"},
            "was published, but model.safetensors has changed since",
        ),
    ],
)
def test_a_repository_with_files_that_were_not_published_by_this_project_stays_unchanged(exported, hub, files, reason):
    hub.push("owner/film", files)
    message = refusal(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert message.startswith(f"hf://owner/film {reason}")
    assert message.endswith("or delete those files there yourself")
    assert hub.files("owner/film") == files
    assert not [line for line in hub.requests if "/commit/" in line]


def test_a_repository_on_the_hub_gets_the_folder_in_one_commit_and_loses_old_files(exported, hub, tmp_path):
    export = with_record(contents(exported.folder / "models/export"))
    printed = succeeded(publish(exported, "hf://owner/film", "--private", **hub_settings(hub)))
    assert f"published to {hub.url}/owner/film/commit/" in printed
    assert {name: content for name, content in hub.files("owner/film").items() if name != ".gitattributes"} == export
    assert hub.repositories["owner/film"].private
    assert len([line for line in hub.requests if "/commit/" in line]) == 1

    # An earlier model with another file and another card.
    earlier = contents(exported.folder / "models/export") | {"old.bin": b"x" * 2000, "README.md": b"old"}
    hub.push("owner/film", with_record(earlier) | {".gitattributes": b"*.bin filter=lfs\n"})
    hub.requests.clear()
    succeeded(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert {name: content for name, content in hub.files("owner/film").items() if name != ".gitattributes"} == export
    # Files that the Hub already has are not sent again.
    assert not [line for line in hub.requests if line.startswith("PUT ")]

    # A user downloads exactly the evaluated model.
    got = exported.run(
        sys.executable,
        "-c",
        "from huggingface_hub import snapshot_download; print(snapshot_download('owner/film'))",
        **hub_settings(hub),
        HF_HOME=str(tmp_path / "cache"),
    ).stdout.strip()
    ours = Classifier(exported.folder / "models/export").probabilities(TEXTS)
    assert (Classifier(got).probabilities(TEXTS) == ours).all()


def test_a_branch_gets_the_folder_and_main_stays_unchanged(exported, hub):
    hub.push("owner/film", {"README.md": b"the old one"})
    succeeded(send(exported, "hf://owner/film@next", **hub_settings(hub)))
    assert hub.files("owner/film") == {"README.md": b"the old one"}
    published = with_record(contents(exported.folder / "models/export"))
    assert hub.files("owner/film", "next") == published
    succeeded(send(exported, "hf://owner/film@next", **hub_settings(hub)))
    # A branch with a commit of its own follows the rule.
    hub.push("owner/film", published | {"README.md": b"edited on the web"}, "next")
    hub.push("owner/film", {"README.md": b"the old one"})
    message = refusal(send(exported, "hf://owner/film@next", **hub_settings(hub)))
    assert "owner/film was published, but README.md has changed since" in message


def test_a_killed_upload_to_the_hub_leaves_the_repository_unchanged(exported, hub):
    hub.push("owner/film", with_record({"README.md": b"the old one"}))
    weights = hashlib.sha256((exported.folder / "models/export/model.safetensors").read_bytes()).hexdigest()
    hub.silent.add(weights)
    sending = subprocess.Popen(
        [sys.executable, "-m", "finetune.publish", "hf://owner/film"],
        cwd=exported.folder,
        env=exported.environment | hub_settings(hub),
        stderr=subprocess.PIPE,
    )
    try:
        assert hub.waiting.wait(60)
    finally:
        sending.kill()
        sending.communicate()
    assert hub.files("owner/film") == with_record({"README.md": b"the old one"})
    hub.silent.clear()
    succeeded(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert hub.files("owner/film") == with_record(contents(exported.folder / "models/export"))


def test_a_broken_connection_is_retried_and_a_refused_file_ends_in_one_line(exported, hub):
    hub.push("owner/film", with_record({"README.md": b"the old one"}))
    weights = hashlib.sha256((exported.folder / "models/export/model.safetensors").read_bytes()).hexdigest()
    hub.statuses[weights] = 403
    message = refusal(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert "the Hub refused owner/film with status 403" in message
    assert hub.files("owner/film") == with_record({"README.md": b"the old one"})
    hub.statuses.clear()
    hub.breaks[weights] = 1
    succeeded(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert hub.breaks[weights] == 0
    assert hub.files("owner/film") == with_record(contents(exported.folder / "models/export"))


def test_mistakes_about_the_hub_end_in_one_line_and_create_nothing(exported, hub):
    without = send(exported, "hf://owner/film", **hub_settings(hub, token=None))
    assert "a token that may write to owner/film is needed: `hf auth login`, or HF_TOKEN" in refusal(without)
    wrong = send(exported, "hf://owner/film", **hub_settings(hub, token="hf_reader"))
    assert "status 403" in refusal(wrong)
    assert "may write to owner/film" in refusal(wrong)
    gone = send(exported, "hf://owner/film", **hub_settings(hub) | {"HF_ENDPOINT": closed_port()})
    assert "the connection to the Hub failed while writing owner/film" in refusal(gone)
    assert "HF_HUB_OFFLINE is set" in refusal(
        send(exported, "hf://owner/film", **hub_settings(hub), HF_HUB_OFFLINE="1")
    )
    assert hub.repositories == {}


def test_a_card_that_the_hub_s_validator_rejects_is_reported_before_anything_is_created(exported, hub):
    hub.licenses = {"other"}  # not the license of the tiny model
    message = refusal(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert 'the Hub does not accept the model card ("license" must be one of [other])' in message
    assert hub.repositories == {}


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"null", b"{}"])
def test_an_answer_of_the_hub_that_is_not_what_its_client_expects_is_one_line(exported, hub, body):
    hub.bodies["/preupload/main"] = body
    message = refusal(send(exported, "hf://owner/film", **hub_settings(hub)))
    assert message.startswith("the Hub's answer about owner/film cannot be read (")


def test_a_refusal_names_what_was_created_on_the_hub(exported, hub):
    hub.statuses["/commit/main"] = hub.statuses["/commit/next"] = 500
    settings = hub_settings(hub)
    message = refusal(send(exported, "hf://owner/film", **settings))
    assert "the Hub refused owner/film with status 500" in message
    assert "(the repository owner/film was created and remains, without the model)" in message
    assert set(hub.files("owner/film")) == {".gitattributes"}
    assert "was created" not in refusal(send(exported, "hf://owner/film", **settings))
    message = refusal(send(exported, "hf://owner/film@next", **settings))
    assert "(the branch next was created and remains, without the model)" in message
