"""The server against clients that are slow, silent, gone, many or wrong: raw sockets to a real process."""

import http.client
import json
import resource
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from finetune.predict.answers import answers
from finetune.runtime.classifier import Classifier
from tests.support.server import SECONDS, running
from tests.support.tiny import reviews

pytestmark = pytest.mark.xdist_group("serve")

LONG = {"texts": [("film " * 1600)[:8000]] * 100}  # a second of work for one thread
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(learnt):
    with running(learnt) as found:
        yield found


def opened(server) -> socket.socket:
    """A connection."""
    client = socket.create_connection((server.host, server.port), timeout=SECONDS)
    client.settimeout(SECONDS)
    return client


def posted(value) -> bytes:
    """A request to /predict, as bytes."""
    body = json.dumps(value).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer(client: socket.socket) -> tuple[int, dict, bytes]:
    """Status, headers and body of the next response."""
    found = http.client.HTTPResponse(client)
    found.begin()
    return found.status, {name.lower(): value for name, value in found.headers.items()}, found.read()


def exchange(server, *parts: bytes) -> tuple[int, dict, bytes]:
    """The response to bytes sent on a new connection."""
    with opened(server) as client:
        for part in parts:
            client.sendall(part)
        return answer(client)


def within(seconds: float, condition) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def open_files(most: int):
    """A lower limit of open files for processes that start inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_silent_connections_leave_room_for_others_and_one_line(learnt):
    """256 files leave room for 128 connections."""
    with ExitStack() as stack:
        with open_files(256):
            server = stack.enter_context(running(learnt))
        for _ in range(400):
            stack.enter_context(opened(server))
            if _ % 40 == 0:
                began = time.monotonic()
                assert server.get("/health")["status"] == "ok"
                assert time.monotonic() - began < 2
        assert server.metric("process_open_fds") <= 256
        assert server.post("/predict", {"text": "a great film"})[0] == 200
        status, message = server.stop()
        assert status == 0
        lines = message.splitlines()
        assert lines[0] == "256 open files (`ulimit -n`) leave room for 128 connections instead of 800"
        assert [line.partition(": ")[2][:27] for line in lines[1:]] == [" 128 connections are open: "]


def test_too_few_open_files_end_in_one_line(learnt):
    with open_files(100), pytest.raises(AssertionError) as raised, running(learnt):
        pass
    assert (
        str(raised.value) == "error: `ulimit -n` allows 100 open files, and the server needs at least 144; raise it\n"
    )


def test_a_connection_too_many_is_refused_while_all_wait_for_answers(learnt):
    many = posted({"texts": ["film " * 170] * 1000})
    with running(learnt, "--threads", "1", "--connections", "1", "--queue", "9999", "--max-texts", "1000") as server:
        for wait in (0.05, 0.1, 0.2, 0.4, 0.8):  # until the request is there as a whole, and before its answer
            with opened(server) as busy:
                busy.sendall(many)
                time.sleep(wait)
                status, headers, body = exchange(server, HEALTH)
            if status == 503:
                break
        assert (status, headers.get("retry-after")) == (503, "1")
        assert json.loads(body) == {"detail": "too many connections; try again later"}
        assert within(5, lambda: exchange(server, HEALTH)[0] == 200)


def drip(client: socket.socket, first: bytes, every: bytes):
    """Seconds until the server closes a connection on which a little arrives every half second, and all that it sent."""
    began, received = time.monotonic(), b""
    client.settimeout(0.5)
    client.sendall(first)
    while time.monotonic() - began < 15:
        try:
            if every:
                client.sendall(every)
            found = client.recv(65536)
            received += found
            if not found:
                break
        except TimeoutError:
            continue
        except OSError:
            break
        time.sleep(0.2)
    return time.monotonic() - began, received


def unread(server) -> float:
    """Seconds until the server closes a connection whose client asks for much and takes nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((server.host, server.port))
        client.settimeout(0.2)
        began = time.monotonic()
        while time.monotonic() - began < 15:
            try:
                client.sendall(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n")
            except TimeoutError:
                continue
            except OSError:
                break
            time.sleep(0.1)
        return time.monotonic() - began


def test_slow_clients_lose_their_connections(learnt):
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
    chunked = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    cases = {  # the first bytes, what comes every half second, and the beginning of the answer
        "silent": (b"", b"", b""),
        "a byte of the headers": (b"GET /health HTTP/1.1\r\nX: ", b"a", b"HTTP/1.1 408 "),
        "a byte of the body": (head % b"/predict", b" ", b"HTTP/1.1 408 "),
        "a body in chunks": (chunked, b"1\r\n \r\n", b"HTTP/1.1 408 "),
        "a body that nobody reads": (head % b"/nothing", b" ", b"HTTP/1.1 404 "),
        "a body of GET": (head.replace(b"POST", b"GET") % b"/health", b" ", b"HTTP/1.1 200 "),
        "idle after an answer": (HEALTH, b"", b"HTTP/1.1 200 "),
        "slow after an answer": (HEALTH + b"GET /he", b"a", b"HTTP/1.1 200 "),
    }
    with running(learnt) as server, ThreadPoolExecutor(20) as clients, ExitStack() as stack:
        found = {
            name: clients.submit(drip, stack.enter_context(opened(server)), first, every)
            for name, (first, every, _) in cases.items()
        }
        nothing_read = clients.submit(unread, server)
        for name, (_, _, expected) in cases.items():
            seconds, received = found[name].result()
            assert 4.5 < seconds < 8.5, (name, seconds, received)
            assert received.startswith(expected), (name, received)
            assert expected or not received, name
        assert 4.5 < nothing_read.result() < 11
        assert server.metric("http_requests_open") == 1
        assert server.stop() == (0, "")


def loaded(server, stack: ExitStack, count: int) -> list[socket.socket]:
    """Connections with long requests that all wait for answers."""
    clients = [stack.enter_context(opened(server)) for _ in range(count)]
    for client in clients:
        client.sendall(posted(LONG))
    assert within(20, lambda: server.metric("http_requests_open") == count + 1)
    return clients


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_with_too_much_to_do_answers_200_or_503(learnt, how):
    with running(learnt, "--threads", "1", "--queue", "99999") as server, ExitStack() as stack:
        clients = loaded(server, stack, 120)
        began = time.monotonic()
        assert server.stop(how) == (0, "")
        assert 6 < time.monotonic() - began < 10
        found = [answer(client) for client in clients]
        assert {status for status, _, _ in found} == {200, 503}
        for status, headers, body in found:
            if status == 503:
                assert headers["retry-after"] == "1"
                assert json.loads(body) == {"detail": "the server stops; try again later"}
            else:
                assert len(json.loads(body)["predictions"]) == 100


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_server_at_once(learnt, second):
    with running(learnt, "--threads", "1", "--queue", "9999") as server, ExitStack() as stack:
        loaded(server, stack, 10)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        began = time.monotonic()
        assert server.stop(second) == (128 + second, "stopped at once\n")
        assert time.monotonic() - began < 1


def test_rows_of_clients_that_hung_up_are_dropped(learnt):
    with running(learnt, "--threads", "1", "--queue", "9999") as server, ExitStack() as stack:
        clients = loaded(server, stack, 60)  # while they arrive, many rows are answered
        assert server.metric("waiting_rows") > 1000
        for client in clients:
            client.close()
        assert within(2, lambda: server.metric("waiting_rows") == 0)
        assert within(2, lambda: server.metric("http_requests_open") == 1)
        assert server.metric('http_requests_total{path="/predict",status="499"}') > 10
        assert server.stop() == (0, "")


def test_a_short_request_does_not_wait_for_long_ones(learnt):
    texts = [row["text"] for row in reviews(5, seed=5)]
    with running(learnt, "--threads", "1", "--queue", "9999") as server, ExitStack() as stack:
        alone = server.post("/predict", {"texts": texts})[1]["predictions"]
        clients = loaded(server, stack, 20)
        began = time.monotonic()
        assert server.post("/predict", {"text": texts[0]})[1]["predictions"] == alone[:1]
        assert server.post("/predict", {"texts": texts})[1]["predictions"] == alone
        assert time.monotonic() - began < 3
        assert server.metric("waiting_rows") > 300
        for client in clients:
            client.close()


def check_headers(headers: dict):
    """The headers that every answer has."""
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_head_is_get_without_a_body(server):
    paths = (
        "/",
        "/card",
        "/health",
        "/docs",
        "/openapi.json",
        "/page/serve.js",
        "/docs/assets/swagger-ui.css",
        "/nothing",
    )
    for path in paths:
        status, expected, _ = server.send("GET", path)
        with opened(server) as client:
            client.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            received = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        assert body == b""
        lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
        headers = {name: value for name, _, value in lines if name.lower() not in ("date", "connection")}
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert headers == {name: value for name, value in expected.items() if name != "date"}
    assert server.send("HEAD", "/metrics")[0] == 200
    assert server.send("HEAD", "/predict")[:2][1]["allow"] == "POST"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("OPTIONS", "/predict", 405, "POST"),
        ("PUT", "/predict", 405, "POST"),
        ("TRACE", "/health", 405, "GET, HEAD"),
        ("DELETE", "/", 405, "GET, HEAD"),
        ("MADE-UP", "/explain", 405, "POST"),
        ("GET", "/nothing", 404, None),
        ("POST", "/../etc/passwd", 404, None),
    ],
)
def test_other_methods_and_paths_are_refused_with_all_headers(server, method, path, status, allow):
    found, headers, body = server.send(method, path)
    assert (found, headers.get("allow")) == (status, allow)
    assert json.loads(body)["detail"]
    check_headers(headers)


