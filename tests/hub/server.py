"""A Hub of our own on 127.0.0.1: as much of the real one's interface as its client calls.

Repositories live in memory. Large files are handed out from another host name, `localhost`, as
the real Hub does. Faults are planted with `fail` and `drop`; `asked` keeps every request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
import yaml
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

CHUNK = 1 << 16


@dataclass
class Blob:
    data: bytes
    lfs: bool = False

    @property
    def oid(self) -> str:
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    head: str = ""

    def commit(self, files: dict[str, Blob]) -> str:
        said = f"{len(self.commits)}" + "".join(f"{k}{v.oid}" for k, v in sorted(files.items()))
        self.head = hashlib.sha1(said.encode()).hexdigest()
        self.commits[self.head] = files
        return self.head

    def resolved(self, revision: str) -> str | None:
        if revision == "main":
            return self.head
        found = self.tags.get(revision, revision)
        return found if found in self.commits else None


class HubServer:
    """The server's state, and what tests do to it."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.tokens = {"token-writes": True, "token-reads": False}
        self.asked: list[tuple[str, str]] = []
        # The byte from which each body was asked for.
        self.begun: list[int] = []
        self.port = 0
        self._failures: list[tuple[str, str, int]] = []
        self._drops: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> str:
        """A repository with these files, large ones as the Hub keeps them; its commit."""
        repository = self.repositories.setdefault(name, Repository(private))
        blobs = {k: Blob(v, lfs=k.endswith((".safetensors", ".onnx"))) for k, v in files.items()}
        return repository.commit(blobs)

    def fail(self, method: str, part: str, status: int = 503, times: int = 1) -> None:
        """Answer the next requests whose path has that part with an error."""
        self._failures += [(method, part, status)] * times

    def drop(self, part: str, after: int) -> None:
        """Break the next answer with a body for such a path off after so many bytes."""
        self._drops.append((part, after))

    def count(self, method: str, part: str = "") -> int:
        return sum(m == method and part in path for m, path in self.asked)

    def failure(self, method: str, path: str) -> int:
        for planted in self._failures:
            if planted[0] == method and planted[1] in path:
                self._failures.remove(planted)
                return planted[2]
        return 0

    def dropped(self, path: str) -> int | None:
        for planted in self._drops:
            if planted[0] in path:
                self._drops.remove(planted)
                return planted[1]
        return None

    def forget(self) -> None:
        self.asked.clear()
        self._failures.clear()
        self._drops.clear()


def _error(status: int, code: str, message: str) -> Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return JSONResponse({"error": message}, status, headers)


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


class _AnswerError(Exception):
    def __init__(self, response: Response) -> None:
        self.response = response


