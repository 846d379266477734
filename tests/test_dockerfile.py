"""The Dockerfile, without Docker: what it copies is there and enough, what it installs is small, and it is not root."""

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
STAGES = [place for place, (word, _) in enumerate(LINES) if word == "FROM"]
LAST = LINES[STAGES[-1] :]


def told(word: str, lines=LAST) -> list[str]:
    """What follows each instruction of a name."""
    return [rest for found, rest in lines if found == word]


def copies() -> dict[str, str]:
    """Each file or folder that is copied from the project, with where to."""
    pairs = [rest.split() for rest in told("COPY", LINES) if not rest.startswith("--from")]
    return {source: target for *sources, target in pairs for source in sources}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_all_that_is_copied_is_there_and_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copies():
        if source != "models/export/":  # made by the pipeline
            assert (ROOT / source).exists(), source
        assert any(source.startswith(line[1:]) for line in ignored if line.startswith("!")), source
    assert "*" in ignored  # nothing else is
    assert "models/export/model.safetensors" in ignored


def test_it_installs_pinned_versions_that_the_pipeline_has_too_and_no_torch():
    served = pins("requirements-serve.txt")
    assert not served.keys() & {"torch", "transformers", "datasets", "scikit-learn", "scipy", "pyarrow", "onnx", "dvc"}
    pipeline = pins("requirements.txt") | pins("requirements-export.txt")
    shared = served.keys() & pipeline.keys()
    assert shared >= {"numpy", "onnxruntime", "tokenizers"}
    assert {name: served[name] for name in shared} == {name: pipeline[name] for name in shared}
    (installed,) = (rest for rest in told("RUN") if "pip install" in rest)
    assert installed.endswith("-r requirements-serve.txt -c constraints.txt")


def test_the_image_is_pinned_and_the_server_is_neither_root_nor_behind_a_shell():
    for image in told("FROM", LINES):
        assert re.match(r"python:3\.11\.\d+-slim-\w+( AS \w+)?$", image)
    assert int(told("USER")[-1]) > 0
    assert [word for word, _ in LAST].index("USER") > max(
        place for place, (word, _) in enumerate(LAST) if word in ("RUN", "COPY")
    )
    assert json.loads(told("CMD")[-1]) == ["python", "-m", "finetune.serve"]  # the server itself gets Docker's SIGTERM


def test_what_it_copies_and_starts_serves_the_model_and_passes_its_own_health_check(learnt, tmp_path):
    """The image's folder without Docker: the same files, environment and commands, on another port."""
    app, model = tmp_path / "app", tmp_path / "model"
    shutil.copytree(learnt, model)
    removal = shlex.split(told("RUN", LINES[: STAGES[-1]])[0])[0]
    assert removal == "rm"
    done = subprocess.run(
        ["sh", "-c", told("RUN", LINES[: STAGES[-1]])[0].replace("/model/", f"{model}/")], check=False, timeout=60
    )
    assert done.returncode == 0
    assert sorted(path.name for path in model.rglob("*.onnx")) == ["model_int8.onnx"]
    assert not (model / "model.safetensors").exists()
    for source, target in copies().items():
        if source.startswith("finetune"):
            shutil.copytree(ROOT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
    variables = dict(pair.split("=") for rest in told("ENV") for pair in rest.split())
    assert (variables["SERVE_HOST"], variables["SERVE_PORT"]) == ("0.0.0.0", told("EXPOSE")[0])
    port = str(urlsplit(closed_port()).port)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for the name python
    inside = {"cwd": app, "env": {**variables, "PATH": path, "SERVE_FOLDER": str(model), "SERVE_PORT": port}}
    start, check = json.loads(told("CMD")[-1]), json.loads(told("HEALTHCHECK")[0].partition("CMD ")[2])
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
