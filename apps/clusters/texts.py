"""States and reasons of clusters and nodes as sentences for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from apps.http.looks import Look, Words
from regatta.lifecycle.cluster import ClusterState, NodeState, Role

_C, _N = ClusterState, NodeState

LOOKS: Mapping[str, Look] = {
    _C.REQUESTED: Look(_("Requested"), "warn", "hourglass"),
    _C.PROVISIONING: Look(_("Starting"), "live", "loader-circle", moving=True),
    _C.READY: Look(_("Ready"), "good", "circle-check"),
    _C.DEGRADED: Look(_("Degraded"), "warn", "triangle-alert"),
    _C.STOPPING: Look(_("Stopping"), "still", "loader-circle", moving=True),
    _C.STOPPED: Look(_("Stopped"), "still", "circle-stop"),
    _C.FAILED: Look(_("Failed"), "bad", "octagon-x"),
    _C.DELETING: Look(_("Deleting"), "still", "loader-circle", moving=True),
    _C.DELETED: Look(_("Deleted"), "still", "trash-2"),
}
NODE_LOOKS: Mapping[str, Look] = {
    _N.WANTED: Look(_("Wanted"), "warn", "hourglass"),
    _N.STARTING: Look(_("Starting"), "live", "loader-circle", moving=True),
    _N.READY: Look(_("Ready"), "good", "circle-check"),
    _N.STOPPING: Look(_("Stopping"), "still", "loader-circle", moving=True),
    _N.LOST: Look(_("Lost"), "bad", "unplug"),
    _N.GONE: Look(_("Gone"), "still", "circle-slash"),
}
UNKNOWN = Look(_("Out of sight"), "doubt", "circle-question-mark")
ROLES: Mapping[str, Words] = {Role.HEAD: _("Head"), Role.WORKER: _("Worker")}

WHY: Mapping[str, Words] = {
    "requested": _("It has been asked for, and starts in a moment."),
    "start_asked": _("Its nodes are being started."),
    "all_nodes_ready": _("Every node works, and its Jobs API refuses whoever brings no token."),
    "worker_lost": _("A worker is missing and is being replaced; jobs may run meanwhile."),
    "head_lost": _("Its head was lost. A new one is being started; what ran on it has ended."),
    "head_silent": _("Its head does not answer."),
    "nodes_keep_failing": _(
        "Its nodes failed five times in a row, so it was given up and nothing of it runs. "
        "Start it again once the cause is mended."
    ),
    "authentication_off": _(
        "Its Jobs API answered without a token, which would let anybody in. It was ended."
    ),
    "stop_asked": _("Somebody asked it to stop; its nodes are being ended."),
    "delete_asked": _("Somebody asked to delete it; its nodes are being ended."),
    "all_nodes_gone": _("Nothing of it runs, and it costs nothing."),
    "fewer_wished": _("Fewer workers are wanted; surplus ones are being ended."),
    "resize_asked": _("Another number of workers was asked for."),
    "process_gone": _("Its process is gone."),
    "declared_dead": _("Its cluster declared it dead."),
    "start_timed_out": _("It did not join its cluster in time."),
    "left_its_cluster": _("It left its cluster."),
    "joined": _("It joined its cluster."),
    "never_started": _("It was not needed any more before it started."),
    "ended": _("Nothing of it is left."),
}


def look(state: str, *, unseen: bool = False) -> Look:
    """How a state looks; `unseen`: nothing could be seen, so it is what was seen last."""
    return UNKNOWN if unseen else LOOKS.get(state, Look(state, "doubt", "circle-dashed"))


def node_look(state: str) -> Look:
    return NODE_LOOKS.get(state, Look(state, "doubt", "circle-dashed"))


def sentence(reason: str) -> Words:
    """Why a cluster or a node stands where it stands; empty when the state says it all."""
    return WHY.get(reason, "")
