"""One log record, one line: level, action, request, message."""

from __future__ import annotations

import logging

from apps.http.request_id import current

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class Formatter(logging.Formatter):
    """`LEVEL logger action=… key=value message`, control characters made visible."""

    def format(self, record: logging.LogRecord) -> str:
        extras = {k: v for k, v in record.__dict__.items() if k not in _PLAIN and k != "request"}
        if (request_id := current.get()) != "-":
            extras["request_id"] = request_id
        said = record.getMessage()
        words = [record.levelname, record.name, *(f"{k}={v}" for k, v in extras.items()), said]
        line = " ".join(words).encode("unicode_escape").decode("ascii")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line
