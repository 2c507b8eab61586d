"""The portal as it is served: one ASGI application, with its own request handler."""

from __future__ import annotations

import json

import pytest
from asgiref.testing import ApplicationCommunicator
from people import a_team, a_token

from apps.config.asgi import application

pytestmark = pytest.mark.django_db(transaction=True)


async def answer_to(method, path, *, token="", body=b"", **headers):
    """Status, headers and body of an answer."""
    given = {"host": "localhost", "content-type": "application/json", **headers}
    if token:
        given["authorization"] = f"Bearer {token}"
    scope = {"type": "http", "method": method, "path": path, "query_string": b""}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in given.items()]
    asking = ApplicationCommunicator(application, scope)
    await asking.send_input({"type": "http.request", "body": body})
    start = await asking.receive_output(timeout=10)
    got, more = b"", True
    while more:
        message = await asking.receive_output(timeout=10)
        got += message.get("body", b"")
        more = message.get("more_body", False)
    await asking.wait(timeout=10)
    named = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], named, got


@pytest.fixture
def token(transactional_db):
    return a_token(a_team())


async def test_a_page_a_stranger_asks_for_leads_to_the_sign_in():
    status, headers, _ = await answer_to("GET", "/")
    assert (status, headers["location"]) == (302, "/sign-in/?next=/")


async def test_the_api_answers_a_token_and_a_stranger_in_documents(token):
    status, headers, body = await answer_to("GET", "/api/v1/jobs", token=token)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"items": [], "next": None}
    status, headers, body = await answer_to("GET", "/api/v1/jobs")
    assert (status, headers["content-type"]) == (401, "application/problem+json")
    assert json.loads(body)["request_id"] == headers["x-request-id"]


async def test_what_a_document_says_wrong_is_told_in_the_language_asked_for(token):
    asked = {"token": token, "body": b"{"}
    _, _, english = await answer_to("POST", "/api/v1/jobs", **asked)
    chinese = {"accept-language": "zh-hans"}
    status, _, body = await answer_to("POST", "/api/v1/jobs", **asked, **chinese)
    assert status == 400
    assert json.loads(english)["detail"] == "The body is not JSON."
    assert json.loads(body)["detail"] != "The body is not JSON."
