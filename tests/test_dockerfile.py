"""The Dockerfile, tested without Docker: the copied files suffice, the installation is small, the user is not root."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT
from tests.support.loopback import closed_port
from tests.support.server import SECONDS

pytestmark = pytest.mark.xdist_group("serve")

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]
STAGES = [index for index, (word, _) in enumerate(LINES) if word == "FROM"]
LAST = LINES[STAGES[-1] :]


def arguments(instruction: str, lines=LAST) -> list[str]:
    """Arguments of each instruction of this name."""
    return [rest for word, rest in lines if word == instruction]


def copies() -> dict[str, str]:
    """Source -> destination of each file or folder copied from the project."""
    pairs = [rest.split() for rest in arguments("COPY", LINES) if not rest.startswith("--from")]
    return {source: destination for *sources, destination in pairs for source in sources}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_copied_file_exists_and_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copies():
        if source != "models/export/":  # made by the pipeline
            assert (ROOT / source).exists(), source
        assert any(source.startswith(line[1:]) for line in ignored if line.startswith("!")), source
    assert "*" in ignored  # nothing else is sent
    assert "models/export/model.safetensors" in ignored


def test_it_installs_the_pipelines_pinned_versions_and_no_torch():
    served = pins("requirements-serve.txt")
    assert not served.keys() & {"torch", "transformers", "datasets", "scikit-learn", "scipy", "pyarrow", "onnx", "dvc"}
    pipeline = pins("requirements.txt") | pins("requirements-export.txt")
    shared = served.keys() & pipeline.keys()
    assert shared >= {"numpy", "onnxruntime", "tokenizers"}
    assert {name: served[name] for name in shared} == {name: pipeline[name] for name in shared}
    (installed,) = (rest for rest in arguments("RUN") if "pip install" in rest)
    assert installed.endswith("-r requirements-serve.txt -c constraints.txt")


def test_the_image_is_pinned_and_the_server_runs_neither_as_root_nor_in_a_shell():
    for image in arguments("FROM", LINES):
        assert re.match(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}( AS \w+)?$", image)
    assert int(arguments("USER")[-1]) > 0
    assert [word for word, _ in LAST].index("USER") > max(
        index for index, (word, _) in enumerate(LAST) if word in ("RUN", "COPY")
    )
    assert json.loads(arguments("CMD")[-1]) == [
        "python",
        "-m",
        "finetune.serve",
    ]  # no shell, so the server itself receives Docker's SIGTERM


def test_the_copied_files_serve_the_model_and_pass_the_health_check(learnt, tmp_path):
    """The image's folder without Docker, with the same files, environment and commands but another port."""
    app, model = tmp_path / "app", tmp_path / "model"
    shutil.copytree(learnt, model)
    removal = shlex.split(arguments("RUN", LINES[: STAGES[-1]])[0])[0]
    assert removal == "rm"
    done = subprocess.run(
        ["sh", "-c", arguments("RUN", LINES[: STAGES[-1]])[0].replace("/model/", f"{model}/")], check=False, timeout=60
    )
    assert done.returncode == 0
    assert sorted(path.name for path in model.rglob("*.onnx")) == ["model_int8.onnx"]
    assert not (model / "model.safetensors").exists()
    for source, destination in copies().items():
        if source.startswith("finetune"):
            shutil.copytree(ROOT / source, app / destination, ignore=shutil.ignore_patterns("__pycache__"))
    variables = dict(pair.split("=") for rest in arguments("ENV") for pair in rest.split())
    assert (variables["SERVE_HOST"], variables["SERVE_PORT"]) == ("0.0.0.0", arguments("EXPOSE")[0])
    port = str(urlsplit(closed_port()).port)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # so that `python` is found
    inside = {"cwd": app, "env": {**variables, "PATH": path, "SERVE_FOLDER": str(model), "SERVE_PORT": port}}
    start, check = json.loads(arguments("CMD")[-1]), json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
    with subprocess.Popen(start, **inside, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert f":{port} " in process.stdout.readline()
            for page in ("/", "/card", "/page/report.css", "/page/serve.css", "/page/serve.js", "/page/icon.svg"):
                with urlopen(f"http://127.0.0.1:{port}{page}", timeout=SECONDS) as answer:
                    assert answer.status == 200
            assert subprocess.run(check, **inside, check=False, timeout=SECONDS).returncode == 0
            process.terminate()
            assert process.wait(SECONDS) == 0
            gone = subprocess.run(check, **inside, check=False, timeout=SECONDS, stderr=subprocess.DEVNULL)
            assert gone.returncode != 0
        finally:
            process.kill()


def test_hadolint_finds_nothing():
    program = Path(sys.executable).with_name("hadolint")
    if not program.is_file():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
