"""Every route, by every verb, for every role, on an own and on a foreign object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from chips import a_chip
from clusters import a_cluster
from django.test import Client
from django.urls import URLPattern, URLResolver
from jobs import a_job, the_attempt
from ninja.constants import NOT_SET
from packages import a_zip
from people import a_member, a_team, a_token, bearer, owner_of

from apps.accounts.access import Access, Kind, allow
from apps.accounts.middleware import UndeclaredAccess, declared
from apps.accounts.models import Team
from apps.accounts.scopes import SCOPES, Role, Scope
from apps.clusters.models import Cluster
from apps.config.api import Nobody, api
from apps.config.urls import urlpatterns
from apps.jobs import packages, secrets
from apps.jobs.models import Log

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


_PACKAGE = "_ray_pkg_0123456789abcdef.zip"

# Which object stands behind an argument, by the word of the address before it.
THINGS = {
    "clusters": lambda team, user: a_cluster(team).pk,
    "jobs": lambda team, user: _a_job(team, user).pk,
    "jobs/name": lambda team, user: _a_job(team, user).ray_name,
    "tokens": lambda team, user: [
        a_token(team, user=user, scopes=["team:read"]),
        user.tokens.latest("pk").pk,
    ][1],
    "members": lambda team, user: team.memberships.latest("pk").pk,
    "secrets": lambda team, user: [
        secrets.set_secret(team=team, name="key", value="x", actor="test"),
        "key",
    ][1],
    "gcs": lambda team, user: [_a_package(team, name=_PACKAGE), _PACKAGE][1],
    "packages/protocol": lambda team, user: "gcs",
    "packages": lambda team, user: _a_package(team).pk,
    "chips": lambda team, user: a_chip(team).name,
    "figures": lambda team, user: "tdp_w",
}


def _a_job(team: Team, user):
    """One with a log, on the cluster that stands before it in an address."""
    job = a_job(Cluster.objects.filter(team=team).order_by("pk").last(), team=team, user=user)
    Log.objects.create(attempt=the_attempt(job))
    return job


def _a_package(team: Team, **named):
    return packages.save_package([a_zip(("main.py", b"x"))], team=team, actor="test", **named)[0]


def _fill(path: str, team: Team, user=None) -> str:
    """An address with the arguments of real objects of `team`, what is a user's own of `user`."""
    words = path.strip("/").split("/")
    for at, word in enumerate(words):
        if word[:1] in {"<", "{"}:
            name = word.strip("<>{}").split(":")[-1]
            before = words[at - 1]
            thing = THINGS.get(f"{before}/{name}") or THINGS.get(before)
            words[at] = team.slug if name == "team" else str(thing(team, user or owner_of(team)))
    return "/" + "/".join(words) + ("/" if path.endswith("/") else "")


# What an operation must be told before it looks for the object, by the end of its address.
BODIES = {
    "desired-state": {"desired": "stopped"},
    "size": {"workers": 3},
    "members/{int:pk}": {"role": "viewer"},
    "/figures": {"figure": "tdp_w", "value": 9, "quality": "assumed", "source": "x"},
}
QUERIES = {"logs/search": "?q=x"}


def _send(client: Client, verb: str, path: str, body=None, **how):
    if verb == "GET":
        return client.get(path, **how)
    return client.generic(verb, path, json.dumps(body or {}), "application/json", **how)


def _in(team: Team, role: Role):
    """Somebody of this role in the team, whose only owner stays the only one."""
    return owner_of(team) if role is Role.OWNER else a_member(team, role)


def _client(user=None, **how) -> Client:
    client = Client(raise_request_exception=False, **how)
    if user:
        client.force_login(user)
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("route", BY_KIND[Kind.TEAM], ids=lambda route: route.path)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_page_is_there_for_roles_with_its_scope_and_404_to_strangers(route, verb):
    team, other = a_team(), a_team()
    path = _fill(route.path, team)
    signed_out = _send(_client(), verb, path)
    assert signed_out.status_code == 302
    assert signed_out["Location"].startswith("/sign-in/")
    assert _send(_client(owner_of(other)), verb, path).status_code == 404

    for role in Role:  # each on an object of its own, which the request may well delete
        user = _in(team, role)
        status = _send(_client(user), verb, _fill(route.path, team, user)).status_code
        allowed = route.needs.scope(verb) in SCOPES[role]
        assert (status != 403) == allowed, (role, status)
        assert status != 404, role
        assert status < 500, (role, status)


