"""Clusters as they are written down, and what is refused."""

from __future__ import annotations

import pytest

from regatta.hardware.catalogue import UnknownChip
from regatta.hardware.clusters import BadCluster, read_cluster


def test_a_cluster_is_read_as_it_is_written():
    cluster = read_cluster(
        {"chips": {"A100-80GB": 4096}, "chips_per_node": 8, "network_GBps_per_chip": 25}
    )
    ((chip, count),) = cluster.chips
    assert (chip.name, count, cluster.size) == ("A100-80GB", 4096, 4096)
    assert (cluster.chips_per_node, cluster.network_Bps_per_chip) == (8, 25e9)


def test_kinds_keep_their_order_and_their_own_nodes_and_links():
    cluster = read_cluster({"chips": {"A800": 120, "H800": 256, "Ascend-910B": 96}})
    assert [chip.name for chip, _ in cluster.chips] == ["A800-80GB", "H800-80GB", "Ascend-910B"]
    assert cluster.size == 472
    assert cluster.chips_per_node is cluster.network_Bps_per_chip is None


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "^chips: name at least one"),
        ({"chips": {}}, "^chips: name at least one"),
        ({"chips": {"H100": 0}}, "^chips: H100 needs a whole count from 1 up, not 0"),
        ({"chips": {"H100": -8}}, "from 1 up, not -8"),
        ({"chips": {"H100": 1.5}}, "from 1 up, not 1.5"),
        ({"chips": {"H100": True}}, "from 1 up, not True"),
        ({"chips": {"H100": 8, "H100-80GB": 8}}, "H100-80GB, which is there already"),
        ({"chips": {"H100": 8}, "chips_per_node": 0}, "^chips_per_node: a whole number"),
        ({"chips": {"H100": 8}, "network_GBps_per_chip": -1}, "^network_GBps_per_chip: a number"),
        (
            {"chips": {"H100": 8}, "network_GBps": 25},
            "^network_GBps: unknown; a cluster has chips",
        ),
    ],
)
def test_what_is_no_cluster_is_refused_by_field(description, message):
    with pytest.raises(BadCluster, match=message):
        read_cluster(description)


def test_an_unknown_chip_in_a_cluster_is_named():
    with pytest.raises(UnknownChip, match="no 'H10O'"):
        read_cluster({"chips": {"H10O": 8}})
