"""The portal as a job's process sees it: one address that takes batches of metrics."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

_PATH = "/api/v1/telemetry"
_TIMEOUT_S = 5.0
_AGAIN = frozenset({408, 425, 429})
_NO_RIGHT = frozenset({401, 403})


class Away(Exception):
    """The portal cannot be reached or cannot answer now; the same batch may be sent again."""


class Refused(Exception):
    """The portal will never take this batch. `for_good`: nor any other of this job."""

    def __init__(self, reason: str, *, for_good: bool) -> None:
        super().__init__(reason)
        self.for_good = for_good


class Portal:
    """Keeps one connection open. For one thread.

    Raises: ValueError if the address is not of http or https.
    """

    def __init__(self, *, url: str, token: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            msg = f"REGATTA_URL must be like http://portal:8000, not {url!r}"
            raise ValueError(msg)
        secure = address.scheme == "https"
        connection = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = connection(address.hostname, address.port, timeout=_TIMEOUT_S)
        self._path = address.path.rstrip("/") + _PATH
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }

    def send(self, body: bytes) -> None:
        """Deliver one batch; a second delivery of the same one has no effect there.

        Raises: Away to try again later, Refused to give up.
        """
        try:
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            msg = f"{type(error).__name__}: {error}"
            raise Away(msg) from error
        if answer.status < 300:
            return
        msg = f"{answer.status} {text[:500].decode(errors='replace')}"
        if answer.status in _AGAIN or answer.status >= 500 or not _is_ours(answer):
            raise Away(msg)
        raise Refused(msg, for_good=answer.status in _NO_RIGHT)


def _is_ours(answer: http.client.HTTPResponse) -> bool:
    """A refusal in the portal's own words: a proxy's 404 proves nothing."""
    return answer.headers.get_content_type() == "application/problem+json"
