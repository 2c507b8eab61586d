"""A small client of the portal's REST API."""

from __future__ import annotations

import time
from typing import Any

import httpx

_TIMEOUT_S = 30.0
_PATIENCE_S = 20.0  # with a portal that is just being started again
_AGAIN = {502, 503, 504}


class ApiTrouble(Exception):
    """The portal refused, or could not be reached; the text is its own explanation."""


class PortalApi:
    """Speaks to one team of one portal, as its token allows."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,  # a proxy does not reach this machine
        )

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON at `path`. Raises: ApiTrouble."""
        return self._call("GET", path, params=query).json()

    def log(self, job_id: int) -> tuple[str, bool]:
        """What is kept of a job's log, and whether that is all there will be."""
        answer = self._call("GET", f"/jobs/{job_id}/logs")
        return answer.text, bool(answer.headers.get("X-Log-Ending"))

    def send(self, method: str, path: str, body: dict[str, Any], *, key: str = "") -> Any:
        """Ask for a change; `key` makes a repeated one count once. Raises: ApiTrouble."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._call(method, path, json=body, headers=headers).json()

    def _call(self, method: str, path: str, **request: Any) -> httpx.Response:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                answer = self._http.request(method, path, **request)
                trouble = "" if answer.is_success else _explained(answer)
                passing = answer.status_code in _AGAIN
            except httpx.TransportError as error:
                trouble, passing = f"{method} {path}: {error}", True
            if not trouble:
                return answer
            if not passing or time.monotonic() > deadline_s:
                raise ApiTrouble(trouble)
            time.sleep(0.5)


def _explained(answer: httpx.Response) -> str:
    """What a problem document says, or as much as there is."""
    where = f"{answer.request.method} {answer.request.url.path}"
    try:
        problem = answer.json()
        said = problem.get("detail") or problem.get("title") or answer.text
        wrong = ", ".join(f"{e['pointer']} {e['code']}" for e in problem.get("errors", []))
        return f"{where} was answered {answer.status_code}: {said} {wrong}".rstrip()
    except (ValueError, AttributeError, KeyError):  # not a problem document
        return f"{where} was answered {answer.status_code}: {answer.text[:200]}"
