"""What starts clusters. A new provider is a folder here and a line in `_PROVIDERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from regatta.providers.local.provider import LocalProvider
from regatta.providers.provider import Provider, UnknownProvider

_PROVIDERS: Mapping[str, Callable[[Path], Provider]] = {
    "local": LocalProvider,
}
NAMES = tuple(_PROVIDERS)


def provider(name: str, *, home: Path) -> Provider:
    """The provider of that name, keeping its things under `home`.

    Raises: UnknownProvider.
    """
    try:
        return _PROVIDERS[name](home)
    except KeyError:
        raise UnknownProvider(f"no provider {name!r}; there are: {', '.join(NAMES)}") from None
