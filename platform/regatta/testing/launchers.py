"""A launcher in memory."""

from __future__ import annotations

from regatta.lifecycle.attempt import LIVE, HandleTaken, Launch, Seen, Sight


class FakeLauncher:
    """Holds what the world looks like; `starts` counts the starts that had an effect."""

    def __init__(self) -> None:
        self.world: dict[str, Sight] = {}
        self.launches: dict[str, Launch] = {}
        self.starts = 0

    def look(self, handle: str) -> Sight:
        return self.world.get(handle, Sight(seen=Seen.ABSENT))

    def start(self, launch: Launch) -> None:
        if launch.handle not in self.world:
            self.put(launch.handle, Seen.RUNNING)
            self.launches[launch.handle] = launch
            self.starts += 1
        elif dict(self.launches[launch.handle].metadata) != dict(launch.metadata):
            raise HandleTaken(launch.handle)

    def stop(self, handle: str) -> None:
        if self.look(handle).seen in LIVE:
            self.put(handle, Seen.STOPPED)

    def put(self, handle: str, seen: Seen, *, error_type: str = "", message: str = "") -> None:
        """Let the world show this of an attempt from now on."""
        self.world[handle] = Sight(seen=seen, error_type=error_type, message=message)
