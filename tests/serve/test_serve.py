"""The server as clients see it: a real process, real HTTP, a tiny real model."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from finetune.runtime.classifier import Classifier
from finetune.serve.__main__ import listening
from finetune.serve.schemas import EXPECTED, requests
from tests.conftest import ROOT
from tests.support.server import SECONDS, command, running
from tests.support.tiny import reviews

# One test process makes the tiny export and starts the server once for all of these tests.
pytestmark = pytest.mark.xdist_group("serve")

JSON = {"Content-Type": "application/json"}
TEXTS = [row["text"] for row in reviews(40, seed=5)]
NOT_JSON = "the body is not readable JSON: nested too deeply, a number too long, or not UTF-8"


@pytest.fixture(scope="module")
def server(learnt):
    with running(learnt, "--max-texts", "50", "--max-characters", "1000", "--max-body", "20000") as server:
        yield server


def test_one_text_and_many_are_answered_as_the_model_answers_them(server, learnt):
    expected = Classifier(learnt).probabilities(TEXTS)
    status, many = server.post("/predict", {"texts": TEXTS})
    assert status == 200
    found = [prediction["probabilities"] for prediction in many["predictions"]]
    assert np.array([[row["bad"], row["good"]] for row in found]) == pytest.approx(expected, abs=1e-6)
    for prediction in many["predictions"]:
        assert prediction["probability"] == max(prediction["probabilities"].values())
        assert prediction["probabilities"][prediction["label"]] == prediction["probability"]
    status, one = server.post("/predict", {"text": TEXTS[7]})
    assert status == 200
    assert one["predictions"] == [many["predictions"][7]]  # whatever else is in the batch


def test_a_text_that_is_longer_than_the_model_reads_says_so(server):
    _, answer = server.post("/predict", {"texts": ["the film " * 40, "the film"]})
    assert [prediction["truncated"] for prediction in answer["predictions"]] == [True, False]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 422, EXPECTED),
        (b"{", 400, "the body is not JSON: Expecting property name enclosed in double quotes at character 1"),
        (b"[1]", 422, EXPECTED),
        (b"null", 422, EXPECTED),
        (b'{"text": "a", "texts": ["b"]}', 422, EXPECTED),
        (b'{"text": 3}', 422, "text: Input should be a valid string"),
        (b'{"text": NaN}', 422, "text: Input should be a valid string"),
        (b'{"text": 1e999}', 422, "text: Input should be a valid string"),
        (b'{"text": "a", "model": "b"}', 422, "model: Extra inputs are not permitted"),
        (b'{"text": ""}', 422, "text: is empty; expected a text with at least one word"),
        (b'{"texts": ["good", " \\n "]}', 422, "texts.1: is empty; expected a text with at least one word"),
        (
            '{"text": "\u200b\u00a0\u3164\ufe0f"}'.encode(),
            422,
            "text: is empty; expected a text with at least one word",
        ),
        (b'{"texts": ["a", 4]}', 422, "texts.1: Input should be a valid string"),
        (b'{"texts": []}', 422, "texts: List should have at least 1 item after validation, not 0"),
        (b'{"texts": "good"}', 422, "texts: Input should be a valid list"),
        (b'{"text": "\\ud83d"}', 422, "text: Input should be a valid string, unable to parse raw data as a unicode"),
        (b'{"text": "a\x00"}', 400, "the body is not JSON: Invalid control character at"),
        (b'{"text": "\xff"}', 400, NOT_JSON),
        (b"[" * 15_000, 400, NOT_JSON),
        (b"9" * 15_000, 400, NOT_JSON),
        (json.dumps({"text": "x" * 1001}).encode(), 422, "text: String should have at most 1000 characters"),
        (json.dumps({"texts": ["x"] * 51}).encode(), 422, "texts: List should have at most 50 items"),
        (b" " * 20_001, 413, "the body is larger than 20000 bytes; send fewer texts at once"),
    ],
)
def test_a_bad_request_gets_the_reason(server, body, status, reason):
    found, _, answer = server.send("POST", "/predict", body, **JSON)
    assert (found, json.loads(answer)["detail"][: len(reason)]) == (status, reason)


@pytest.mark.parametrize("path", ["one", "one_or_many"])
def test_only_a_few_of_many_unknown_names_and_wrong_texts_are_reported(path):
    body = TypeAdapter(getattr(requests(max_texts=50, max_characters=1000), path))
    with pytest.raises(ValidationError) as raised:
        body.validate_python({f"name {number}": 0 for number in range(90_000)} | {"text": "good", "more": 0})
    assert [(error["loc"][-1], error["type"]) for error in raised.value.errors()] == [("name 0", "extra_forbidden")]
    with pytest.raises(ValidationError) as raised:
        body.validate_python({"texts": [0] * 90_000})
    assert len(raised.value.errors()) <= 51


def test_a_body_of_another_kind_or_of_unknown_length_is_checked_too(server):
    assert server.send("POST", "/predict", b'{"text": "good"}', Content_Type="text/plain")[0] == 422
    chunks = (b" " * 1000 for _ in range(30))  # sent without a Content-Length
    assert server.send("POST", "/predict", chunks, **JSON)[0] == 413
    whole = iter([b'{"text":', b' "great film"}'])
    assert server.send("POST", "/predict", whole, **JSON)[0] == 200


def test_other_paths_and_methods_are_refused_in_json(server):
    assert server.send("GET", "/predict")[0] == 405
    status, _, answer = server.send("GET", "/nothing/here")
    assert (status, json.loads(answer)) == (404, {"detail": "Not Found"})


def test_telling_words_push_towards_and_away_from_the_class(server):
    text = "the plot is dull and awful with a great actor"
    status, answer = server.post("/explain", {"text": text})
    assert status == 200
    assert "".join(part["text"] for part in answer["parts"]) == text
    pushes = {part["text"]: part["push"] for part in answer["parts"] if part["push"] is not None}
    assert answer["label"] == "bad"
    assert set(sorted(pushes, key=pushes.get)[-2:]) == {"dull", "awful"}
    assert min(pushes, key=pushes.get) == "great"


def test_words_numbers_and_marks_are_separate_parts(server):
    _, answer = server.post("/explain", {"text": "Isn't it well-made: 3.5 stars, 很好!?"})
    parts = [part["text"] for part in answer["parts"] if part["push"] is not None]
    assert parts == ["Isn't", "it", "well-made", ":", "3", ".", "5", "stars", ",", "很", "好", "!?"]


def test_a_push_is_the_probability_lost_by_leaving_the_word_out(server, learnt):
    """Each word is one token, so a text without the word has exactly the remaining tokens."""
    words = ["the", "film", "great", "dull", "great"]
    _, answer = server.post("/explain", {"text": " ".join(words)})
    without = [" ".join(words[:index] + words[index + 1 :]) for index in range(len(words))]
    probabilities = Classifier(learnt).probabilities([" ".join(words), *without])[
        :, ["bad", "good"].index(answer["label"])
    ]
    pushes = [part["push"] for part in answer["parts"] if part["push"] is not None]
    assert pushes == pytest.approx(
        [float(probabilities[0] - without_word) for without_word in probabilities[1:]], abs=1e-6
    )


def test_words_that_the_model_did_not_see_push_nothing(server):
    _, answer = server.post("/explain", {"text": "film " * 80 + "great"})
    parts = answer["parts"]
    assert answer["truncated"]
    assert len([part for part in parts if part["push"] is not None]) == 62  # 64 tokens with [CLS] and [SEP]
    assert parts[-1] == {"text": " " + "film " * 18 + "great", "push": None}


@pytest.mark.parametrize(
    "text", ["👍🏽 great 👩‍👩‍👧 film", "这部电影很好", "a\u200bb  \n\n great\tfilm", "...!?", "İstanbul’da film"]
)
def test_parts_join_to_the_text(server, text):
    status, answer = server.post("/explain", {"text": text})
    assert status == 200
    assert "".join(part["text"] for part in answer["parts"]) == text


def test_simultaneous_requests_share_model_calls(learnt):
    with running(learnt, "--threads", "1") as server:  # with one thread per client none would wait
        with ThreadPoolExecutor(16) as clients:
            found = list(clients.map(lambda text: server.post("/predict", {"text": text}), TEXTS * 10))
        assert {status for status, _ in found} == {200}
        assert server.metric("batch_rows_sum") == 400
        assert server.metric("batch_rows_count") < 400
        _, alone = server.post("/predict", {"texts": TEXTS})
        assert [answer["predictions"][0] for _, answer in found[:40]] == alone["predictions"]


def test_health_and_metrics_report_what_was_served(learnt):
    with running(learnt, "--window", "250") as server:
        assert server.get("/health")["drift"]["verdict"] == "too few texts"
        usual = [row["text"] for row in reviews(250, seed=6)]
        for start in range(0, 250, 125):
            server.post("/predict", {"texts": usual[start : start + 125]})
        server.post("/predict", {"texts": []})
        health = server.get("/health")
        assert (health["status"], health["labels"]) == ("ok", ["bad", "good"])
        assert (health["drift"]["verdict"], health["drift"]["texts"]) == ("none", 250)
        assert server.metric('http_requests_total{path="/predict",status="200"}') == 2
        assert server.metric('http_requests_total{path="/predict",status="422"}') == 1
        assert server.metric('http_request_seconds_count{path="/predict"}') == 3
        labels = [server.metric(f'predicted_texts_total{{label="{label}"}}') for label in ("bad", "good")]
        assert labels[1] == 250 - labels[0] == sum(row["label"] == "good" for row in reviews(250, seed=6))
        for start in range(0, 250, 125):
            server.post("/predict", {"texts": [f"{text} 电影" for text in usual[start : start + 125]]})
        drift = server.get("/health")["drift"]
        assert drift["verdict"] == "drift"
        assert drift["features"]["unknown"]["drifted"]
        shown = server.metric('drift_distance{feature="unknown"}'), server.metric('drift_limit{feature="unknown"}')
        assert shown[0] > shown[1]
        assert server.metric("drift_texts") == 250


def test_a_token_is_required_before_any_text_is_read(learnt):
    with running(learnt, SERVE_TOKEN="very secret") as server:
        assert server.post("/predict", {"text": "good"}, Authorization="Bearer very secret")[0] == 200
        assert server.post("/explain", {"text": "good"}, Authorization="Bearer very secret")[0] == 200
        for scheme in ("bearer", "BEARER "):  # in any case, with spaces after it
            assert server.post("/predict", {"text": "good"}, Authorization=f"{scheme} very secret")[0] == 200
        for given in (None, "Bearer very", "Bearer Very secret", "Basic very secret", "very secret", "Bearer", "é"):
            wrong = {} if given is None else {"Authorization": given}
            for path in ("/predict", "/explain"):
                status, headers, answer = server.send("POST", path, b"{", **wrong)
                assert (status, headers["www-authenticate"]) == (401, "Bearer")
                assert "Authorization: Bearer" in json.loads(answer)["detail"]
        assert server.send("GET", "/health")[0] == server.send("GET", "/metrics")[0] == 200
        assert b'type="password"' in server.send("GET", "/")[2]


def test_a_request_that_does_not_fit_the_queue_gets_503_and_retry_after(learnt):
    asked = {"/predict": {"texts": TEXTS * 3}, "/explain": {"text": "film " * 60}}
    with running(learnt, "--queue", "129", "--threads", "1") as server:
        with ThreadPoolExecutor(12) as clients:
            found = list(
                clients.map(
                    lambda path: (path, *server.send("POST", path, json.dumps(asked[path]).encode(), **JSON)),
                    [*asked] * 30,
                )
            )
        assert {status for _, status, _, _ in found} == {200, 503}
        for path, rows in (("/predict", 120), ("/explain", 61)):
            headers, body = next(rest for at, status, *rest in found if (at, status) == (path, 503))
            assert headers["retry-after"] == "1"
            reason = f"at most 129 texts can wait, and there is no room for {rows} more now; try again later"
            assert json.loads(body)["detail"] == reason
        assert server.post("/predict", {"text": "good"})[0] == 200  # there is room again


@pytest.mark.parametrize(("how", "status", "message"), [(signal.SIGTERM, 0, ""), (signal.SIGINT, 130, "stopped\n")])
def test_a_stopped_server_first_answers_accepted_requests(learnt, how, status, message):
    with running(learnt, "--threads", "1", "--queue", "4096") as server:
        body = {"texts": TEXTS * 3}
        with ThreadPoolExecutor(30) as clients:
            answers = [clients.submit(server.post, "/predict", body) for _ in range(30)]
            deadline = time.monotonic() + 30
            while server.metric("http_requests_open") < 31 and time.monotonic() < deadline:  # this one is open too
                if any(answer.done() for answer in answers):
                    break
            open_now = 30 - sum(answer.done() for answer in answers)
            ended = server.stop(how)
            found = [answer.result() for answer in answers]
        assert open_now > 3
        assert ended == (status, message)
        assert [len(answer["predictions"]) for status, answer in found if status == 200] == [120] * 30
        with pytest.raises(ConnectionRefusedError):
            server.get("/health")


def test_a_client_that_sends_half_a_body_does_not_delay_a_stop(learnt):
    with running(learnt) as server, socket.create_connection((server.host, server.port)) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        deadline = time.monotonic() + 30
        while server.metric("http_requests_open") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.stop() == (0, "")
        client.settimeout(SECONDS)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 408
        assert json.loads(answer.read()) == {"detail": "the body did not arrive within 5 seconds"}


def not_started(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and stderr of a server that does not start."""
    done = subprocess.run(**command(*arguments, **environment), timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--folder", "nowhere"], {}, "error: nowhere/tokenizer.json is missing; expected a folder that"),
        ([], {"SERVE_TOKEN": " "}, "error: SERVE_TOKEN is empty"),
        ([], {"SERVE_TOKEN": "secret\n"}, "error: SERVE_TOKEN begins or ends with whitespace"),
        ([], {"SERVE_TOKEN": " secret"}, "error: SERVE_TOKEN begins or ends with whitespace"),
        ([], {"SERVE_TOKEN": "señor"}, "error: SERVE_TOKEN must be printable ASCII"),
        ([], {"SERVE_TOKEN": "sec\udcffret"}, "error: SERVE_TOKEN must be printable ASCII"),
        ([], {"SERVE_TOKEN": "two\nlines"}, "error: SERVE_TOKEN must be printable ASCII"),
        (["--queue", "10"], {}, "error: --queue 10 has no room for the largest request; it must be at least 129"),
        ([], {"SERVE_HOST": ""}, "error: --host is empty; name an address, such as 127.0.0.1, or 0.0.0.0 for all of"),
        (["--host", "nowhere.invalid"], {}, "error: cannot listen at nowhere.invalid port 8000"),
    ],
)
def test_a_mistake_at_the_start_ends_in_one_line(learnt, arguments, environment, expected):
    status, message = not_started("--folder", str(learnt), *arguments, **environment)
    assert (status, message.count("\n")) == (1, 1)
    assert message.startswith(expected)


