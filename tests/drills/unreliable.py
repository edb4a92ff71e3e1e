"""An object store that answers some requests with an error, late, in part, or not at all: a relay before a real one."""

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

FAULTS = ("500", "503", "reset", "lost", "late", "cut")
"""Two errors; a connection that ends before the request is passed on, and one that ends after, before its answer; an
answer that takes half a second; an answer of which a half comes."""
HOP = {"connection", "transfer-encoding", "keep-alive"}


def ignore(_: int) -> None: ...


@contextmanager
def unreliable(
    server: str,
    seed: int,
    share: float,
    faults: Sequence[str] = FAULTS,
    before_request: Callable[[int], None] = ignore,
) -> Iterator[str]:
    """The address of a relay to `server`, which handles that share of all requests as one of FAULTS says.

    `before_request` is called with the number of each request, from 1, before it is passed on.
    """
    draw, lock, numbers = Random(seed), threading.Lock(), itertools.count(1)
    host = urlsplit(server).netloc

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def relay(self) -> None:
            body = b"".join(self.body())
            with lock:
                before_request(next(numbers))
                fault = draw.choice(faults) if draw.random() < share else ""
            if fault.isdigit():
                self.send_response(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "reset":
                self.close_connection = True
                return
            if fault == "late":
                time.sleep(0.5)
            there = http.client.HTTPConnection(host, timeout=60)
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    there.putheader(name, value)
            there.endheaders(body)
            answer = there.getresponse()
            body = b"" if self.command == "HEAD" else answer.read()
            there.close()
            if fault == "lost":
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP | {"content-length", "date", "server"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if fault == "cut":
                self.close_connection = True
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def body(self) -> Iterator[bytes]:
            """What comes with a request, as it comes: by length, or in chunks with their sizes and trailers."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return
            while size := int((line := self.rfile.readline()).partition(b";")[0], 16):
                yield line + self.rfile.read(size + 2)
            yield line
            while (line := self.rfile.readline()).strip():
                yield line
            yield line

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    relay = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    relay.daemon_threads = True
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{relay.server_address[1]}"
    finally:
        relay.shutdown()
        relay.server_close()
