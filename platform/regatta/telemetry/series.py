"""Series of points made small enough to draw, without losing what the eye would see."""

from __future__ import annotations

from collections.abc import Sequence

XY = tuple[float, float]


def thin(points: Sequence[XY], *, most: int) -> list[XY]:
    """At most `most` of the points, those that keep the shape of the line; the ends stay.

    points: by rising x, finite.
    Raises: ValueError if most < 3.
    Source: Steinarsson 2013, Downsampling Time Series for Visual Representation (LTTB): of each
    bucket the point that spans the largest triangle with the last one kept and with the mean of
    the next bucket.
    """
    if most < 3:
        msg = f"at least 3 points are needed to keep a shape, not {most}"
        raise ValueError(msg)
    if len(points) <= most:
        return list(points)
    edges = [1 + i * (len(points) - 2) // (most - 2) for i in range(most - 1)]
    kept = [points[0]]
    for i in range(most - 2):
        start, end = edges[i], edges[i + 1]
        after = points[end : edges[i + 2]] if i + 2 < len(edges) else points[-1:]
        kept.append(_furthest(points[start:end], kept[-1], _mean(after)))
    return [*kept, points[-1]]


def _furthest(bucket: Sequence[XY], before: XY, after: XY) -> XY:
    (left, low), (right, high) = before, after

    def area(point: XY) -> float:
        return abs((left - right) * (point[1] - low) - (left - point[0]) * (high - low))

    return max(bucket, key=area)


def _mean(points: Sequence[XY]) -> XY:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
