"""The API is what its contract says, and an API change is a diff."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from people import a_team, a_token

from apps.config.api import api

CONTRACT = Path(__file__).with_name("openapi.json")


def test_the_api_is_the_one_of_the_contract():
    now = json.loads(json.dumps(api.get_openapi_schema()))
    assert now == json.loads(CONTRACT.read_text()), "run: make openapi, and review the diff"


def test_every_operation_names_its_errors():
    schema = api.get_openapi_schema()
    for path, operations in schema["paths"].items():
        for verb, operation in operations.items():
            assert {401, 403} <= {int(code) for code in operation["responses"]}, (verb, path)


contract = schemathesis.openapi.from_dict(json.loads(CONTRACT.read_text())).exclude(
    path="/api/v1/packages",
    method="POST",  # takes a zip, and has hostile ones of its own
)


@pytest.mark.django_db
@contract.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_api(case):
    """Generated requests, sane and not: never a 500, never an undeclared status."""
    asked = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    headers = {**asked.headers, "Authorization": f"Bearer {a_token(a_team())}"}
    answer = Client(raise_request_exception=False).generic(
        case.method,
        asked.path_url,
        asked.body or b"",
        content_type=headers.pop("Content-Type", "application/json"),
        headers={name: value for name, value in headers.items() if name != "Content-Length"},
    )
    declared = {int(code) for code in case.operation.definition.raw["responses"]}
    assert answer.status_code in declared | {405}, answer.content[:500]
