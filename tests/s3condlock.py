"""A Swift proxy filter, for deployments with one proxy process: conditional writes become atomic.

Stock Swift lets several `PUT If-None-Match: *` of one key win; S3 lets one. All writes of a path wait for each other.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from eventlet.semaphore import Semaphore

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[App], App]:  # noqa: ARG001
    locks: weakref.WeakValueDictionary[str, Semaphore] = weakref.WeakValueDictionary()

    def one_after_the_other(app: App) -> App:
        def handle(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            query = environ.get("QUERY_STRING", "")
            is_write = environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
            if not is_write or "uploads" in query or "partNumber" in query:
                return app(environ, start_response)
            lock = locks.setdefault(environ["PATH_INFO"], Semaphore(1))
            with lock:
                return app(environ, start_response)

        return handle

    return one_after_the_other
