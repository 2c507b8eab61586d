"""HTTP/1.1 as uvicorn speaks it, with an end to what a stranger may send and may leave lying.

httptools and uvicorn have no bounds of their own: one header would fill the memory, as would
requests sent faster than they are answered; a head that never ends, or an answer that nobody
takes, would hold its connection for ever.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10  # all lines up to the empty one; also what may follow a body in pieces
HEAD_S = 10.0  # from its first byte to its last, and for the first one of a connection to begin
AHEAD = 16  # requests that wait for the answer to the one before them
_STEP_BYTES = 4 << 10  # looked at in one go, so that few more than AHEAD are taken in
UNTAKEN_S = 120.0  # that a client may take nothing of what is sent to it


class _Flow(FlowControl):
    """Reads on only when what was read before has been looked at."""

    held = b""  # at most what one read brings

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """uvicorn's own, which also answers 431 and 408, and takes in no more than it answers."""

    flow: _Flow
    _came = 0  # bytes since a head, a piece of a body or a request was complete
    _in_head = False
    _due: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._got_somewhere()
        self._all_is_taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        left, self.flow.held = memoryview(self.flow.held + data), b""
        while left and self._is_ours():
            if len(self.pipeline) >= AHEAD:
                self.flow.pause_reading()
                self.flow.held = bytes(left)
                break
            room = min(_STEP_BYTES, HEAD_BYTES - self._came)
            some, left = bytes(left[:room]), left[room:]
            self._came += len(some)
            super().data_received(some)
            if self._came >= HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._due is None and self._is_ours() and (self._in_head or not self._is_answering()):
            self._await_head()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # It has the whole head; one that it does not take, as with a body, it leaves lying.
        if not self.transport.get_protocol().handshake_initiated:  # type: ignore[attr-defined]
            self.send_400_response("Invalid WebSocket handshake.")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.flow.write_paused and self in self.connections:
            self._await_taking()
        if self.flow.held and len(self.pipeline) < AHEAD:
            self.data_received(b"")
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all_is_taken()

    def on_message_begin(self) -> None:
        self._in_head = True
        if not self.flow.write_paused:
            self._all_is_taken()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._got_somewhere()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._came = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._came = 0
        super().on_message_complete()

    def _is_ours(self) -> bool:
        """Not where a websocket's protocol has taken over, nor when it is at its end."""
        return self in self.connections and not self.transport.is_closing()

    def _await_taking(self) -> None:
        self._all_is_taken()
        left = self.transport.get_write_buffer_size()
        self._untaken = self.loop.call_later(UNTAKEN_S, self._look_for_taking, left)

    def _look_for_taking(self, left: int) -> None:
        now = self.transport.get_write_buffer_size()
        if now and now >= left:
            self.transport.abort()
        elif now:
            self._await_taking()

    def _all_is_taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _await_head(self) -> None:
        self._due = self.loop.call_later(HEAD_S, self._late)

    def _got_somewhere(self) -> None:
        self._came = 0
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self) -> None:
        if self._is_answering():  # half a head behind a request: its turn comes
            self._await_head()
        elif self._came or self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:  # a connection opened in advance, as browsers do: nobody asked anything
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: HTTPStatus) -> None:
        if not self._is_answering() and not self.transport.is_closing():
            said = f"{status.phrase}\n"
            head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: text/plain\r\n"
            head += f"content-length: {len(said)}\r\nconnection: close\r\n\r\n"
            self.transport.write((head + said).encode())
        self.transport.close()
