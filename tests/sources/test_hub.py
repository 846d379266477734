"""`hf://` names, read through the real clients from a Hub on loopback (tests/support/hub_server.py)."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch
import torch
import yaml
from datasets import ClassLabel, Dataset, Features, Value
from transformers import AutoModel

from tests.conftest import ROOT
from tests.support.hub_server import Files, Hub
from tests.support.project import PARAMS

REVIEWS = b"text,label\nfresh and moving,good\ndull and stale,bad\n"
RUN = [sys.executable, "-m", "stages.download"]
Download = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def download(hub: Hub, workdir: Path) -> Download:
    """Runs the stage `download` in the current folder, each time in a new process; the cache starts empty.

    `huggingface_hub` reads its settings once, when it is imported. It sees only the settings of this test.
    """
    (workdir / "data/local").mkdir(parents=True)
    (workdir / "data/local/reviews.csv").write_bytes(REVIEWS)
    foreign = re.compile(r"HF_|HUGGING|TRANSFORMERS_|.*_proxy$", re.IGNORECASE)
    inherited = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(workdir / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "DO_NOT_TRACK": "1",
    }

    def run(data: str = "data/local/reviews.csv", model: str = "models/local", **environment: str):
        table = {"uri": data, "sha256": None, "text": "text", "label": "label", "labels": None, "group": None}
        baseline = PARAMS["baseline"] | {"zero_shot": PARAMS["baseline"]["zero_shot"] | {"prompts": None}}
        params = PARAMS | {"data": table, "model": {"uri": model, "sha256": None}, "baseline": baseline}
        Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        environment = inherited | settings | environment
        return subprocess.run(
            RUN, env=environment, check=False, capture_output=True, text=True, encoding="utf-8", timeout=120
        )

    return run


@pytest.fixture
def bert(tiny_bert: Path, workdir: Path) -> Files:
    """Files of the tiny model, which is also the local one in `models/local`."""
    (workdir / "models").mkdir()
    (workdir / "models/local").symlink_to(tiny_bert)
    return {path.name: path.read_bytes() for path in tiny_bert.iterdir()}


def error_line(result: subprocess.CompletedProcess) -> str:
    """Message that a failed run shows its user: the last line on stderr, below the log of the clients."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    *_, last = result.stderr.splitlines()
    assert last.startswith("error: ")
    assert result.stderr.count("error: ") == 1
    return last.removeprefix("error: ")


def succeeded(result: subprocess.CompletedProcess):
    assert result.returncode == 0, result.stderr


def source(folder: str) -> dict:
    return json.loads(Path(folder, "source.json").read_text(encoding="utf-8"))


def rows(split: str) -> list[tuple[str | None, str | None]]:
    """Text and label of each row that the stage wrote."""
    table = pq.read_table(f"data/raw/{split}.parquet")
    return list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))


def names(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("revision", "text"),
    [("", "second"), ("@v1", "first"), ("@wording/draft", "first"), ("@COMMIT", "first")],
    ids=["none", "tag", "branch", "commit"],
)
def test_a_revision_is_resolved_to_its_commit_which_is_read_and_recorded(hub, download, bert, revision, text):
    commits = {}
    for version, refs in {"first": ("v1", "wording/draft"), "second": ()}.items():
        table = f"text,label\n{version} good,good\n{version} bad,bad\n".encode()
        commits[version] = {
            "data/raw": hub.push("datasets/tiny/reviews", {"train.csv": table}, *refs),
            "models/base": hub.push("tiny/bert", bert | {"LICENSE": version.encode()}, *refs),
        }
    data, model = (
        f"hf://{repo}{revision.replace('COMMIT', commits['first'][folder])}"
        for repo, folder in {"datasets/tiny/reviews": "data/raw", "tiny/bert": "models/base"}.items()
    )
    succeeded(download(data, model))
    assert rows("train") == [(f"{text} good", "good"), (f"{text} bad", "bad")]
    assert source("data/raw") == {
        "uri": data,
        "commit": commits[text]["data/raw"],
        "rows": {"train": 2},
        "labels": {"bad": "bad", "good": "good"},
    }
    assert Path("models/base/LICENSE").read_text() == text
    assert source("models/base") == {"uri": model, "commit": commits[text]["models/base"]}


