"""`predict --ray` on a real Ray cluster of two nodes on this machine, from S3 to S3; skipped without Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.random_export import random_export
from tests.support.s3_server import S3, bucket_keys, s3_endpoint
from tests.support.tiny import reviews, write_table

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402 (Ray may be missing)

PARTS, ROWS = 12, 20_000  # half a second a part, so that both nodes are at work when one of them is killed


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    return random_export(tmp_path_factory.mktemp("cluster") / "export")


@pytest.fixture
def s3(monkeypatch):
    """A bucket; Ray's workers take its address and credentials from the environment in which a node starts."""
    with s3_endpoint() as endpoint:
        for name, value in (endpoint.environment | {"RAY_USAGE_STATS_ENABLED": "0"}).items():
            monkeypatch.setenv(name, value)
        endpoint.client.create_bucket(Bucket="reviews")
        yield endpoint


@pytest.fixture
def cluster(s3, monkeypatch):
    """Two nodes with a core each, which see the bucket."""
    assert s3.url
    monkeypatch.delenv("PYTHONPATH")  # the code must come from the driver
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        made.second = made.add_node(num_cpus=1)
        yield made
    finally:
        made.shutdown()


def started(shipped: Path, cluster: Cluster, target: str, **how) -> subprocess.Popen:
    command = [sys.executable, "-m", "finetune.predict", "--model", str(shipped), "--threads", "1"]
    command += ["--input", "s3://reviews/in/", "--output", f"s3://reviews/{target}/", "--ray", cluster.address]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)


def wait_for_parts(s3: S3, target: str, running: subprocess.Popen, count: int):
    """Until so many parts are there, while others are still made."""
    end = time.monotonic() + 120
    while len(parts(s3, target)) < count:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def parts(s3: S3, target: str) -> dict[str, bytes]:
    keys = [key for key in bucket_keys(s3, "reviews") if key.startswith(f"{target}/") and key.endswith(".parquet")]
    return {Path(key).name: s3.read("reviews", key) for key in keys}


@pytest.mark.filterwarnings("ignore")  # Ray leaves files open
def test_a_dead_node_and_a_stop_cost_no_part_and_change_no_byte(shipped, s3, cluster, tmp_path):
    """One node is killed during the first run; the second run is stopped with Ctrl-C, and the same command makes the rest."""
    texts = [row["text"] for row in reviews(PARTS * ROWS, seed=4)]
    for number in range(PARTS):
        table = tmp_path / f"in/part-{number:02}.csv"
        table.parent.mkdir(exist_ok=True)
        write_table(table, [{"id": str(at), "text": texts[at]} for at in range(number * ROWS, (number + 1) * ROWS)])
        s3.write("reviews", f"in/{table.name}", table.read_bytes())
    here = [sys.executable, "-m", "finetune.predict", "--model", str(shipped), "--threads", "1"]
    here += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    subprocess.run(here, check=True, capture_output=True, cwd=os.environ.get("PWD"))
    expected = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.parquet")}
    assert len(expected) == PARTS

    running = started(shipped, cluster, "stopped")
    wait_for_parts(s3, "stopped", running, 1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "the same command makes the others" in said
    assert "Traceback" not in said
    done = len(parts(s3, "stopped"))
    assert 0 < done < PARTS

    running = started(shipped, cluster, "stopped")
    wait_for_parts(s3, "stopped", running, done + 1)
    cluster.remove_node(cluster.second, allow_graceful=False)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert f"{PARTS} parts are in s3://reviews/stopped" in said
    assert "another one takes over" in said
    assert parts(s3, "stopped") == expected
