"""The page for an error of our own, with the id under which the log has it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def server_error(request: HttpRequest) -> HttpResponse:
    return render(request, "500.html", status=500)
