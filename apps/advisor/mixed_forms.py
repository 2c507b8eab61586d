"""The form of the mixed-cluster page: a model, a batch, and chips of several kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.advisor import catalogue_selectors, search_work
from apps.advisor.model_forms import (
    MOST_BATCH,
    MOST_TOKENS,
    ModelForm,
    by_vendor,
    decimal_input,
)
from apps.advisor.plan_answers import MOST_ROWS
from apps.insights.charts import NONE
from regatta.hardware.catalogue import NoPeak
from regatta.hardware.clusters import BadCluster, Cluster, read_cluster
from regatta.planning import space
from regatta.planning.plans import DTYPES
from regatta.planning.shapes import BadField, Shape

if TYPE_CHECKING:
    from apps.accounts.models import Team

KINDS = range(1, 5)
MOST_EACH = 4096  # chips of one kind
BEGUN: Mapping[str, str] = {
    "model": "llama-3.1-70b",
    "seq_len": "4096",
    "global_batch": "2048",
    "dtype": "bf16",
    **{"chip1": "A800-80GB", "count1": "120"},
    **{"chip2": "H800-80GB", "count2": "256"},
    **{"chip3": "Ascend-910B", "count3": "96"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form asks for."""

    name: str
    shape: Shape
    cluster: Cluster
    global_batch: int
    dtype: str

    @property
    def search(self) -> search_work.Asked:
        """The search that answers it."""
        return search_work.mixed(
            self.shape, self.cluster, global_batch=self.global_batch, dtype=self.dtype
        )


class MixedForm(ModelForm):
    """A model, a batch, and chips of up to four kinds with their numbers."""

    FIELD_OF: ClassVar[Mapping[str, str]] = {
        "chips": "chip1",
        "n_gpus": "count1",
        "network_GBps_per_chip": "network_gbps",
    }

    seq_len = forms.IntegerField(
        label=gettext_lazy("Sequence length"), min_value=1, max_value=MOST_TOKENS
    )
    global_batch = forms.IntegerField(
        label=gettext_lazy("Global batch, sequences"), min_value=1, max_value=MOST_BATCH
    )
    dtype = forms.ChoiceField(
        label=gettext_lazy("Number format"), choices=[(name, name) for name in DTYPES]
    )
    network_gbps = forms.FloatField(
        label=gettext_lazy("Network, GB/s per chip"),
        required=False,
        min_value=0.001,
        max_value=1e5,
        widget=decimal_input(gettext_lazy("as each chip has it")),
    )

    def __init__(self, data: Mapping[str, Any], *, team: Team) -> None:
        super().__init__(data)
        self.known = catalogue_selectors.chips(team)
        offered = [("", NONE), *by_vendor(self.known)]
        for one in KINDS:
            said = {"n": one}
            self.fields[f"chip{one}"] = forms.ChoiceField(
                label=_("Chip %(n)d") % said, required=False, choices=offered
            )
            self.fields[f"count{one}"] = forms.IntegerField(
                label=_("How many of chip %(n)d") % said,
                required=False,
                min_value=1,
                max_value=MOST_EACH,
            )

    @property
    def kinds(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        """The fields of each kind: which, how many."""
        return [(self[f"chip{one}"], self[f"count{one}"]) for one in KINDS]

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.errors:
            try:
                said["asked"] = self._asked(said)
            except BadField as error:
                self.refuse(error)
            except (BadCluster, NoPeak) as error:
                field, _colon, text = str(error).partition(": ")
                self.wrong(field, text)
        return said

    def asked(self) -> Asked:
        """What a valid form asks for."""
        asked: Asked = self.cleaned_data["asked"]
        return asked

    def _asked(self, said: Mapping[str, Any]) -> Asked:
        chips: dict[str, int] = {}
        for one in KINDS:
            name, count = said[f"chip{one}"], said[f"count{one}"]
            if bool(name) != bool(count):
                wrong = _("a chip needs how many, and a number needs its chip")
                raise BadField(f"count{one}" if name else f"chip{one}", wrong)
            if name in chips:
                raise BadField(f"chip{one}", _("stands there twice"))
            if name:
                chips[name] = count
        network = said["network_gbps"]
        cluster = read_cluster({"chips": chips, "network_GBps_per_chip": network}, self.known)
        shape = self.shape(said["seq_len"])
        rows = 0
        for chip, count in cluster.chips:
            chip.peak("fp8" if said["dtype"] == "mxfp8" else said["dtype"])
            rows += space.size(shape, count, 8 * count, domain_chips=chip.domain_chips)
        if rows > MOST_ROWS:
            raise BadField("count1", _("too many ways to split these; fewer chips would do"))
        return Asked(
            name=self.model_name,
            shape=shape,
            cluster=cluster,
            global_batch=said["global_batch"],
            dtype=said["dtype"],
        )
