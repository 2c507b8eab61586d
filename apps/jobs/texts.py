"""States and reasons of jobs as sentences for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.http.looks import Look, Words
from regatta.lifecycle.attempt import AttemptState, Reason

_S, _R = AttemptState, Reason

LOOKS: Mapping[str, Look] = {
    _S.QUEUED: Look(_("Waiting"), "warn", "hourglass"),
    _S.STARTING: Look(_("Starting"), "live", "loader-circle", moving=True),
    _S.RUNNING: Look(_("Running"), "live", "circle-play"),
    _S.STOPPING: Look(_("Stopping"), "still", "loader-circle", moving=True),
    _S.SUCCEEDED: Look(_("Succeeded"), "good", "circle-check"),
    _S.FAILED: Look(_("Failed"), "bad", "octagon-x"),
    _S.STOPPED: Look(_("Stopped"), "still", "circle-stop"),
    _S.LOST: Look(_("Lost"), "bad", "unplug"),
}
UNKNOWN = Look(_("Out of sight"), "doubt", "circle-question-mark")

# What happened, and what to do next where something can be done.
WHY: Mapping[str, tuple[Words, Words]] = {
    _R.SUBMITTED: (_("It was accepted just now."), _("It starts by itself.")),
    _R.WAITING_FOR_CLUSTER: (
        _("It waits until its cluster is ready."),
        _("It starts by itself; look at the cluster if that takes long."),
    ),
    _R.WAITING_FOR_TURN: (
        _("It waits behind jobs that came earlier or matter more."),
        _("It starts by itself when its turn comes."),
    ),
    _R.WAITING_FOR_RESOURCES: (
        _("It is next in line, and waits until enough of the cluster is free."),
        _("It starts by itself; more workers or fewer CPUs would let it start sooner."),
    ),
    _R.PLACED: (_("Its turn has come, and the cluster is starting it."), ""),
    _R.SEEN_RUNNING: (_("It runs on the cluster."), ""),
    _R.STOP_ASKED: (_("Somebody asked it to stop, and the cluster is ending it."), ""),
    _R.SUCCEEDED: (_("It ended with exit code 0."), ""),
    _R.ENTRYPOINT_FAILED: (
        _("Its command ended with an error."),
        _("The end of the log says which; mend it and run it again."),
    ),
    _R.ENTRYPOINT_NOT_STARTED: (
        _("Its command could not be started."),
        _("Check that the program exists on the nodes and is spelt right."),
    ),
    _R.ENVIRONMENT_FAILED: (
        _("The environment that it asked for could not be set up."),
        _("Check the packages and the working directory of the runtime environment."),
    ),
    _R.UNSCHEDULABLE: (
        _("No node of the cluster can ever hold what it asks for."),
        _("Ask for less, or give the cluster larger nodes."),
    ),
    _R.INPUT_MISSING: (
        _("A package or a secret that it names has been deleted."),
        _("Put it back, or name another one, and submit the job again."),
    ),
    _R.REFUSED_BY_CLUSTER: (
        _("The cluster refused the request as it stands."),
        _("The events below quote its words; change the job and submit it again."),
    ),
    _R.FAILED_ON_CLUSTER: (
        _("The cluster says that it failed."),
        _("The events below quote its words, the log may say more."),
    ),
    _R.NEVER_STARTED: (_("It was stopped before it started, and cost nothing."), ""),
    _R.STOPPED_AS_ASKED: (_("It was stopped as asked."), ""),
    _R.STOPPED_ON_CLUSTER: (
        _("It was stopped on the cluster itself, not through this portal."),
        "",
    ),
    _R.ENDED_WITH_CLUSTER: (_("It ended together with its cluster."), ""),
    _R.SUPERVISOR_LOST: (
        _("The process on the cluster that watched over it died."),
        _("It is tried again by itself, up to three times."),
    ),
    _R.UNKNOWN_TO_ITS_CLUSTER: (
        _("Its cluster does not know it any more."),
        _("It is tried again by itself, up to three times."),
    ),
    _R.SESSION_CHANGED: (
        _("Its cluster was started anew, which ended it."),
        _("It is tried again by itself, up to three times."),
    ),
    _R.HANDLE_TAKEN: (
        _("The cluster runs something else under its name."),
        _("It is tried again under a new name."),
    ),
    _R.CLUSTER_DELETED: (
        _("Its cluster was deleted."),
        _("Clone it to run it on another cluster."),
    ),
}
_LATER = _("This portal knows no words for it yet.")


def look(state: str, *, unseen: bool = False) -> Look:
    """How a state looks; `unseen`: the cluster cannot be asked, so it is what was seen last."""
    return UNKNOWN if unseen else LOOKS.get(state, Look(state, "doubt", "circle-dashed"))


def sentence(reason: str) -> Words:
    """Why a job stands where it stands."""
    return WHY.get(reason, (_LATER, ""))[0]


def next_step(reason: str) -> Words:
    """What to do about it; empty when there is nothing to do."""
    return WHY.get(reason, ("", ""))[1]


def amount(name: str, many: Decimal, *, rounding: str) -> str:
    """So much of what a job can ask for, by its name in `Job.demand`. rounding: of GiB."""
    if name == "memory_bytes":
        gib = (many / (1 << 30)).quantize(Decimal("0.001"), rounding=rounding)
        return gettext("%(gib)s GiB of memory") % {"gib": f"{gib.normalize():f}"}
    number = f"{many.normalize():f}"
    if name == "cpus":
        return gettext("%(number)s CPUs") % {"number": number}
    if kind := name.partition(":")[2]:
        return gettext("%(number)s chips of kind %(kind)s") % {"number": number, "kind": kind}
    return gettext("%(number)s chips") % {"number": number}
