"""Serve as much of the Hugging Face Hub as `snapshot_download` needs, in front of the stand-in for Figshare.

    python -m benchmarks.hub FILES.json [--latency SECONDS]

It is a repository of large files at one commit. As with the Hub, the bytes come from another host: from the stand-in,
to which it redirects, so that they come as fast as for all other contenders.

    /api/models/<repository>/revision/main       the commit
    /api/models/<repository>/tree/<commit>       the files
    /<repository>/resolve/<commit>/<name>        302 to the signed URL at the storage

Its only line on stdout is its URL, written when it listens; it serves until it is killed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = "antscache/standin"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_INFO = f"/api/models/{REPOSITORY}/revision/main"
_TREE = f"/api/models/{REPOSITORY}/tree/{COMMIT}"
_RESOLVE = f"/{REPOSITORY}/resolve/{COMMIT}/"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A large file of the repository; `url` is a route of the stand-in, which redirects to the bytes."""

    name: str
    url: str
    sha256: str
    size: int


class Hub(ThreadingHTTPServer):
    """A server for `files` on a loopback port, with `latency` seconds before answers that need no stand-in."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, files: list[HubFile], latency: float) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.files = {file.name: file for file in files}
        self.latency = latency

    def entries(self) -> list[dict[str, object]]:
        """Return the list of files, as the Hub gives it."""
        return [
            {
                "type": "file",
                "path": file.name,
                "oid": file.sha256[:40],
                "size": file.size,
                "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134},
            }
            for file in self.files.values()
        ]


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    server: Hub

    def setup(self) -> None:
        super().setup()
        self._figshare: HTTPConnection | None = None

    def finish(self) -> None:
        super().finish()
        if self._figshare:
            self._figshare.close()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == _INFO:
            self._tell({"id": REPOSITORY, "sha": COMMIT, "siblings": []})
        elif path == _TREE:
            self._tell(self.server.entries())
        elif path.startswith(_RESOLVE):
            self._redirect(self.server.files[path[len(_RESOLVE) :]])
        else:
            self._answer(404, {})

    do_HEAD = do_GET  # of a redirect, which has no body  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's signature
        """Log nothing."""

    def _tell(self, value: object) -> None:
        time.sleep(self.server.latency)
        self._answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _redirect(self, file: HubFile) -> None:
        url = urlsplit(file.url)
        self._figshare = self._figshare or HTTPConnection(url.netloc)
        self._figshare.request("GET", url.path)
        answer = self._figshare.getresponse()
        answer.read()
        linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        self._answer(302, {"Location": answer.headers["Location"], **linked})

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser(description="As much of the Hugging Face Hub as snapshot_download needs.")
    parser.add_argument("files", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    with Hub([HubFile(**file) for file in json.loads(options.files.read_text())], options.latency) as server:
        sys.stdout.write("http://{}:{}\n".format(*server.server_address))
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
