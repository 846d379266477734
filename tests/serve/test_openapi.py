"""The server against its OpenAPI document: schemathesis generates requests and checks the responses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import running

pytestmark = pytest.mark.xdist_group("serve")

EXAMPLES = 30  # per operation and phase; ten times as many found nothing more


def test_every_generated_request_is_answered_as_documented(learnt, tmp_path):
    assert_as_documented(learnt, tmp_path)


def assert_as_documented(folder: Path, tmp_path: Path):
    """Every answer of a server on this folder is one that its document allows."""
    program = Path(sys.executable).with_name("schemathesis")
    with running(folder, "--max-texts", "20", "--max-characters", "200", SERVE_TOKEN="secret") as server:
        options = ["--header", "Authorization: Bearer secret", "--max-examples", str(EXAMPLES), "--no-color"]
        done = subprocess.run(
            [
                program,
                "run",
                f"{server.address}/openapi.json",
                "--seed",
                "1",
                "--generation-database",
                "none",
                *options,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "No issues found" in done.stdout
        assert "Tested: 4" in done.stdout  # /predict, /explain, /health, /metrics
        sent = int(re.search(r"(\d+) generated", done.stdout)[1])
        assert sent > 100
        # The server's own count of what it answered.
        text = server.send("GET", "/metrics")[2].decode()
        statuses = dict(re.findall(r'http_requests_total\{path="/predict",status="(\d+)"\} (\S+)', text))
        assert {"200", "401", "422"} <= set(statuses)
        assert not any(status.startswith("5") for status in statuses)


def test_the_document_declares_the_token_where_it_is_needed(learnt):
    for environment, expected in (({"SERVE_TOKEN": "secret"}, [{"HTTPBearer": []}]), ({}, None)):
        with running(learnt, **environment) as server:
            paths = server.get("/openapi.json")["paths"]
            assert paths["/predict"]["post"].get("security") == paths["/explain"]["post"].get("security") == expected
            assert "security" not in paths["/health"]["get"]
