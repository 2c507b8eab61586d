"""The portal as one command: what holds before any of its processes runs."""

from __future__ import annotations

import socket

from regatta.embedded import portal
from regatta.embedded.portal import Portal


def test_what_the_portals_socket_accepts_sends_each_answer_at_once(tmp_path):
    listener = portal._listen(Portal(home=tmp_path, port=0))
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _address = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_each_web_process_bounds_what_a_stranger_may_send(tmp_path):
    command = Portal(home=tmp_path).command("web", listener=5)
    assert command[command.index("--http") + 1] == "apps.http.protocol:Protocol"
