"""What every page of the shell knows: teams, the place in the navigation, the request's id."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from django.http import HttpRequest

from apps.accounts import selectors
from apps.http import request_id

VERSION = version("regatta")


def shell(request: HttpRequest) -> dict[str, Any]:
    """`team` and `teams` of the reader, `place` for the navigation, `can` for what they may do."""
    user: Any = getattr(request, "user", None)
    match = getattr(request, "resolver_match", None)
    return {
        "team": getattr(request, "team", None),
        "teams": selectors.teams_of(user) if user and user.is_authenticated else [],
        "can": {scope.value.replace(":", "_") for scope in getattr(request, "scopes", ())},
        "place": match.namespaces[0] if match and match.namespaces else "",
        "page": match.view_name if match else "",
        "request_id": request_id.current.get(),
        "version": VERSION,
    }