@pytest.mark.django_db
@pytest.mark.parametrize("route", BY_KIND[Kind.TEAM], ids=lambda route: route.path)
def test_a_page_takes_no_other_verb_and_none_unsafe_from_elsewhere(route):
    team, other = a_team(), a_team()
    path = _fill(route.path, team)
    forged = _client(owner_of(team), enforce_csrf_checks=True)
    stranger = _client(owner_of(other))
    members = [(role, _client(_in(team, role))) for role in Role]
    assert _send(forged, "POST", path).status_code == 403
    for verb in ("PUT", "PATCH", "DELETE"):
        assert _send(_client(), verb, path).status_code == 302
        assert _send(stranger, verb, path).status_code == 404
        assert _send(forged, verb, path).status_code == 403
        for role, client in members:
            allowed = route.needs.scope(verb) in SCOPES[role]
            assert _send(client, verb, path).status_code == (405 if allowed else 403), role


@pytest.mark.django_db
@pytest.mark.parametrize(
    "route",
    [route for route in BY_KIND[Kind.TEAM] if set(route.names) - {"team"}],
    ids=lambda route: route.path,
)
def test_a_foreign_object_is_404_under_ones_own_team(route):
    team, other = a_team(), a_team()
    path = _fill(route.path, other).replace(f"/t/{other.slug}/", f"/t/{team.slug}/")
    client = _client(owner_of(team))
    assert {_send(client, verb, path).status_code for verb in VERBS} <= {404, 405}


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "operation"), OPERATIONS, ids=lambda value: str(value)[:60])
def test_an_operation_asks_for_a_token_its_scope_and_an_own_object(path, operation):
    team, other = a_team(), a_team()
    [how] = operation.auth_callbacks
    client = _client()
    for verb in operation.methods:
        body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
        own = _fill(path, team) + next((q for end, q in QUERIES.items() if path.endswith(end)), "")
        assert _send(client, verb, own, body).status_code == 401
        signed_in = _client(owner_of(team))
        assert _send(signed_in, verb, own, body).status_code == 401, "a cookie opens no API"
        if how.scope is not None:
            rest = sorted(set(Scope.values) - {how.scope.value})
            lacking = bearer(a_token(team, scopes=rest))
            assert _send(client, verb, own, body, **lacking).status_code == 403
        if "{" in path:
            answer = _send(client, verb, own, body, **bearer(a_token(other)))
            # A name that is written to is one of the writer's own team: nothing foreign has it.
            named = verb == "PUT" and path.endswith("secrets/{name}")
            assert answer.status_code == (422 if named else 404), answer.content
        answer = _send(client, verb, own, body, **bearer(a_token(team)))
        assert answer.status_code not in {401, 403, 404, 500}, answer.content


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "operation"), OPERATIONS, ids=lambda value: str(value)[:60])
def test_an_operation_is_there_for_the_roles_that_hold_its_scope(path, operation):
    team, client = a_team(), _client()
    [how] = operation.auth_callbacks
    for role in Role:
        user = _in(team, role)
        secret = a_token(team, user=user, scopes=sorted(SCOPES[role]))
        for verb in operation.methods:
            answer = _send(client, verb, _fill(path, team, user), **bearer(secret))
            allowed = how.scope is None or how.scope in SCOPES[role]
            assert (answer.status_code != 403) == allowed, (role, answer.content)
            assert answer.status_code != 404, (role, answer.content)
            assert answer.status_code < 500, (role, answer.content)


@pytest.mark.django_db
@pytest.mark.parametrize("route", BY_KIND[Kind.BEARER], ids=lambda route: route.path)
@pytest.mark.parametrize("verb", VERBS)
def test_rays_addresses_open_to_tokens_of_the_team_alone(route, verb):
    team, other = a_team(), a_team()
    path = _fill(route.path, team)
    client = _client(owner_of(team))
    assert _send(client, verb, path).status_code == 401, "a cookie opens no API"
    for role in Role:
        secret = a_token(team, user=_in(team, role), scopes=sorted(SCOPES[role]))
        status = _send(client, verb, _fill(route.path, team), **bearer(secret)).status_code
        assert (status != 403) == (route.needs.scope(verb) in SCOPES[role]), (role, status)
        assert status not in {401, 404, 500}, role
    if "cluster" in route.names or "api/jobs/<" in route.path:
        assert _send(client, verb, path, **bearer(a_token(other))).status_code in {404, 405}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "route",
    [route for route in BY_KIND[Kind.ADMIN] if not route.names],
    ids=lambda route: route.path,
)
def test_the_console_does_not_exist_for_others(route):
    client = _client(owner_of(a_team()))
    assert {_send(client, verb, f"/{route.path}").status_code for verb in VERBS} == {404}
    assert _send(_client(), "GET", f"/{route.path}").status_code == 302
