"""Series and dashboards: what jobs report and what nodes are seen doing."""
