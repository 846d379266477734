"""The connection to a Ray cluster, whose workers get this project's code; if it fails, one line gives the reason.

Ray is imported here only when somebody asks for it: `make cluster` installs it. A cluster is started with `ray start`
(https://docs.ray.io/en/latest/cluster/vms/user-guides/launching-clusters/on-premises.html), never by this project.
"""

import contextlib
import json
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from finetune.base.errors import UserError, one_line

INSTALL = "`make cluster`, or `pip install -r requirements-cluster.txt -c constraints.txt`"
TOKEN = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token to the token of the cluster"
SECONDS = 5  # until an address that does not answer is given up
# Read by Ray when it is imported. No statistics to its makers, no messages of its own on stderr: ours say more.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_py_gcs_connect_timeout_s": str(SECONDS),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextlib.contextmanager
def connection(address: str, environment: dict[str, str]) -> Iterator[ModuleType]:
    """Ray, connected to the cluster at HOST:PORT or "auto" during the block; what runs there ends with the block.

    Workers get this project's code, and `environment`. Raises UserError without Ray here or there, and if Ray or Python
    has another version there.
    """
    ray = imported()
    address = checked(ray, address)
    # Not public, but Ray prints pages to stdout when a machine dies, whatever its settings; our own line says that.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    before = signal.getsignal(signal.SIGTERM)
    try:
        with quiet():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"py_modules": [package_folder()], "env_vars": environment},
            )
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"Ray at {address} takes no work from here ({one_line(error)[:300]}); run the command on a machine of the "
            "cluster, which `ray start --address=HOST:PORT` adds"
        ) from None
    signal.signal(signal.SIGTERM, before)  # Ray has replaced it
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Block in which nothing reaches stderr: Ray's C++ writes there about what it raises too."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def package_folder() -> str:
    """The folder `finetune`, which Ray copies to each machine."""
    return str(Path(__file__).parent.parent)


def imported() -> ModuleType:
    """The module `ray`; raises UserError if it is not installed."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UserError(f"--ray needs Ray, which is not installed; run {INSTALL}") from None
    return ray


def checked(ray: ModuleType, address: str) -> str:
    """The address for `ray.init`. Raises UserError if no Ray answers there, or one of another version.

    Ray itself would try for minutes, and end the process without an exception.
    """
    from ray._private.services import canonicalize_bootstrap_address

    check_token(ray)
    if address == "auto":
        try:
            address = canonicalize_bootstrap_address(address) or address
        except (ConnectionError, ValueError):  # no Ray runs here, which `ray.init` reports
            return address
    host, _, port = address.rpartition(":")
    if address.startswith("ray://") or not host or not port.isdecimal():
        raise UserError(
            f"--ray must be HOST:PORT, as `ray start` prints it, or auto, found {address}; a client address (ray://) is not "
            "taken: run the command on a machine of the cluster"
        )
    # Ray takes localhost for the machine's address in its network, at which a cluster on loopback does not listen.
    if not answers(canonicalize_bootstrap_address(address)):
        raise UserError(
            f"there is no Ray at {address}; start it there with `ray start --head`, or correct --ray to the address that it prints"
        )
    check_versions(ray, address)
    return address


def answers(address: str) -> bool:
    """Whether anything accepts a connection at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
    except (OSError, OverflowError):
        return False
    return True


def check_token(ray: ModuleType):
    """Raises UserError if Ray is set to show a token and has none: it would end the process without a word."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)
    except (RuntimeError, ray.exceptions.RayError):
        raise UserError(f"RAY_AUTH_MODE is token, and there is no token; {TOKEN}") from None


def check_versions(ray: ModuleType, address: str):
    """Raises UserError if what answers at the address is not Ray, or a Ray or Python of another version."""
    # Not public, but Ray has no other way to ask without starting work; its version is pinned.
    from ray._raylet import GcsClient

    try:
        with quiet():
            found = GcsClient(address=address).internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster")
        facts = json.loads(found)
    except ray.exceptions.AuthenticationError:
        raise UserError(f"Ray at {address} wants a token and got none, or another one; {TOKEN}") from None
    except (ray.exceptions.RayError, TypeError, ValueError) as error:
        raise UserError(
            f"what answers at {address} is no Ray ({one_line(error)[:200]}); correct --ray to the address that `ray start` prints"
        ) from None
    found = facts["ray_version"], facts["python_version"]
    expected = ray.__version__, platform.python_version()
    if found != expected:
        raise UserError(
            f"the cluster at {address} has Ray {found[0]} on Python {found[1]}, expected Ray {expected[0]} on Python "
            f"{expected[1]}, as here; install the same versions on every machine"
        )
