"""What goes wrong with a file, wherever it is, as one of our errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from loom_dagster.errors import LoomError, Misconfigured, Transient

__all__ = ["NO_FILES", "accessing"]

NO_FILES = "no_files"
"""The kind of the error that says so: nothing is wrong with the place, and files may come."""

_REMOTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")
# by name, for none of the drivers is imported here: botocore, aiohttp, google, azure
_AWAY = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "ClientConnectionError",
     "ClientConnectorError", "ServerDisconnectedError", "ServerTimeoutError", "TransportError", "ServiceRequestError",
     "ServiceResponseError", "ClientPayloadError", "ResponseStreamingError", "FSTimeoutError"}
)  # fmt: skip
_NOT_AWAY = frozenset({"SSLError", "ClientSSLError", "ClientConnectorCertificateError"})
_BUSY = frozenset({errno.EBUSY, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.ETIMEDOUT)})


@contextmanager
def accessing(uri: str, *, to: str = "read") -> Iterator[None]:
    """What goes wrong with a place becomes Transient (its server does not answer) or Misconfigured.
    Messages of remote drivers are not repeated, they can hold signed URLs."""
    try:
        yield
    except LoomError:
        raise
    except FileNotFoundError as error:
        fix = "check the path" if _REMOTE.match(uri) else "check the path; relative ones start at the project"
        raise Misconfigured(f"{uri} does not exist", fix=fix, kind=NO_FILES) from error
    except PermissionError as error:
        verb = "written" if to == "write" else "read"
        raise Misconfigured(
            f"{uri} may not be {verb}", why="permission denied", fix="give this user the right to"
        ) from error
    except IsADirectoryError as error:
        raise Misconfigured(f"{uri} is a folder, not a file") from error
    except UnicodeError as error:
        raise Misconfigured(
            f"{uri} is not in the encoding expected",
            why=str(error),
            fix="name the right one in `extract.encoding`",
        ) from error
    except Exception as error:
        raise _translated(error, uri, to) from error


def _translated(error: Exception, uri: str, to: str) -> LoomError:
    """A driver's own error (credentials, network), or a file that is not what its name says."""
    names = {kind.__name__ for kind in type(error).__mro__}
    remote = _REMOTE.match(uri) is not None
    if remote and _is_away(error, names):
        return Transient(
            f"cannot {to} {uri}",
            why=f"its server does not answer ({type(error).__name__})",
            fix="it is tried again with the next run",
            kind="server_away",
        )
    if isinstance(error, OSError):
        return Misconfigured(f"cannot {to} {uri}", why=error.strerror or type(error).__name__)
    if not remote:
        return Misconfigured(f"cannot {to} {uri}", why=_first_line(error))
    fix = None
    if "Credentials" in type(error).__name__:
        given = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if uri.startswith("s3") else "its credentials"
        fix = f"set {given} in the environment"
    return Misconfigured(f"cannot {to} {uri}", why=type(error).__name__, fix=fix)


def _is_away(error: Exception, names: set[str]) -> bool:
    if names & _NOT_AWAY:
        return False
    busy = isinstance(error, OSError) and error.errno in _BUSY
    return busy or isinstance(error, ConnectionError | TimeoutError) or bool(names & _AWAY)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
