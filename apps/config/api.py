"""The REST API: every app's router under one roof, with one table of errors."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from apps.accounts.access import allow
from apps.accounts.api import router as people
from apps.advisor.api import router as plans
from apps.advisor.catalogue_api import router as chips
from apps.advisor.sizing_api import router as sizes
from apps.clusters.api import router as clusters
from apps.costs.api import router as costs
from apps.http import problems
from apps.http.documents import JsonParser, JsonRenderer
from apps.insights.api import router as metrics
from apps.jobs.api import router as jobs
from apps.jobs.log_api import router as logs


class Nobody(allow):
    """The default of operations that declare nothing: they are nobody's."""

    def __init__(self) -> None:
        super().__init__(None)

    def authenticate(self, request: HttpRequest, token: str) -> None:
        return None


class Api(NinjaAPI):
    """Describes itself once a process, since that takes a third of a second."""

    _described: OpenAPISchema | None = None

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        if self._described is None:
            self._described = super().get_openapi_schema(
                path_prefix=path_prefix, path_params=path_params
            )
        return self._described


api = Api(
    title="Regatta",
    version="1",
    description=(
        "Clusters, jobs, metrics, costs and plans of a Regatta portal. Errors are problem details "
        "(RFC 9457). A token that asks too often is answered 429, with the seconds to wait in "
        "`Retry-After`; nothing was changed then."
    ),
    urls_namespace="api",
    auth=Nobody(),
    openapi_url="/openapi.json",
    docs_url="/docs",
    parser=JsonParser(),
    renderer=JsonRenderer(),
)
problems.install(api)
api.add_router("", people)
api.add_router("", clusters)
api.add_router("", costs)
api.add_router("", logs)
api.add_router("", jobs)
api.add_router("", metrics)
api.add_router("", plans)
api.add_router("", chips)
api.add_router("", sizes)
