"""Object stores and web servers by obstore: s3, gs, az, http and https. Credentials come by the means of each: the
environment (AWS_*, GOOGLE_*, AZURE_*), the machine's own role, and boto3's profiles where boto3 is installed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import from_url

from pgfolio.config.environment import variables
from pgfolio.flows.remote.records import RemoteFile, RemoteUnreachable, UnlistedFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgfolio.flows.remote.records import Presence

RETRY: Final[dict[str, Any]] = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
"""Of requests that fail or are throttled, with waits that double."""
CLIENT: Final[dict[str, Any]] = {"timeout": timedelta(seconds=120), "connect_timeout": timedelta(seconds=10)}
S3_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
}
"""By any of these obstore finds its own."""
EXPIRED: Final = "ExpiredToken"
"""What S3 says with 400, and others with 403, of credentials that were good until just now."""

REASONS: Final = {
    EXPIRED: "the credentials have expired: renew them, then sync again",
    "NoSuchBucket": "there is no such bucket",
    "169.254.169.254": "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "AWS_SKIP_SIGNATURE=true for a public bucket",
    "status code: 401": "the credentials are missing or wrong (401)",
    "status code: 403": "these credentials may not (403)",
    "status code: 405": "the server cannot list files (405: no WebDAV)",
    "status code: 501": "the server cannot list files (501: no WebDAV)",
    "status code: 404": "there is no such place (404)",
    "status code: 429": "it asks for fewer requests, again and again (429)",
    "status code: 503": "it is overloaded or asks for fewer requests, again and again (503)",
    "error sending request": "it cannot be reached",
}
REFUSED: Final = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)


class ObjectStore:
    """Below a URL of s3, gs, az, http or https. Raises RemoteUnreachable."""

    def __init__(self, url: str) -> None:
        self._url = url
        path = unquote(urlsplit(url).path).strip("/")
        self._prefix = f"{path}/" if path and url.startswith("http") else ""
        self.has_content_tags = url.startswith("s3://")  # an ETag of others is made of a time or a number
        try:
            make: Any = from_url  # its overloads are by scheme
            self._store = make(
                url, config=_config(url), client_options=_client(url), retry_config=RETRY, **_credentials(url)
            )
        except (exceptions.BaseError, ValueError) as error:
            raise RemoteUnreachable(f"{url} cannot be used: {_first_line(error)}") from error

    def list_files(self) -> Iterator[RemoteFile | UnlistedFolder]:
        """Page by page; where a key is no path, all once more folder by folder: it hides its folder alone then."""
        try:
            for page in obstore.list(self._store):
                yield from self._files(page)
        except exceptions.InvalidPathError:
            yield from self._by_folders()
        except (exceptions.BaseError, OSError) as error:
            raise self._unreachable("cannot be listed", error) from error

    def _by_folders(self) -> Iterator[RemoteFile | UnlistedFolder]:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                page = obstore.list_with_delimiter(self._store, folder or None)
            except exceptions.InvalidPathError as error:
                if not folder:
                    raise self._unreachable("has a key that is no path", error) from error
                yield UnlistedFolder(f"{folder}/", f"a key below it is no path: {_first_line(error)}")
                continue
            except (exceptions.BaseError, OSError) as error:
                raise self._unreachable("cannot be listed", error) from error
            folders.extend(page["common_prefixes"])
            yield from self._files(page["objects"])

    def _files(self, page: Iterable[Mapping[str, Any]]) -> Iterator[RemoteFile]:
        """Of a web server obstore lists paths from the server's root, of all others from the URL."""
        for each in map(_file, page):
            if not self._prefix:
                yield each
            elif each.path.startswith(self._prefix):
                yield each._replace(path=each.path.removeprefix(self._prefix))

    def read(self, path: str, max_bytes: int) -> tuple[bytes, RemoteFile]:
        try:
            answer = obstore.get(self._store, path)
            data = bytearray()
            for part in answer.stream():
                data += bytes(part)
                if len(data) > max_bytes:
                    break
            return bytes(data), _file(answer.meta)._replace(path=path)
        except FileNotFoundError:
            raise
        except REFUSED as error:
            if EXPIRED in str(error):  # it is not this object that they may not
                raise self._unreachable("does not answer", error) from error
            raise PermissionError(13, "these credentials may not read it") from error
        except (exceptions.BaseError, OSError) as error:
            raise self._unreachable("does not answer", error) from error

    def presence(self, path: str) -> Presence:
        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            return "gone"
        except (exceptions.BaseError, OSError):
            return "unknown"
        return "there"

    def close(self) -> None: ...

    def _unreachable(self, what: str, error: Exception) -> RemoteUnreachable:
        return RemoteUnreachable(f"{self._url} {what}: {_explained(error)}")


def _config(url: str) -> dict[str, Any]:
    """Obstore does not know the endpoint's newer name."""
    endpoint = variables().get("AWS_ENDPOINT_URL_S3") or variables().get("AWS_ENDPOINT_URL")
    return {"endpoint": endpoint} if endpoint and url.startswith("s3://") else {}


def _client(url: str) -> dict[str, Any]:
    """Without TLS where the user has named such an address."""
    address = _config(url).get("endpoint", url)
    return {**CLIENT, "allow_http": address.startswith("http://")}


def _credentials(url: str) -> dict[str, Any]:
    """Those of boto3, which knows the profiles of ~/.aws, where the environment has none."""
    if not url.startswith("s3://") or not variables().keys().isdisjoint(S3_CREDENTIALS):
        return {}
    try:
        from boto3 import Session  # noqa: PLC0415 -- where it is installed
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 -- as above
    except ImportError:
        return {}
    session = Session()
    return {"credential_provider": Boto3CredentialProvider(session)} if session.get_credentials() else {}


def _explained(error: Exception) -> str:
    said = str(error)
    for sign, reason in REASONS.items():
        if sign in said:
            return reason
    return _first_line(error)


def _first_line(error: Exception) -> str:
    """Without what stands behind a question mark: signatures do."""
    return re.sub(r"\?\S*", "", str(error).split("\n", 1)[0])[:300].strip()


def _file(found: Mapping[str, Any]) -> RemoteFile:
    moment = found["last_modified"]
    mtime_ns = int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
    return RemoteFile(
        found["path"], found["size"], mtime_ns, _quoted(found["e_tag"] or "") or found["version"] or ""
    )


def _quoted(tag: str) -> str:
    """As HTTP has entity tags (RFC 9110, 8.8.3). Azure's listing leaves the quotes away, its answers do not."""
    return tag if not tag or tag.endswith('"') else f'"{tag}"'
