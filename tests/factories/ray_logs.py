"""A cluster's head as far as logs go: real HTTP, files in memory, streams that can be cut."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from jobs import World, a_cluster_of, a_job, the_attempt

from apps.accounts import vault
from apps.jobs.follow import follow
from apps.jobs.log_models import Log


class Request(BaseHTTPRequestHandler):
    """One connection to a `RayLogs`."""

    protocol_version = "HTTP/1.1"

    def __init__(self, ray, *args):
        self.ray = ray
        super().__init__(*args)

    def log_message(self, *args):
        pass

    def do_GET(self):
        address = urlsplit(self.path)
        if self.headers["Authorization"] != "Bearer head":
            return self._answer(401, b"")
        if address.path.startswith("/api/jobs/"):
            about = {"driver_node_id": "node", "submission_id": address.path.split("/")[-1]}
            if self.ray.nonsense:
                self.ray.nonsense_told.set()
            return self._answer(200, self.ray.nonsense or json.dumps(about).encode())
        query = parse_qs(address.query)
        handle = query["filename"][0].removeprefix("job-driver-").removesuffix(".log")
        assert query["lines"] == ["-1"]
        if handle not in self.ray.files:
            return self._answer(500, b"A file is not found at: /x")
        if address.path == "/api/v0/logs/file":
            return self._answer(200, self.ray.files[handle])
        return self._stream(handle)

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, handle):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        sent, cuts = 0, self.ray.cuts
        self.ray.streams += 1
        while not self.ray.closed.is_set() and self.ray.cuts == cuts:
            new = self.ray.files[handle][sent:]
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(new), new) if new else b"")
            except OSError:
                return
            sent += len(new)
            with self.ray.changed:
                self.ray.changed.wait(0.05)


class RayLogs:
    """Answers as Ray 2.60 does: `stream` goes on for ever, both begin at the file's start."""

    def __init__(self):
        self.files = {}
        self.streams = 0  # that were opened
        self.cuts = 0
        self.nonsense = b""  # answered of every job
        self.nonsense_told = threading.Event()
        self.closed = threading.Event()
        self.changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Request, self))
        self.server.daemon_threads = True

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def write(self, handle, data):
        with self.changed:
            self.files[handle] = self.files.get(handle, b"") + data
            self.changed.notify_all()

    def cut(self):
        """Break every open stream off."""
        with self.changed:
            self.cuts += 1
            self.changed.notify_all()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.closed.set()
        self.cut()
        self.server.shutdown()
        self.server.server_close()


def a_running_attempt(ray, **job):
    """An attempt that a cluster, whose logs `ray` serves, has begun."""
    cluster = a_cluster_of(address=ray.address, token=vault.seal("head"))
    the_job = a_job(cluster, **job)
    World().sweep()
    return the_attempt(the_job)


@contextmanager
def following():
    """A follower, as the ticker runs it."""
    stop = threading.Event()
    thread = threading.Thread(target=follow, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_until(holds, within_s=20.0):
    """Ask until it holds; how long that takes proves nothing."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.02)):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError("it never came true")


def stored(attempt):
    return Log.objects.get(pk=attempt.pk).stored_bytes


def ending(attempt):
    return Log.objects.get(pk=attempt.pk).ending
