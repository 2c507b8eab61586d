"""Plans in words: what they choose, and why one loses against another. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from apps.advisor.plan_terms import TIME
from apps.insights.charts import decimal
from regatta.hardware.catalogue import GIB
from regatta.hardware.clusters import Cluster
from regatta.planning import ranking
from regatta.planning.plans import DTYPES, RECOMPUTE, Plan
from regatta.planning.ranking import Ranked
from regatta.planning.search import NothingFits

SHORT: Mapping[str, str] = {
    "tp": "TP",
    "pp": "PP",
    "vpp": "VPP",
    "dp": "DP",
    "cp": "CP",
    "ep": "EP",
    "etp": "ETP",
    "micro_batch": "MB",
    "shard_ranks": "shards",
    "sequence_parallel": "SP",
    "zero_stage": "ZeRO",
}
_ALWAYS = frozenset({"tp", "pp", "dp", "micro_batch", "zero_stage"})


def short(plan: Plan) -> str:
    """A plan in one line: `TP 8 · PP 4 · DP 2 · MB 1 · ZeRO 1 · SP · full recomputation`."""
    return " · ".join([degrees(plan), recompute(plan)])


def degrees(plan: Plan) -> str:
    """The same without recomputation, and without what is 1 or off."""
    return named({name: float(getattr(plan, name)) for name in SHORT})


def named(choices: Mapping[str, float]) -> str:
    """The same of choices by their names, as far as they are told."""
    words = []
    for name, word in SHORT.items():
        value = choices.get(name, 0)
        if name == "sequence_parallel":
            words += [word] if value else []
        elif name in _ALWAYS or (value > 1 and (name != "etp" or choices["ep"] > 1)):
            words.append(f"{word} {value:g}")
    return " · ".join(words)


def recompute(plan: Plan) -> str:
    """What is computed again in the backward pass."""
    return [
        _("no recomputation"),
        _("selective recomputation"),
        _("full recomputation"),
    ][int(float(plan.recompute))]


def value_of(plan: Plan, name: str) -> str:
    """A choice of a plan as people write it."""
    value = float(getattr(plan, name))
    words = {"recompute": RECOMPUTE, "dtype": DTYPES}.get(name)
    return words[int(value)] if words else f"{value:g}"


def why(item: Ranked, best: Ranked | None) -> str:
    """Where the first plan's time goes; what another loses against it, and by which choice."""
    if best is None:
        parts = [
            _("%(part)s %(share)s %%")
            % {"part": TIME[name].word, "share": decimal(100 * took / item.iteration_s, 0)}
            for name, took in ranking.most_of(item)
        ]
        return _("The fastest. Its time goes to %(parts)s.") % {"parts": _joined(parts)}
    lost = ranking.loss(item, best)
    by = _joined([f"{SHORT.get(name, name)} {then} → {now}" for name, now, then in lost.by])
    if not lost.slower_s:
        gib = decimal((item.peak_bytes - best.peak_bytes) / GIB, 1)
        return _("As fast, by %(by)s; the peak differs by %(gib)s GiB.") % {"by": by, "gib": gib}
    worse = _joined([f"{TIME[name].word} +{_figure(more)} s" for name, more in lost.worse])
    said = {
        "s": _figure(lost.slower_s),
        "share": decimal(100 * lost.slower_s / best.iteration_s, 1),
        "by": by,
        "worse": worse,
    }
    told = _("%(s)s s (%(share)s %%) slower by %(by)s: %(worse)s.") % said
    if lost.saved:
        name, less = lost.saved
        told += " " + _("It saves %(s)s s of %(part)s.") % {
            "s": _figure(less),
            "part": TIME[name].word,
        }
    return told


def nothing_fits(error: NothingFits, cluster: Cluster) -> str:
    """The nearest miss, and what would make it fit."""
    [(chip, count)] = cluster.chips
    said = {
        "count": count,
        "chip": chip.name,
        "plan": short(error.plan),
        "need": decimal(error.peak_bytes / GIB, 1),
        "free": decimal(error.free_bytes / GIB, 1),
        "enough": error.enough_chips,
    }
    told = (
        _(
            "No plan fits %(count)d × %(chip)s. The nearest (%(plan)s) needs %(need)s GiB of "
            "%(free)s GiB on its fullest chip."
        )
        % said
    )
    if error.enough_chips:
        told += " " + _("With %(enough)d of these chips, one would fit.") % said
    return told


def _figure(value: float) -> str:
    """Three significant digits: more would be more than a prediction knows."""
    return f"{value:.3g}"


def _joined(words: list[str]) -> str:
    return _(", ").join(words)