def test_an_older_commit_in_the_cache_never_replaces_the_one_asked_for(hub, download, bert):  # noqa: ARG001, the local model
    """If a commit's files cannot be downloaded, `datasets` takes the newest commit in its cache and only warns."""
    hub.push("datasets/tiny/reviews", {"train.csv": REVIEWS})
    succeeded(download("hf://datasets/tiny/reviews"))
    commit = hub.push("datasets/tiny/reviews", {"train.csv": REVIEWS + b"joyful,good\n"})
    hub.statuses[f"{commit}/README.md"] = 403
    result = download("hf://datasets/tiny/reviews")
    assert "latest cached version" in result.stderr  # `datasets` did fall back to its cache
    assert error_line(result) == (
        f"tiny/reviews could not be downloaded at commit {commit[:12]}; check the network and run `dvc repro` again"
    )
    hub.statuses.clear()
    succeeded(download("hf://datasets/tiny/reviews"))
    assert len(rows("train")) == 3
    assert source("data/raw")["commit"] == commit


def test_class_labels_come_as_names_and_other_values_as_text(hub, download, bert):  # noqa: ARG001, the local model
    """-1 is the Hub's mark for "no label". Only train, validation and test are read."""
    features = Features({"text": Value("int32"), "label": ClassLabel(names=["negative", "positive"])})
    files = {}
    for split, labels in {"train": [1, 0, -1], "test": [0], "unsupervised": [-1, -1]}.items():
        table = {"text": list(range(len(labels))), "label": labels}
        Dataset.from_dict(table, features).to_parquet(f"{split}.parquet")
        files[f"data/{split}-00000-of-00001.parquet"] = Path(f"{split}.parquet").read_bytes()
    hub.push("datasets/tiny/reviews", files)
    # `datasets` would prefer this local folder of the same name.
    Path("tiny/reviews").mkdir(parents=True)
    Path("tiny/reviews/train.csv").write_bytes(REVIEWS)

    succeeded(download("hf://datasets/tiny/reviews"))
    assert rows("train") == [("0", "positive"), ("1", "negative"), ("2", None)]
    assert rows("test") == [("0", "negative")]
    assert names("data/raw") == ["source.json", "test.parquet", "train.parquet"]
    assert source("data/raw")["rows"] == {"train": 3, "test": 1}
    assert source("data/raw")["labels"] == {"negative": "negative", "positive": "positive"}


