"""Getting the exported model from another directory, by path and by name, through a folder and through S3."""

from pathlib import Path

import pytest

from finetune.publish.folder import relative_files
from finetune.runtime.classifier import Classifier
from tests.support.export_project import NAMES
from tests.support.project import Project
from tests.support.s3_server import bucket_keys, s3_endpoint

# One test process exports the tiny project once for all tests that use it.
pytestmark = pytest.mark.xdist_group("exported")

TEXTS = ["the film is great", "a dull story"]


@pytest.fixture(scope="module")
def s3():
    with s3_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def elsewhere(tmp_path) -> Project:
    """An empty folder outside any project, with separate settings and caches."""
    folder = tmp_path / "away" / "folder"
    folder.mkdir(parents=True)
    return Project(folder)


def pushed(exported: Project, folder: Path, url: str, *options: str, **environment: str) -> Project:
    """A copy of the project, registered and pushed to a remote. It has no cache, so downloads come from the remote."""
    project = exported.copy(folder)
    project.dvc("remote", "add", "--default", "store", url)
    for option in options:
        name, _, value = option.partition("=")
        project.dvc("remote", "modify", "store", name, value)
    project.commit("Name the remote")
    project.run("gto", "register", "text-classifier", "HEAD", "--version", "v1.0.0")
    project.dvc("push", **environment)
    project.run("rm", "-rf", ".dvc/cache", ".dvc/tmp", "models/export")
    return project


def is_the_exported(exported: Project, got: Path):
    """Checks that a folder equals the exported one byte for byte, and that its model gives the same answers."""
    export = exported.folder / "models/export"
    assert relative_files(got) == relative_files(export)
    assert all((got / name).read_bytes() == (export / name).read_bytes() for name in relative_files(export))
    classifier = Classifier(got)
    assert classifier.labels == NAMES
    assert (classifier.probabilities(TEXTS) == Classifier(export).probabilities(TEXTS)).all()


def test_a_model_pushed_to_a_folder_can_be_fetched_by_path_and_by_name(exported, elsewhere, tmp_path):
    project = pushed(exported, tmp_path / "project", str(tmp_path / "store"))
    elsewhere.dvc("get", str(project.folder), "models/export")
    is_the_exported(exported, elsewhere.folder / "export")
    elsewhere.dvc("artifacts", "get", str(project.folder), "text-classifier", "--out", "named")
    is_the_exported(exported, elsewhere.folder / "named")


def test_a_registered_version_stays_when_the_branch_moves_on(exported, elsewhere, tmp_path):
    project = pushed(exported, tmp_path / "project", str(tmp_path / "store"))
    project.dvc("pull")
    (project.folder / "models/export/README.md").write_text("another model")
    project.dvc("commit", "--force", "export")
    project.commit("Export another")
    project.dvc("push")
    elsewhere.dvc("artifacts", "get", str(project.folder), "text-classifier", "--rev", "v1.0.0", "--out", "first")
    is_the_exported(exported, elsewhere.folder / "first")
    elsewhere.dvc("get", str(project.folder), "models/export")
    assert (elsewhere.folder / "export/README.md").read_text() == "another model"


def test_a_model_pushed_to_s3_can_be_fetched_by_path_and_by_name(exported, elsewhere, tmp_path, s3):
    keys = {name: value for name, value in s3.environment.items() if name != "AWS_ENDPOINT_URL"}
    project = pushed(exported, tmp_path / "project", "s3://models/store", f"endpointurl={s3.url}", **keys)
    assert any(key.startswith("store/files/md5/") for key in bucket_keys(s3, "models"))
    elsewhere.dvc("get", str(project.folder), "models/export", **keys)
    is_the_exported(exported, elsewhere.folder / "export")
    elsewhere.dvc("artifacts", "get", str(project.folder), "text-classifier", "--out", "named", **keys)
    is_the_exported(exported, elsewhere.folder / "named")
