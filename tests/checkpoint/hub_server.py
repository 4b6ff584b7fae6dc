"""A small server that speaks the Hub's protocol, for the real client to talk to.

Model info, file metadata with ETag and X-Repo-Commit, a redirect to a content server for large
files, byte ranges, and faults on order: a connection that breaks off in the middle of a file.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?(?:\?.*)?")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
CONTENT = re.compile(r"/content/([0-9a-f]{64})")
LARGE = 1000  # files from here on are redirected to the content server, as the Hub does


@dataclass
class Hub:
    """What the server has, what it will do wrong, and what it was asked."""

    files: dict[str, bytes]
    name: str = "owner/model"
    commit: str = "a" * 40
    branches: tuple[str, ...] = ("main",)
    gated: bool = False
    cut: dict[str, int] = field(default_factory=dict)  # file → break off after so many bytes, once
    stall: dict[str, int] = field(default_factory=dict)  # file → go silent after so many, once
    stalled: threading.Event = field(default_factory=threading.Event)  # set: end the silence
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""
    content_url: str = ""  # another host, as the Hub's: its client stops at such a redirect

    def fetched(self) -> list[str]:
        """The files whose content was asked for."""
        digests = {hashlib.sha256(data).hexdigest(): name for name, data in self.files.items()}
        found = []
        for method, path, _ in self.requests:
            if method == "GET" and (match := CONTENT.fullmatch(path)):
                found.append(digests[match[1]])
            elif method == "GET" and (match := RESOLVE.fullmatch(path)):
                found += [match[3]] if len(self.files.get(match[3], b"")) < LARGE else []
        return found

    def ranges(self, name: str) -> list[str | None]:
        """The Range headers with which a large file's content was asked for."""
        digest = hashlib.sha256(self.files[name]).hexdigest()
        return [asked for _, path, asked in self.requests if path == f"/content/{digest}"]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Run the server in a thread; `hub.url` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.content_url = f"http://localhost:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Range")))
            if match := API.fullmatch(self.path):
                return self.info(match[1], match[2] or "main")
            if match := RESOLVE.fullmatch(self.path):
                return self.resolve(*match.groups())
            if match := CONTENT.fullmatch(self.path):
                return self.content(match[1])
            return self.fail(404, "EntryNotFound")

        def known(self, name: str, revision: str) -> bool:
            if name != hub.name:
                self.fail(404, "RepoNotFound")
            elif hub.gated:
                self.fail(403, "GatedRepo")
            elif revision not in (*hub.branches, hub.commit):
                self.fail(404, "RevisionNotFound")
            else:
                return True
            return False

        def info(self, name: str, revision: str) -> None:
            if not self.known(name, revision):
                return
            listed = [{"rfilename": file} for file in hub.files]
            value = {"id": name, "modelId": name, "sha": hub.commit, "siblings": listed}
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def resolve(self, name: str, revision: str, file: str) -> None:
            if not self.known(name, revision):
                return
            data = hub.files.get(file)
            if data is None:
                return self.fail(404, "EntryNotFound")
            digest = hashlib.sha256(data).hexdigest()
            headers = {"X-Repo-Commit": hub.commit, "ETag": f'"{digest[:40]}"'}
            if len(data) < LARGE:
                return self.part(file, data, headers)
            headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            return self.send(
                302, b"", {**headers, "Location": f"{hub.content_url}/content/{digest}"}
            )

        def content(self, digest: str) -> None:
            for file, data in hub.files.items():
                if hashlib.sha256(data).hexdigest() == digest:
                    return self.part(file, data, {})
            return self.fail(404, "EntryNotFound")

        def part(self, file: str, data: bytes, headers: dict[str, str]) -> None:
            headers = {**headers, "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if asked is None:
                cut, stall = hub.cut.pop(file, None), hub.stall.pop(file, None)
                return self.send(200, data, headers, cut if stall is None else stall, stall)
            start, stop = int(asked[1]), int(asked[2] or len(data) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return self.send(206, data[start:stop], headers)

        def fail(self, status: int, code: str) -> None:
            self.send(status, b"", {"X-Error-Code": code})

        def send(
            self,
            status: int,
            body: bytes,
            headers: dict[str, str],
            cut: int | None = None,
            stall: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body[:cut])
            if stall is not None:
                hub.stalled.wait(60)
            if cut is not None:
                self.close_connection = True

    return Handler
