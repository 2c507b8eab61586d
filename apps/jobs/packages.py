"""Packages of a team: checked, kept once by the digest of their bytes, and deleted.

An object may be shared by several packages, also of other teams. Whoever keeps one, or makes a
job that names one, holds a shared lock; whoever drops one holds it alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import Q, Sum
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.services import audit
from apps.http.limits import Room
from apps.http.problems import Refused
from apps.jobs import selectors
from apps.jobs.models import Job, Package
from regatta.lifecycle.attempt import TERMINAL
from regatta.rayjobs.packages import BadPackage, Facts, Flaw, Limits, check_zip
from regatta.storage.objects import Draft, TooLarge

if TYPE_CHECKING:
    from apps.accounts.models import Team

PREFIX = "_ray_pkg_"
BYTES_MOST = 20 << 30  # of one team
_LONGEST_UPLOAD_S = 24 * 3600.0
_CHECKING = Room(working=2, waiting=4)  # up to 2 GiB are unpacked to be counted


@dataclass(frozen=True, slots=True)
class Checked:
    """An upload that may be kept, and is gone otherwise."""

    draft: Draft
    facts: Facts


@contextmanager
def received(chunks: Iterable[bytes]) -> Iterator[Checked]:
    """Take an upload in and look it through; nothing of it is kept but by `keep` in the block.

    Raises: Refused.
    """
    limits = Limits()
    try:
        with selectors.store().receive(chunks, max_bytes=limits.packed_bytes) as draft:
            with _CHECKING.enter():
                facts = check_zip(draft.file, limits=limits)
            yield Checked(draft, facts)
    except TooLarge as error:
        raise Refused(
            "package_too_large",
            _("A package has at most %(most)d MiB.") % {"most": limits.packed_bytes >> 20},
            status=413,
        ) from error
    except BadPackage as flaw:
        raise Refused(flaw.flaw, f"{FLAWS[flaw.flaw]} {_named(flaw)}".strip()) from flaw


@transaction.atomic
def keep(upload: Checked, *, team: Team, actor: str, name: str = "") -> tuple[Package, bool]:
    """Keep an upload, and say whether it is new.

    name: of a Ray client's choice; without one it is made from the content. While a package is
    there, what its name stands for never changes: a second upload of it is dropped.
    Raises: Refused.
    """
    draft, facts = upload.draft, upload.facts
    by_content, name = not name, name or name_of(draft.sha256)
    hold()
    if found := selectors.packages(team).filter(name=name).first():
        if by_content and found.sha256 != draft.sha256:  # a Ray client named another thing so
            raise Refused(
                "name_taken",
                _("Package %(name)s of the team has another content; delete it first.")
                % {"name": name},
                status=409,
            )
        return found, False
    _check_quota(team, draft)
    package, new = Package.objects.get_or_create(
        team=team,
        name=name,
        deleted_at=None,
        defaults={
            "sha256": draft.sha256,
            "size_bytes": draft.size_bytes,
            "members": facts.members,
            "unpacked_bytes": facts.unpacked_bytes,
            "uploaded_by": actor,
        },
    )
    if new:
        selectors.store().keep(draft)
        audit(team=team, actor=actor, action="package.upload", subject=name)
    return package, new


def name_of(sha256: str) -> str:
    """The name of a package by its content, as Ray's clients name theirs."""
    return f"{PREFIX}{sha256[:40]}.zip"


def save_package(
    chunks: Iterable[bytes], *, team: Team, actor: str, name: str = ""
) -> tuple[Package, bool]:
    """Check and keep an uploaded package, see `received` and `keep`."""
    with received(chunks) as upload:
        return keep(upload, team=team, actor=actor, name=name)