LABELS = {
    "classes": (ClassLabel(names=["negative", "positive"]), [1, 0, -1, None]),
    "floats": (Value("float64"), [1.0, 0.0, float("nan"), None]),
    "half floats": (Value("float32"), [0.5, 1.5, float("nan"), None]),
    "truth values": (Value("bool"), [True, False, None, None]),
    "numbers": (Value("int8"), [10, 9, None, None]),
    "texts": (Value("string"), [" cafe\u0301", "bar\u200b", "", None]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_local_parquet_file_gives_the_same_rows_as_the_hub(hub, download, bert, kind):  # noqa: ARG001, the local model
    """Two rows have labels, which differ; a row with NaN, -1, an empty text or null has none."""
    feature, labels = LABELS[kind]
    features = Features({"text": Value("string"), "label": feature})
    rows = {"text": ["a", "b", "c", None], "label": labels}
    Dataset.from_dict(rows, features).to_parquet("data/local/train.parquet")
    hub.push(
        "datasets/tiny/reviews", {"data/train-00000-of-00001.parquet": Path("data/local/train.parquet").read_bytes()}
    )
    succeeded(download("hf://datasets/tiny/reviews"))
    ours = pq.read_table("data/raw/train.parquet").to_pylist()
    succeeded(download("data/local/train.parquet"))
    assert pq.read_table("data/raw/all.parquet").to_pylist() == ours
    assert [row["label"] is None for row in ours] == [False, False, True, True]
    assert [row["text"] for row in ours] == ["a", "b", "c", None]


def test_a_configuration_is_named_after_a_hash_sign(hub, download, bert):  # noqa: ARG001, the local model
    card = "---\nconfigs:\n- config_name: plain\n  data_files: plain.csv\n- config_name: flags\n  data_files: flags.csv\n---\n"
    flags = b"text,label\nfresh,true\ndull,false\n"
    hub.push("datasets/tiny/two", {"README.md": card.encode(), "plain.csv": REVIEWS, "flags.csv": flags})
    succeeded(download("hf://datasets/tiny/two#flags"))
    assert rows("train") == [("fresh", "true"), ("dull", "false")]
    assert error_line(download("hf://datasets/tiny/two#flag")) == (
        "tiny/two cannot be read: BuilderConfig 'flag' not found. Available: ['plain', 'flags']; "
        "name a configuration after # in the uri"
    )


@pytest.mark.parametrize(
    ("uri", "files", "message"),
    [
        ("tiny/none", {}, "tiny/none does not exist on the Hub, or is private and HF_TOKEN may not read it; check the uri"),
        ("tiny/a--b", {}, r"tiny/a--b cannot be read: Cannot have -- .*"),
        ("tiny/reviews@v9", {"train.csv": REVIEWS}, "tiny/reviews has no such revision; check the part after @ in its uri"),
        ("tiny/reviews", {"train.csv": b"review,label\na,b\n"}, "tiny/reviews has no column 'text'; its columns are review, label"),
        ("tiny/reviews", {"test.csv": REVIEWS}, "tiny/reviews has no split train; its splits are test"),
        ("tiny/reviews", {"train.jsonl": b'{"text": ["a"], "label": 1}'}, "tiny/reviews: the column 'text' must hold text or labels, found List.*"),
        ("tiny/reviews", {"README.md": b"#"}, "tiny/reviews cannot be read: .* doesn't contain any data files"),
        ("tiny/reviews", {"train.parquet": b"PAR1"}, "tiny/reviews cannot be read: Parquet file size is 4 bytes.*"),
        (
            "tiny/reviews",
            {"reviews.py": b"", "train.csv": REVIEWS},
            "tiny/reviews cannot be read: Dataset scripts are no longer supported, but found reviews.py; "
            "try @refs/convert/parquet as its revision",
        ),
    ],
    ids=["repository", "name", "revision", "column", "split", "list", "empty", "damaged", "script"],
)  # fmt: skip
def test_a_data_set_that_cannot_be_downloaded_is_reported_in_one_line(hub, download, uri, files, message):
    if files:
        hub.push("datasets/tiny/reviews", files)
    assert re.fullmatch(message, error_line(download(f"hf://datasets/{uri}")))
    assert not Path("data/raw/source.json").exists()


def test_a_gated_repository_needs_the_right_token(hub, download, bert):
    hub.push("datasets/tiny/reviews", {"train.csv": REVIEWS}, token="hf_right")
    hub.push("tiny/bert", bert, token="hf_right")
    gated = "{} is gated: accept its terms on the Hub, then give a token (`hf auth login`, or HF_TOKEN)"
    assert error_line(download("hf://datasets/tiny/reviews")) == gated.format("tiny/reviews")
    assert error_line(download(model="hf://tiny/bert", HF_TOKEN="hf_wrong")) == gated.format("tiny/bert")
    succeeded(download("hf://datasets/tiny/reviews", "hf://tiny/bert", HF_TOKEN="hf_right"))
    assert len(rows("train")) == 2
    assert Path("models/base/model.safetensors").read_bytes() == bert["model.safetensors"]


def test_a_model_that_cannot_be_downloaded_is_reported_in_one_line(hub, download, bert):
    hub.push("tiny/bert", {name: content for name, content in bert.items() if name != "model.safetensors"})
    assert error_line(download(model="hf://tiny/none")).startswith("tiny/none does not exist on the Hub")
    assert error_line(download(model="hf://tiny/bert")).startswith("hf://tiny/bert has no weights; expected one of")
    assert not Path("models/base").exists()


def test_a_connection_that_breaks_once_is_resumed_and_the_bytes_are_whole(hub, download, bert):
    """The client keeps complete pieces of 10 MiB: if 22 MiB break at 11, it asks for the last 12; if less breaks, for all."""
    weights = safetensors.numpy.save(
        {"weight": np.random.default_rng(0).integers(256, size=22 * 2**20, dtype=np.uint8)}
    )
    table = b"text,label\n" + b"".join(b"review %d,%s\n" % (row, b"good" if row % 2 else b"bad") for row in range(1000))
    data = hub.push("datasets/tiny/reviews", {"train.csv": table})
    hub.push("tiny/bert", bert | {"model.safetensors": weights})
    hub.breaks = {"train.csv": 1, "model.safetensors": 1}
    succeeded(download("hf://datasets/tiny/reviews", "hf://tiny/bert"))
    assert hub.requests.count(f"GET /datasets/tiny/reviews/resolve/{data}/train.csv") == 2
    weight_requests = [line for line in hub.requests if line.startswith("GET ") and "model.safetensors" in line]
    assert [line.partition("model.safetensors")[2] for line in weight_requests] == ["", " from 10485760"]
    assert [text for text, _ in rows("train")] == [f"review {row}" for row in range(1000)]
    assert Path("models/base/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(("repo", "file"), [("datasets/tiny/reviews", "train.csv"), ("tiny/bert", "model.safetensors")])
def test_a_connection_that_always_breaks_is_reported_in_one_line(hub, download, bert, repo, file):
    """The client tries five more times, a second apart (here 0.1); it never gets past the middle of the file."""
    Path("hasty").mkdir()
    Path("hasty/sitecustomize.py").write_text(
        "import time\nsleep = time.sleep\ntime.sleep = lambda wait: sleep(wait / 10)\n"
    )
    hasty = {"PYTHONPATH": os.pathsep.join(["hasty", str(ROOT)])}
    hub.push(repo, {"train.csv": REVIEWS} if repo.startswith("datasets/") else bert)
    hub.breaks[file] = float("inf")
    result = (
        download(f"hf://{repo}", **hasty) if repo.startswith("datasets/") else download(model=f"hf://{repo}", **hasty)
    )
    assert sum(line.startswith("GET ") and file in line for line in hub.requests) == 6
    assert re.fullmatch(
        rf"the connection to the Hub failed while getting {repo.removeprefix('datasets/')} "
        r"\(.*without sending complete message body.*\); check the network and run `dvc repro` again",
        error_line(result),
    )


def test_a_hub_that_refuses_or_stays_silent_is_reported_in_one_line(hub, download, bert):
    hub.push("datasets/tiny/reviews", {"train.csv": REVIEWS})
    hub.push("tiny/bert", bert)
    hub.statuses = {"/revision/busy": 503, "/revision/token": 401, "/config.json": 403}
    assert error_line(download("hf://datasets/tiny/reviews@busy")) == (
        "the Hub refused tiny/reviews with status 503 (not now); run `dvc repro` again later"
    )
    assert error_line(download("hf://datasets/tiny/reviews@token", HF_TOKEN="hf_old")) == (
        "the Hub refused tiny/reviews with status 401 (not now); check the token (HF_TOKEN, or `hf auth login`)"
    )
    assert re.fullmatch(
        r"tiny/bert could not be downloaded \(.*\); check the network and run `dvc repro` again",
        error_line(download(model="hf://tiny/bert")),
    )
    hub.silent.add("/api/datasets/tiny/reviews")
    assert error_line(download("hf://datasets/tiny/reviews", HF_HUB_ETAG_TIMEOUT="1")) == (
        "the connection to the Hub failed while getting tiny/reviews (timed out); "
        "check the network and run `dvc repro` again"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b"[1]",
            r"the Hub's answer about tiny/reviews cannot be read \(TypeError: .*\); check HF_ENDPOINT if it is set",
        ),
        (b"null", r"the Hub's answer about tiny/reviews cannot be read \(TypeError: .*"),
        (b"{}", r"the Hub's answer about tiny/reviews cannot be read \(KeyError: .*"),
        (b"[" * 100_000, r"the Hub's answer about tiny/reviews cannot be read \(RecursionError: .*"),
        (b'{"id": "tiny/reviews", "sha": "1", "siblings": ["x"]}', r"the Hub's answer .* \(TypeError: .*"),
        (b'{"id": "tiny/reviews", "sha": 1}', "tiny/reviews cannot be read: the Hub named no commit; check .*"),
        (b"<html>", "tiny/reviews cannot be read: .*"),
    ],
)
def test_an_answer_that_is_not_what_the_client_expects_is_reported_in_one_line(hub, download, body, reason):
    hub.push("datasets/tiny/reviews", {"train.csv": REVIEWS})
    hub.bodies["/api/datasets/tiny/reviews"] = body
    assert re.fullmatch(reason, error_line(download("hf://datasets/tiny/reviews")))


def test_without_a_hub_or_with_its_client_set_offline_one_line_says_so(download):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert re.fullmatch(
            r"the connection to the Hub failed while getting tiny/reviews \(.*Connection refused\); "
            r"check the network and run `dvc repro` again",
            error_line(download("hf://datasets/tiny/reviews", HF_ENDPOINT=closed)),
        )
    assert error_line(download("hf://datasets/tiny/reviews", HF_HUB_OFFLINE="1")) == (
        "HF_HUB_OFFLINE is set, so tiny/reviews cannot be downloaded; unset it and run `dvc repro` again"
    )


def test_only_what_a_model_needs_is_downloaded(hub, download, bert):
    others = [
        "pytorch_model.bin",
        "tf_model.h5",
        "flax_model.msgpack",
        "training_args.bin",
        "README.md",
        "onnx/model.onnx",
    ]
    others += ["onnx/config.json", "openvino/openvino_model.bin", "checkpoint-1/optimizer.pt", "runs/events"]
    pooling = {"modules.json": b"[]", "1_Pooling/config.json": b"{}"}
    hub.push("tiny/bert", bert | pooling | dict.fromkeys(others, b"not needed"))
    succeeded(download(model="hf://tiny/bert"))
    assert hub.downloads("tiny/bert") == {*bert, *pooling}
    assert names("models/base") == sorted([*bert, *pooling, "source.json"])
    for name, content in (bert | pooling).items():
        assert Path("models/base", name).read_bytes() == content


def test_pickled_weights_are_downloaded_where_there_are_no_others(hub, download, bert):
    """safetensors in a subfolder belong to another model."""
    weights = safetensors.torch.load(bert.pop("model.safetensors"))
    torch.save(weights, "pytorch_model.bin")
    bert["pytorch_model.bin"] = Path("pytorch_model.bin").read_bytes()
    hub.push("tiny/bert", bert | {"other/model.safetensors": b"not needed", "training_args.bin": b"not needed"})
    succeeded(download(model="hf://tiny/bert"))
    assert hub.downloads("tiny/bert") == {*bert}
    assert names("models/base") == sorted([*bert, "source.json"])
    loaded = AutoModel.from_pretrained("models/base", local_files_only=True).state_dict()
    assert all(torch.equal(loaded[name], values) for name, values in weights.items())


def test_weights_in_several_files_are_all_downloaded(hub, download, bert):
    weights = list(safetensors.torch.load(bert.pop("model.safetensors")).items())
    weight_map, size = {}, len(weights) // 2
    for number, part in enumerate([weights[:size], weights[size:]], start=1):
        shard = f"model-{number:05}-of-00002.safetensors"
        bert[shard] = safetensors.torch.save(dict(part), {"format": "pt"})
        weight_map |= {name: shard for name, _ in part}
    bert["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    hub.push("tiny/bert", bert | {"pytorch_model.bin": b"not needed"})
    succeeded(download(model="hf://tiny/bert"))
    assert names("models/base") == sorted([*bert, "source.json"])


def test_a_model_with_code_of_its_own_is_refused_before_its_weights_are_downloaded(hub, download, bert):
    bert["config.json"] = json.dumps(
        json.loads(bert["config.json"]) | {"auto_map": {"AutoModel": "new.Model"}}
    ).encode()
    hub.push("tiny/bert", bert)
    assert error_line(download(model="hf://tiny/bert")).startswith(
        "tiny/bert brings code of its own (config.json has auto_map), which this pipeline never runs"
    )
    assert hub.downloads("tiny/bert") == {"config.json", "tokenizer_config.json"}
