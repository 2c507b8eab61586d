"""A head over HTTP: whether its door is guarded, which nodes it counts, and which of them work."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from regatta.lifecycle.cluster import Door, Seen

_REFUSED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_PROBE = "/api/jobs/regatta-probe"  # no such job: the list of all grows with every job
_MOST_BYTES = 8 << 20
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading them takes longer than a look


class Silent(Exception):
    """It did not answer, or not as a head does."""


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


class Head:
    """Speaks to one head, with its token. For a `with` statement."""

    def __init__(self, address: str, token: str, *, timeout_s: float = 3.0) -> None:
        self._http = httpx.Client(
            base_url=address, timeout=timeout_s, trust_env=False, verify=_NO_AUTHORITIES
        )
        self._bearer = {"Authorization": f"Bearer {token}"}

    def __enter__(self) -> Head:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def door(self) -> Door:
        """How the Jobs API answers without the token and with it."""
        try:
            stranger = self._http.get(_PROBE).status_code
            if stranger in _REFUSED:
                ours = self._http.get(_PROBE, headers=self._bearer)
                known = ours.status_code == httpx.codes.NOT_FOUND and "does not exist" in ours.text
                return Door.GUARDED if known else Door.SILENT
        except httpx.TransportError:
            return Door.SILENT
        # A 404 is the Jobs API's own answer to whom it serves; a 5xx tells nothing.
        return Door.OPEN if stranger in {httpx.codes.OK, httpx.codes.NOT_FOUND} else Door.SILENT

    def nodes(self) -> Mapping[str, Seen]:
        """ALIVE or DEAD, by the names of the nodes that it knows.

        Raises: Silent.
        """
        rows = self._state("nodes", limit=10_000)
        dead = {str(row["node_name"]): Seen.DEAD for row in rows if row["state"] == "DEAD"}
        return dead | {str(r["node_name"]): Seen.ALIVE for r in rows if r["state"] == "ALIVE"}

    def busy(self) -> frozenset[str]:
        """The names of nodes on which a task or an actor runs.

        Raises: Silent.
        """
        nodes = self._state("nodes", limit=10_000)
        tasks = self._state("tasks", limit=1000, **_only("state", "RUNNING"))
        actors = self._state("actors", limit=1000, **_only("state", "ALIVE"))
        ids = {row.get("node_id") for row in (*tasks, *actors)}
        return frozenset(str(node["node_name"]) for node in nodes if node["node_id"] in ids)

    def _state(self, what: str, **query: str | int) -> list[dict[str, Any]]:
        try:
            answer = self._http.get(f"/api/v0/{what}", params=query, headers=self._bearer)
            rows = answer.raise_for_status().json()["data"]["result"]["result"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise Silent(f"{what}: {error!r}") from error
        if not isinstance(rows, list) or len(answer.content) > _MOST_BYTES:
            raise Silent(f"{what}: not a list that a head would give")
        return rows


def _only(key: str, value: str) -> dict[str, str]:
    return {"filter_keys": key, "filter_predicates": "=", "filter_values": value}
