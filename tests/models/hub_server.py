"""A stand-in for the Hugging Face Hub on the loopback address, with as much of its interface as its client asks for."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories by name, each with folders by commit; what was asked is kept in `requests`."""

    def __init__(self):
        self.repos = {}
        self.gated = set()
        self.delay = 0.0
        self.down = False
        self.requests = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self, body=True)

            def do_HEAD(self):
                hub.answer(self, body=False)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def push(self, name: str, folder: Path, salt: str = "") -> str:
        commit = hashlib.sha1(f"{name}{folder}{salt}".encode()).hexdigest()
        commits = self.repos.setdefault(name, {})
        commits[commit] = {
            f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()
        }
        commits["main"] = commits[commit]
        commits["main-is"] = commit
        return commit

    def fetched(self) -> list[str]:
        """The files whose content was asked for."""
        return [
            path.split("/resolve/")[1].split("/", 1)[1]
            for verb, path in self.requests
            if verb == "GET" and "/resolve/" in path
        ]

    def answer(self, request, *, body: bool):
        path = unquote(urlsplit(request.path).path)
        self.requests.append((request.command, path))
        time.sleep(self.delay)
        if self.down:
            return self._reply(request, 503, b"down", body)
        if path.startswith("/api/models/"):
            return self._api(request, path.removeprefix("/api/models/"), body)
        name, _, rest = path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        files = self.repos.get(name, {}).get(revision)
        if name in self.gated:
            return self._reply(request, 403, b"gated", body, {"X-Error-Code": "GatedRepo"})
        if files is None or file not in files:
            return self._reply(request, 404, b"", body, {"X-Error-Code": "EntryNotFound"})
        content = files[file]
        commit = revision if revision != "main" else self.repos[name]["main-is"]
        etag = hashlib.sha256(content).hexdigest()
        return self._reply(request, 200, content, body, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    def _api(self, request, path: str, body: bool):
        for mark in ("/tree/", "/revision/"):
            name, found, revision = path.partition(mark)
            if found:
                break
        else:
            mark, name, revision = "", path, "main"
        repo = self.repos.get(name)
        if repo is None:
            return self._reply(request, 404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        files = repo.get(revision)
        if files is None:
            return self._reply(request, 404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
        if mark == "/tree/":
            listing = [
                {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for p, c in files.items()
            ]
            return self._json(request, listing, body)
        commit = repo["main-is"] if revision == "main" else revision
        info = {"id": name, "modelId": name, "sha": commit, "siblings": [{"rfilename": p} for p in files]}
        return self._json(request, info, body)

    def _json(self, request, value, body: bool):
        return self._reply(request, 200, json.dumps(value).encode(), body, {"Content-Type": "application/json"})

    def _reply(self, request, status: int, content: bytes, body: bool, headers=None):
        request.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            request.send_header(key, value)
        request.end_headers()
        if body:
            request.wfile.write(content)
