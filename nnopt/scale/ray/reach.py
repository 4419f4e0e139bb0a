"""Whether a Ray cluster answers, found out within seconds: Ray itself tries for two minutes, and says a lot."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

from nnopt.errors import UsageError

SECONDS = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # and empty settings
SETTINGS = 4  # the kind of frame that a server of HTTP/2, as gRPC is, begins with
SECONDS_TO_ASK = 60.0
# In a process of its own: Ray's C++ decides once whether it shows a token.
ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
CURRENT = Path("ray_current_cluster")  # below Ray's temporary folder: the cluster that `ray start` made here


def reach(address: str) -> str:
    """The address of the cluster that is meant, after a word with it; `local` where Ray is to be started here.

    Raises:
        UsageError: nothing of the kind answers.
    """
    given = address or os.environ.get("RAY_ADDRESS", "")
    if given in ("", "local"):
        return "local"
    if given == "auto":
        given = _current()
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError(f"{given} is no address of a Ray cluster: write host:port, such as 10.0.0.5:6379, or auto")
    advice = f"start it there with `ray start --head --port={port}`, or look at its address with `ray status`"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS) as connection:
            connection.settimeout(SECONDS)
            connection.sendall(PREFACE)
            answer = connection.recv(9)
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        raise UsageError(f"no Ray cluster answers at {given} ({reason}): {advice}") from None
    except OverflowError:
        raise UsageError(f"no Ray cluster answers at {given}: ports end at 65535") from None
    if len(answer) < 4 or answer[3] != SETTINGS:
        raise UsageError(f"what answers at {given} is no Ray cluster: {advice}")
    return given


def _current() -> str:
    """The cluster that this machine is part of."""
    with contextlib.suppress(OSError):
        folder = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray"
        found = (folder / CURRENT).read_text().strip()
        if found:
            return found
    raise UsageError("no Ray runs on this machine: `ray start --head` begins a cluster, ray:host:port names another")


def authentication(address: str) -> dict[str, str]:
    """The environment by which Ray shows a token where one is wanted.

    One of its own for a Ray that ends with the crew. Elsewhere the user's, unless the cluster is open to all: machines
    of such a cluster refuse each other where one of them speaks of tokens.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    if address == "local":
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    is_named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if not is_named and not (Path.home() / ".ray" / "auth_token").exists():
        return {}
    without = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-c", ASK, address]
    try:
        is_open = subprocess.run(command, env=without, capture_output=True, timeout=SECONDS_TO_ASK).returncode == 0
    except subprocess.TimeoutExpired:
        is_open = True
    return {"RAY_AUTH_MODE": "disabled" if is_open else "token"}
