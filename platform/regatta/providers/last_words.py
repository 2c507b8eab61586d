"""What a node that failed wrote last, as far as it tells why. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_LINES, _MOST_OF_A_LINE = 8, 800  # Ray says why at the end of long lines
_RAYS_PREFIX = re.compile(r"^[\d-]{10} [\d:,]{8,12}\s+(?P<level>[A-Z]+) \S+:\d+ -- ")
_ALL_IS_WELL = frozenset({"INFO", "SUCC", "VINFO", "DEBUG"})
_FRAMES = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t]+.*\n)*", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SECRETS = re.compile(
    r"""(?ix) ( \b (?:authorization|[\w-]*(?:token|password|passwd|secret|api[_-]?key)) ["']?
               \s* [:=] \s* ["']? (?:(?:bearer|basic|token)\s+)? | \b bearer \s+ )
        [^\s"',;&]{4,} | (?<=://) [^/\s:@]*:[^/\s@]+ (?=@)"""
)


def last_words(log: str, *, secrets: Iterable[str] = ()) -> str:
    """The last lines of `ray start` that tell of trouble; empty when all it says is well.

    secrets: masked, and with them what looks like a token or a password.
    """
    for secret in filter(None, secrets):
        log = log.replace(secret, "***")
    kept = [
        line
        for raw in _FRAMES.sub("", log).splitlines()
        if (line := _telling(_COLOUR.sub("", raw)))
    ]
    return "\n".join(line[:_MOST_OF_A_LINE] for line in kept[-MOST_LINES:])


def _telling(line: str) -> str:
    prefix = _RAYS_PREFIX.match(line)
    if prefix and prefix["level"] in _ALL_IS_WELL:
        return ""
    said = line[prefix.end() if prefix else 0 :].rstrip()
    return _SECRETS.sub(lambda found: f"{found[1] or ''}***", said) if said.strip(" -=*") else ""