def named_by(package_name: str, runtime_env: Mapping[str, Any], *, team: Team) -> Package | None:
    """The team's package of that name; all that the environment names must be there too.

    None of them goes before the present transaction ends.
    Raises: Refused.
    """
    named = {"/package": [package_name] if package_name else []}
    named["/runtime_env"] = selectors.packages_named(runtime_env)
    if not any(named.values()):
        return None
    hold()
    for pointer, names in named.items():
        found = set(selectors.packages(team).filter(name__in=names).values_list("name", flat=True))
        if missing := sorted(set(names) - found):
            raise Refused(
                "unknown_package",
                _("The team has no package %(name)s; upload it first.")
                % {"name": missing[0][:80]},
                pointer=pointer,
            )
    return selectors.packages(team).get(name=package_name) if package_name else None


@transaction.atomic
def delete_package(package: Package, *, actor: str) -> None:
    """Delete a package that no live job needs; its name is then free for another upload.

    Raises: Refused while a job needs it.
    """
    _lock_alone()
    uri = f"gcs://{package.name}"
    in_env = Q(runtime_env__working_dir=uri) | Q(runtime_env__py_modules__contains=[uri])
    named = Q(package__name=package.name) | in_env
    live = Job.objects.kept().exclude(state__in=[state.value for state in TERMINAL])
    if job := live.filter(named, team=package.team_id).first():
        raise Refused(
            "package_in_use",
            _("Job %(job)d needs this package; stop the job first, or wait for its end.")
            % {"job": job.pk},
            status=409,
        )
    if Package.objects.filter(pk=package.pk, deleted_at=None).update(deleted_at=Now()):
        audit(team=package.team, actor=actor, action="package.delete", subject=package.name)
        transaction.on_commit(lambda: drop_unused([package.sha256]))


def prune() -> None:
    """A chore: drop what a process left in the store that was killed before it committed."""
    drop_unused()
    selectors.store().drop_drafts(older_than_s=_LONGEST_UPLOAD_S)


@transaction.atomic
def drop_unused(digests: Collection[str] | None = None) -> None:
    """Drop these objects, or any, for which no package stands any more."""
    _lock_alone()
    store = selectors.store()
    stored = set(store.addresses() if digests is None else digests)
    used = Package.objects.filter(deleted_at=None, sha256__in=stored)
    for address in stored.difference(used.values_list("sha256", flat=True)):
        store.delete(address)


def hold() -> None:
    """Let nobody delete a package until this transaction ends."""
    _lock("pg_advisory_xact_lock_shared")


FLAWS: Mapping[Flaw, Any] = {
    Flaw.NOT_A_ZIP: gettext_lazy("A package is a zip file; pack a tar.gz anew as a zip."),
    Flaw.DAMAGED: gettext_lazy("The zip file is damaged; pack it anew."),
    Flaw.ENCRYPTED: gettext_lazy("An encrypted zip file cannot be looked through."),
    Flaw.METHOD: gettext_lazy("Pack the zip file with the usual compression, deflate."),
    Flaw.TOO_MANY_MEMBERS: gettext_lazy("A package has at most 10,000 files."),
    Flaw.TOO_LARGE: gettext_lazy("A package has at most 2 GiB of content."),
    Flaw.BOMB: gettext_lazy("The content is more than 100 times the package's size."),
    Flaw.BAD_NAME: gettext_lazy(
        "A file's name is too long, or has characters that mislead or do not print."
    ),
    Flaw.TRAVERSAL: gettext_lazy("A file's name leads out of the package."),
    Flaw.LINK: gettext_lazy("A package holds files and folders only, no links or devices."),
    Flaw.TWICE: gettext_lazy("Two names stand for the same file."),
}


def _check_quota(team: Team, draft: Draft) -> None:
    kept = selectors.packages(team).aggregate(sum=Sum("size_bytes"))["sum"] or 0
    if kept + draft.size_bytes > BYTES_MOST:
        raise Refused(
            "packages_full",
            _("The team's packages fill their %(most)d GiB: delete one first.")
            % {"most": BYTES_MOST >> 30},
            status=409,
        )


def _named(flaw: BadPackage) -> str:
    return f"({ascii(flaw.member)[1:-1][:120]})" if flaw.member else ""


def _lock_alone() -> None:
    _lock("pg_advisory_xact_lock")


def _lock(function: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended('jobs.packages', 0))")