def application(hub: HubServer) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def seen(request: Request, follow):
        hub.asked.append((request.method, request.url.path))
        status = hub.failure(request.method, request.url.path)
        if status:
            return _error(status, "", "planted")
        return await follow(request)

    @app.exception_handler(_AnswerError)
    async def answered(request: Request, answer: _AnswerError) -> Response:
        return answer.response

    def readable(request: Request, name: str) -> Repository:
        repository = hub.repositories.get(name)
        if repository is None or (repository.private and _bearer(request) not in hub.tokens):
            # The real Hub does not tell one from the other, either.
            raise _AnswerError(_error(401, "RepoNotFound", "Repository not found"))
        return repository

    def writable(request: Request, name: str) -> Repository:
        allowed(request)
        return readable(request, name)

    def allowed(request: Request) -> None:
        if _bearer(request) not in hub.tokens:
            raise _AnswerError(_error(401, "", "Invalid username or password."))
        if not hub.tokens[_bearer(request)]:
            raise _AnswerError(_error(403, "", "the token has no right to write"))

    def revision_of(repository: Repository, revision: str) -> str:
        found = repository.resolved(revision)
        if found is None:
            raise _AnswerError(_error(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        return found

    @app.api_route("/", methods=["GET", "HEAD"])
    async def front() -> Response:
        return Response("a hub")

    @app.get("/api/agent-harnesses")
    async def harnesses() -> Response:
        return JSONResponse({"standardEnvVars": [], "harnesses": {}})

    @app.post("/api/validate-yaml")
    async def validate(request: Request) -> Response:
        content = (await request.json())["content"]
        try:
            head = yaml.safe_load(content.split("---\n")[1])
        except (IndexError, yaml.YAMLError) as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        missing = [] if head.get("license") else [{"message": "no license"}]
        return JSONResponse({"errors": missing, "warnings": []}, 400 if missing else 200)

    @app.post("/api/repos/create")
    async def create(request: Request) -> Response:
        allowed(request)
        asked = await request.json()
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        there = name in hub.repositories
        if not there:
            hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        return JSONResponse({"url": f"{hub.url}/{name}"}, 409 if there else 200)

    def told(name: str, repository: Repository, commit: str) -> Response:
        return JSONResponse(
            {
                "id": name,
                "sha": commit,
                "private": repository.private,
                "tags": [],
                "siblings": [{"rfilename": path} for path in repository.commits[commit]],
            }
        )

    @app.get("/api/models/{owner}/{name}")
    async def info(request: Request, owner: str, name: str) -> Response:
        repository = readable(request, f"{owner}/{name}")
        return told(f"{owner}/{name}", repository, repository.head)

    @app.get("/api/models/{owner}/{name}/revision/{revision}")
    async def info_at(request: Request, owner: str, name: str, revision: str) -> Response:
        repository = readable(request, f"{owner}/{name}")
        return told(f"{owner}/{name}", repository, revision_of(repository, revision))

    @app.get("/api/models/{owner}/{name}/refs")
    async def refs(request: Request, owner: str, name: str) -> Response:
        repository = readable(request, f"{owner}/{name}")

        def listed(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
            return [
                {"name": key, "ref": f"refs/{kind}/{key}", "targetCommit": commit}
                for key, commit in names.items()
            ]

        branches = listed("heads", {"main": repository.head})
        tags = listed("tags", repository.tags)
        return JSONResponse({"branches": branches, "converts": [], "tags": tags})

    @app.post("/api/models/{owner}/{name}/tag/{revision}")
    async def tag(request: Request, owner: str, name: str, revision: str) -> Response:
        repository = writable(request, f"{owner}/{name}")
        label = (await request.json())["tag"]
        if label in repository.tags:
            return _error(409, "", f"Tag {label} already exists")
        repository.tags[label] = revision_of(repository, revision)
        return JSONResponse({})

    @app.post("/api/models/{owner}/{name}/preupload/{revision}")
    async def preupload(request: Request, owner: str, name: str, revision: str) -> Response:
        repository = writable(request, f"{owner}/{name}")
        there = repository.commits[revision_of(repository, revision)]
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["path"].endswith((".safetensors", ".onnx"))
                else "regular",
                "shouldIgnore": False,
                "oid": there[file["path"]].oid if file["path"] in there else None,
            }
            for file in (await request.json())["files"]
        ]
        return JSONResponse({"files": files})

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch")
    async def batch(request: Request, owner: str, name: str) -> Response:
        writable(request, f"{owner}/{name}")
        objects = [
            {
                **one,
                "actions": {"upload": {"href": f"http://localhost:{hub.port}/store/{one['oid']}"}},
            }
            for one in (await request.json())["objects"]
        ]
        return JSONResponse({"transfer": "basic", "objects": objects})

    @app.put("/store/{oid}")
    async def put(request: Request, oid: str) -> Response:
        data = await request.body()
        if hashlib.sha256(data).hexdigest() != oid:
            return _error(400, "", "not what it should be")
        hub.stored[oid] = data
        return Response()

    @app.post("/api/models/{owner}/{name}/commit/{revision}")
    async def commit(request: Request, owner: str, name: str, revision: str) -> Response:
        repository = writable(request, f"{owner}/{name}")
        head = revision_of(repository, revision)
        files = dict(repository.commits[head])
        for line in (await request.body()).splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "header" and value.get("parentCommit", head) != head:
                return _error(412, "", "A commit has happened since")
            if said["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif said["key"] == "lfsFile":
                files[value["path"]] = Blob(hub.stored[value["oid"]], lfs=True)
            elif said["key"] == "deletedFile":
                files.pop(value["path"])
        oid = repository.commit(files)
        url = f"{hub.url}/{owner}/{name}/commit/{oid}"
        return JSONResponse({"commitOid": oid, "commitUrl": url})

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(
        request: Request, owner: str, name: str, revision: str, path: str
    ) -> Response:
        repository = readable(request, f"{owner}/{name}")
        oid = revision_of(repository, revision)
        blob = repository.commits[oid].get(path)
        headers = {"X-Repo-Commit": oid}
        if blob is None:
            response = _error(404, "EntryNotFound", "Entry not found")
            response.headers["X-Repo-Commit"] = oid
            return response
        if blob.lfs:
            hub.stored[blob.oid] = blob.data
            headers |= {
                "X-Linked-Etag": f'"{blob.oid}"',
                "X-Linked-Size": str(len(blob.data)),
                "Location": f"http://localhost:{hub.port}/store/{blob.oid}",
            }
            return Response(status_code=302, headers=headers)
        return _body(hub, request, blob.data, headers | {"ETag": f'"{blob.oid}"'})

    @app.api_route("/store/{oid}", methods=["GET", "HEAD"])
    async def get(request: Request, oid: str) -> Response:
        return _body(hub, request, hub.stored[oid], {"ETag": f'"{oid}"'})

    return app


def _body(hub: HubServer, request: Request, data: bytes, headers: dict[str, str]) -> Response:
    begin = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
    headers = headers | {"Content-Length": str(len(data) - begin), "Accept-Ranges": "bytes"}
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
    if request.method == "HEAD":
        return Response(headers=headers)
    hub.begun.append(begin)
    after = hub.dropped(request.url.path)

    async def sent() -> AsyncIterator[bytes]:
        end = len(data) if after is None else after
        for place in range(begin, end, CHUNK):
            yield data[place : min(place + CHUNK, end)]
        if after is not None:
            raise ConnectionResetError("planted")

    return StreamingResponse(sent(), 206 if begin else 200, headers)


@contextmanager
def serving() -> Iterator[HubServer]:
    """A running server at a free port of 127.0.0.1."""
    hub = HubServer()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        hub.port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(hub),
            log_config=None,
            log_level="critical",
            lifespan="off",
            ws="none",
            http="h11",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield hub
        server.should_exit = True
        thread.join(10)