def test_a_taken_port_and_an_impossible_setting_are_reported(server, learnt):
    status, message = not_started("--folder", str(learnt), "--port", str(server.port))
    assert status == 1
    assert message.startswith(f"error: cannot listen at 127.0.0.1 port {server.port} (")
    assert "choose another with --host and --port" in message
    assert "argument --port: must be 0 to 65535, found 65536; " in not_started("--port", "65536")[1]
    status, message = not_started(SERVE_MAX_TEXTS="0")
    assert status == 2
    assert "argument --max-texts: must be at least 1, found 0; " in message


def test_a_profile_with_other_labels_is_reported(learnt, tmp_path):
    folder = shutil.copytree(learnt, tmp_path / "export")
    profile = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(json.dumps(profile | {"labels": ["x", "y"]}))
    status, message = not_started("--folder", str(folder))
    assert status == 1
    assert "profile.json is for the labels x, y, but the model has bad, good; export the model again" in message


def test_an_older_export_without_profile_and_card_is_served_too(learnt, tmp_path):
    folder = shutil.copytree(learnt, tmp_path / "export")
    (folder / "profile.json").unlink()
    (folder / "README.md").unlink()
    with running(folder) as server:
        assert server.get("/health")["drift"] is None
        assert server.post("/predict", {"text": "a great film"})[0] == 200
        assert server.send("GET", "/card")[0] == 404
        assert b"Model card" not in server.send("GET", "/")[2]


def test_answers_do_not_wait_for_acknowledgements():
    with listening("127.0.0.1", 0) as opened, socket.create_connection(opened.getsockname()):
        connection, _ = opened.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_server_imports_nothing_that_its_container_lacks():
    heavy = "torch transformers sklearn scipy pyarrow datasets evaluate pandas onnx accelerate huggingface_hub dvc"
    code = f"import finetune.serve.__main__, sys; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
