"""A Ray that asks for a token (RAY_AUTH_MODE=token); skipped without Ray."""

import os
import socket
import subprocess
import sys

import pytest

from tests.support.random_export import random_export

pytest.importorskip("ray")


def test_a_missing_token_ends_in_one_line(tmp_path):
    """Ray itself ends the process without a word."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/reviews.csv").write_text("text\na film\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "finetune.predict", "--model", str(random_export(tmp_path / "export"))]
    command += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--ray"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in ("auto", f"127.0.0.1:{server.getsockname()[1]}"):
            done = subprocess.run(
                [*command, address], env=environment, text=True, capture_output=True, timeout=60, check=False
            )
            assert done.returncode == 1
            assert done.stderr == (
                "error: RAY_AUTH_MODE is token, and there is no token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
                "~/.ray/auth_token to the token of the cluster\n"
            )
    assert not (tmp_path / "out").exists()
