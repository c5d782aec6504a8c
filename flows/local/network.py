"""Addresses of this machine: which ports are free, and what answers."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

from pgfolio.config.errors import UserError


class ChildError(UserError):
    """A program that `up` started ended, or did not answer in time."""


def answers(url: str, timeout: float = 1.0) -> bool:
    """Whether a GET of a local or configured address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 -- our own or configured
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def free_port(host: str, port: int) -> int:
    """The port, 0 for any that is free. Raises ChildError where another program has it: another pgfolio there would
    answer in the place of ours."""
    try:
        with socket.create_server((host, port), family=_family(host)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ChildError(
            f"cannot listen on {host}:{port}: {error.strerror or error}: choose another --port"
        ) from error


def address(host: str, port: int) -> str:
    """Where this machine reaches what listens there."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
