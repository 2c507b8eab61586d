"""Builders of packages, good and bad."""

from __future__ import annotations

import io
import zipfile

_MIB = 1 << 20


def a_zip(*members, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def a_zip_that_leaves():
    """A zip with a member that would be written outside of its folder."""
    info = zipfile.ZipInfo("x")
    info.filename = "../../etc/cron.d/x"
    return a_zip((info, b"* * * * * root id"))


def zeros(size_mib):
    """A zip of so many MiB of zeros, about a thousandth of that in size."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros", "w") as member,
    ):
        for _ in range(size_mib):
            member.write(bytes(_MIB))
    return packed.getvalue()
