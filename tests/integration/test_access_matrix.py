"""Every route, by every verb, for every role, on an own and on a foreign object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from clusters import a_cluster
from django.test import Client
from django.urls import URLPattern, URLResolver
from jobs import a_job
from ninja.constants import NOT_SET
from packages import a_zip
from people import a_member, a_team, a_token, bearer, owner_of

from apps.accounts.access import Access, Kind, allow
from apps.accounts.middleware import UndeclaredAccess, declared
from apps.accounts.models import Team
from apps.accounts.scopes import SCOPES, Role, Scope
from apps.config.api import Nobody, api
from apps.config.urls import urlpatterns
from apps.jobs import packages, secrets

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Route:
    """One address with its declaration; `names` are its arguments in order."""

    path: str
    names: tuple[str, ...]
    needs: Access


def _walk(patterns, prefix="", namespaces=()) -> Iterator[Route]:
    for entry in patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            spaces = [*namespaces, *([entry.namespace] if entry.namespace else [])]
            yield from _walk(entry.url_patterns, path, spaces)
        elif isinstance(entry, URLPattern):
            names = tuple(entry.pattern.converters)
            yield Route(path, names, declared(entry.callback, list(namespaces)))


ROUTES = list(_walk(urlpatterns))
OPERATIONS = [
    (f"/api/v1{prefix}{path}".replace("//", "/"), operation)
    for prefix, router in api._routers
    for path, view in router.path_operations.items()
    for operation in view.operations
]
BY_KIND = {kind: [route for route in ROUTES if route.needs.kind is kind] for kind in Kind}


def test_every_route_declares_who_may_use_it():
    assert len(ROUTES) > 40  # `_walk` has asked each, and raises for one that is silent
    assert all(isinstance(route.needs, Access) for route in ROUTES)


def test_a_view_that_declares_nothing_is_refused():
    def silent(request): ...

    with pytest.raises(UndeclaredAccess, match="silent"):
        declared(silent, [])


@pytest.mark.parametrize(("path", "operation"), OPERATIONS, ids=lambda value: str(value)[:60])
def test_every_operation_of_the_api_declares_its_scope(path, operation):
    [how] = operation.auth_callbacks
    assert isinstance(how, allow)
    assert not isinstance(how, Nobody)
    assert operation.auth_param is not NOT_SET


def test_only_these_addresses_are_open_to_everybody():
    """A new public address is a decision: it is written down here."""
    assert {route.path for route in BY_KIND[Kind.PUBLIC]} == PUBLIC_PATHS


PUBLIC_PATHS = {"healthz", "readyz", "favicon.ico", "sign-in/", "link/<str:code>/", "language/"}
API_PAGES = {"api/v1/openapi.json", "api/v1/docs", "api/v1/"}


# Which object stands behind an argument, by the word of the address before it.
THINGS = {
    "clusters": lambda team: a_cluster(team).pk,
    "jobs": lambda team: a_job(team=team).pk,
    "tokens": lambda team: [a_token(team), team.tokens.latest("pk").pk][1],
    "members": lambda team: team.memberships.latest("pk").pk,
    "secrets": lambda team: [
        secrets.set_secret(team=team, name="key", value="x", actor="test"),
        "key",
    ][1],
    "gcs": lambda team: "_ray_pkg_0123456789abcdef.zip",
    "packages/protocol": lambda team: "gcs",
    "packages": lambda team: (
        packages.save_package([a_zip(("main.py", b"x"))], team=team, actor="test")[0].pk
    ),
}


def _fill(path: str, team: Team) -> str:
    """An address with the arguments of real objects of `team`."""
    words = path.strip("/").split("/")
    for at, word in enumerate(words):
        if word[:1] in {"<", "{"}:
            name = word.strip("<>{}").split(":")[-1]
            before = words[at - 1]
            thing = THINGS.get(f"{before}/{name}") or THINGS.get(before)
            words[at] = team.slug if name == "team" else str(thing(team))
    return "/" + "/".join(words) + ("/" if path.endswith("/") else "")


def _send(client: Client, verb: str, path: str, **how):
    body = {} if verb == "GET" else {"data": json.dumps({}), "content_type": "application/json"}
    return client.generic(verb, path, **body, **how) if body else client.get(path, **how)


@pytest.mark.django_db
@pytest.mark.parametrize("route", BY_KIND[Kind.TEAM], ids=lambda route: route.path)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_page_is_404_to_strangers_and_403_without_its_scope(route, verb):
    team, other = a_team(), a_team()
    path = _fill(route.path, team)
    signed_out = _send(Client(), verb, path)
    assert signed_out.status_code == 302
    assert signed_out["Location"].startswith("/sign-in/")

    stranger = Client(raise_request_exception=False)
    stranger.force_login(owner_of(other))
    assert _send(stranger, verb, path).status_code == 404

    for role in Role:
        client = Client(raise_request_exception=False)
        client.force_login(a_member(team, role))
        status = _send(client, verb, path).status_code
        allowed = route.needs.scope(verb) in SCOPES[role]
        assert (status != 403) == allowed, (role, status)
        assert status < 500, (role, status)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "route",
    [route for route in BY_KIND[Kind.TEAM] if set(route.names) - {"team"}],
    ids=lambda route: route.path,
)
def test_a_foreign_object_is_404_under_ones_own_team(route):
    team, other = a_team(), a_team()
    path = _fill(route.path, other).replace(f"/t/{other.slug}/", f"/t/{team.slug}/")
    client = Client(raise_request_exception=False)
    client.force_login(owner_of(team))
    assert {_send(client, verb, path).status_code for verb in ("GET", "POST")} <= {404, 405}


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "operation"), OPERATIONS, ids=lambda value: str(value)[:60])
def test_an_operation_asks_for_a_token_its_scope_and_an_own_object(path, operation):
    team, other = a_team(), a_team()
    [how] = operation.auth_callbacks
    for verb in operation.methods:
        client = Client(raise_request_exception=False)
        own = _fill(path, team)
        assert _send(client, verb, own).status_code == 401
        signed_in = Client(raise_request_exception=False)
        signed_in.force_login(owner_of(team))
        assert _send(signed_in, verb, own).status_code == 401, "a cookie opens no API"
        if how.scope is not None:
            rest = sorted(set(Scope.values) - {how.scope.value})
            lacking = bearer(a_token(team, scopes=rest))
            assert _send(client, verb, own, **lacking).status_code == 403
        if "{" in path:
            foreign = bearer(a_token(other))
            answer = _send(client, verb, own, **foreign)
            assert answer.status_code in {404, 422}, answer.content
            if answer.status_code == 422:  # a body is looked at before the object
                assert operation.models, path
        answer = _send(client, verb, own, **bearer(a_token(team)))
        assert answer.status_code not in {401, 403, 500}, answer.content


@pytest.mark.django_db
@pytest.mark.parametrize("route", BY_KIND[Kind.BEARER], ids=lambda route: route.path)
@pytest.mark.parametrize("verb", VERBS)
def test_rays_addresses_open_to_tokens_of_the_team_alone(route, verb):
    team, other = a_team(), a_team()
    path = _fill(route.path, team)
    client = Client(raise_request_exception=False)
    client.force_login(owner_of(team))
    assert _send(client, verb, path).status_code == 401, "a cookie opens no API"
    lacking = bearer(a_token(team, scopes=["team:read"]))
    assert _send(client, verb, path, **lacking).status_code == 403
    if "clusters" in path:
        assert _send(client, verb, path, **bearer(a_token(other))).status_code in {404, 405}
    assert _send(client, verb, path, **bearer(a_token(team))).status_code not in {401, 403, 500}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "route",
    [route for route in BY_KIND[Kind.ADMIN] if not route.names],
    ids=lambda route: route.path,
)
def test_the_console_does_not_exist_for_others(route):
    client = Client(raise_request_exception=False)
    client.force_login(owner_of(a_team()))
    assert client.get(f"/{route.path}").status_code == 404
