"""The address that takes in metrics: plain and lean, since every job sends here all the time."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from apps.accounts.access import JOB, access, bearer_token
from apps.http.problems import Refused, problem, refused, unauthenticated
from apps.insights import services
from apps.jobs import selectors as jobs
from regatta.telemetry.batch import MOST_BYTES, Malformed, decode


@require_POST
def _telemetry(request: HttpRequest) -> JsonResponse:
    """`POST /api/v1/telemetry`: one batch, in the form of `regatta.telemetry.batch`.

    200 with the number of points stored, which is 0 for a batch that had arrived before.
    """
    attempt = jobs.attempt_of_telemetry_token(bearer_token(request))
    if attempt is None:
        return unauthenticated()
    if _too_large(request):
        said = _("A batch has at most %(bytes)d bytes.") % {"bytes": MOST_BYTES}
        return problem("too_large", said, status=413)
    try:
        stored = services.take_in(decode(request.body), attempt_id=attempt.pk)
    except Malformed as error:
        errors = [{"pointer": error.pointer, "code": "malformed", "detail": error.why}]
        return problem("malformed_batch", str(error), status=422, errors=errors)
    except Refused as error:
        return refused(error)
    return JsonResponse({"stored": stored})


def _too_large(request: HttpRequest) -> bool:
    """By what it says, before it is read, and by what it is, when it says nothing."""
    said = request.headers.get("Content-Length", "")
    return (said.isdecimal() and int(said) > MOST_BYTES) or len(request.body) > MOST_BYTES


telemetry: Any = access(JOB)(cast("Any", csrf_exempt(_telemetry)))  # no cookie is read