ODD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GOOD = b'{"text": "good"}'


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://other/health HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 700_000 + b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 120_000 + b"\r\n", 400),
        (ODD + b"Content-Length: -1\r\n\r\n" + GOOD, 400),
        (ODD + b"Content-Length: 16, 17\r\n\r\n" + GOOD, 400),
        (ODD + b"Content-Length: " + b"9" * 25 + b"\r\n\r\n" + GOOD, 400),
        (ODD + b"Content-Length: 9999999\r\n\r\n" + GOOD, 413),
        (ODD + b"Content-Length: 16\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + GOOD + b"\r\n0\r\n\r\n", (200, 400)),
        (ODD + b"Transfer-Encoding: gzip\r\n\r\n" + GOOD, 400),
        (ODD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD, 400),
        (ODD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
        (ODD + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + GOOD + b"\r\n0\r\n\r\n", 200),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        (ODD + b"Content-Length: 16\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GOOD, 200),
        (ODD.replace(b"application/json", b"image/png") + b"Content-Length: 16\r\n\r\n" + GOOD, 422),
        (ODD + b"Content-Encoding: gzip\r\nContent-Length: 16\r\n\r\n" + GOOD[:-1] + b"x", 400),
    ],
)
def test_odd_requests_get_one_answer_with_all_headers(server, sent, status):
    found, headers, body = exchange(server, sent)
    assert found in (status if isinstance(status, tuple) else (status,)), body
    check_headers(headers)
    assert json.loads(body)
    assert exchange(server, HEALTH)[0] == 200


def test_pipelined_requests_are_answered_in_order(server):
    with opened(server) as client:
        client.sendall(HEALTH + posted({"text": "good"}) + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        found = b""
        while found.count(b"HTTP/1.1 ") < 3:
            found += client.recv(65536)
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


def test_a_body_is_asked_for_unless_it_is_too_large(server):
    with opened(server) as client:
        client.sendall(ODD + b"Expect: 100-continue\r\nContent-Length: 16\r\n\r\n")
        assert client.recv(999).startswith(b"HTTP/1.1 100 ")
        client.sendall(GOOD)
        assert answer(client)[0] == 200
    assert exchange(server, ODD + b"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")[0] == 413


def test_bad_clients_write_little_to_the_log(learnt):
    with running(learnt) as server:
        for _ in range(200):
            with opened(server) as client:
                client.sendall(b"\x16\x03\x01\r\n\r\n" + ODD)
        for _ in range(50):
            with opened(server) as client:
                client.sendall(ODD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n" + GOOD)
        assert exchange(server, HEALTH)[0] == 200
        status, message = server.stop()
        assert status == 0
        assert message.splitlines() == ["WARNING:  Invalid HTTP request received."]


def test_a_failing_model_call_is_answered_and_logged_once(learnt, tmp_path):
    """A token whose id the model lacks makes onnxruntime fail."""
    folder = shutil.copytree(learnt, tmp_path / "export")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(
        tokenizer["added_tokens"][0] | {"id": 999_999, "content": "[FAIL]", "special": False}
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with running(folder) as server:
        for path in ("/predict", "/explain", "/predict"):
            status, headers, body = server.send(
                "POST", path, b'{"text": "good [FAIL]"}', **{"Content-Type": "application/json"}
            )
            assert (status, headers["content-type"]) == (500, "application/json")
            assert json.loads(body) == {"detail": "the server failed to answer; its log gives the reason"}
            check_headers(headers)
            assert server.post("/predict", {"text": "good"})[0] == 200
        assert server.metric('http_requests_total{path="/predict",status="500"}') == 2
        status, message = server.stop()
    assert status == 0
    assert [line[:23] for line in message.splitlines()] == ["ERROR:    /predict fail", "ERROR:    /explain fail"]


def test_a_nul_is_read_as_the_pipeline_reads_it(server, learnt):
    texts = ["a great\0 film", "\0dull"]
    labels, _, probability, _ = answers(Classifier(learnt), texts)
    status, found = server.post("/predict", {"texts": texts})
    assert status == 200
    assert [prediction["label"] for prediction in found["predictions"]] == labels
    assert [prediction["probability"] for prediction in found["predictions"]] == pytest.approx(
        probability.tolist(), abs=1e-6
    )
    assert answers(Classifier(learnt), ["\0"]).labels == [None]  # nothing of it can be seen
    assert server.post("/predict", {"text": "\0"})[0] == 422
    status, explained = server.post("/explain", {"text": texts[0]})
    assert status == 200
    assert "".join(part["text"] for part in explained["parts"]) == texts[0]
