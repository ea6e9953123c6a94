"""A Hub on loopback: what the clients of `huggingface_hub` and `datasets` ask of huggingface.co, for tests.

Two servers share one state. The Hub's own answers the API and hands out small files; large ones (LFS) are on a second
origin, as on the real Hub: a client takes commit and size of such a file from the redirect, and follows it without its
token. The clients must not use Xet (`HF_HUB_DISABLE_XET=1`): they would not fall back to LFS.
"""

import base64
import fnmatch
import hashlib
import json
import os
import re
import secrets
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote

import yaml

USER = "tester"  # whose tokens they are
LFS_SIZE = 10 * 2**20  # bytes; larger files are LFS whatever their name
# Every repository of the Hub begins with a commit of such a file.
GIT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in ("*.safetensors", "*.parquet", "*.bin", "*.png")
)
FRONT_MATTER = re.compile(r"^\s*---[\r\n]+(.*?)[\r\n]+---\s*(?:\n|$)", re.DOTALL)


class HubError(Exception):
    """An answer that is an error; `code` is what the client's own error types are chosen by."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message, **headers}
        if code:
            self.headers["X-Error-Code"] = code


def git_hash(content: bytes, kind: bytes = b"blob") -> str:
    """Git's hash of an object."""
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(content), content), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class File:
    """The content of a file and whether it is stored as LFS."""

    content: bytes
    lfs: bool = False

    @property
    def oid(self) -> str:
        """What tells versions apart: SHA-256 for LFS, git's hash of a blob otherwise."""
        return hashlib.sha256(self.content).hexdigest() if self.lfs else git_hash(self.content)

    def info(self, path: str) -> dict:
        size = len(self.content)
        lfs = {"lfs": {"oid": self.oid, "size": size, "pointerSize": 130}} if self.lfs else {}
        return {"type": "file", "path": path, "size": size, "oid": self.oid[:40], **lfs}


@dataclass(frozen=True)
class Commit:
    """A snapshot that never changes."""

    sha: str
    parent: str | None
    title: str
    files: dict[str, File]


@dataclass
class Repo:
    """A repository; `revisions` has every commit by its sha."""

    type: str
    id: str
    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, Commit] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What stands before the id in the addresses."""
        return "" if self.type == "model" else f"{self.type}s/"

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a sha."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.revisions:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.revisions[sha]

    def commit(self, branch: str, title: str, files: dict[str, File]) -> Commit:
        parent = self.branches.get(branch)
        content = [self.type, self.id, len(self.revisions), title, {path: file.oid for path, file in files.items()}]
        sha = git_hash(json.dumps(content).encode(), b"commit")
        self.revisions[sha] = Commit(sha, parent, title, files)
        self.branches[branch] = sha
        return self.revisions[sha]


@dataclass(frozen=True)
class Request:
    """A request that was answered; `authorised` tells whether it carried a token that the server knows."""

    method: str
    path: str
    authorised: bool
    status: int


@dataclass
class Call:
    """A request as the endpoints see it; `repo` is None where the path names none."""

    body: bytes
    query: dict[str, list[str]]
    accept: str
    token: str
    repo: Repo | None = None

    @property
    def json(self) -> dict:
        return json.loads(self.body or b"{}")


@dataclass
class Answer:
    """What goes back: `content` is JSON if it is no bytes."""

    content: object = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def card_metadata(text: str):
    """What the front matter of a card says, or None where there is none."""
    match = FRONT_MATTER.match(text)
    return yaml.safe_load(match[1]) if match else None


def check_card(text: str) -> tuple[list[str], list[str]]:
    """Errors and warnings of a card's metadata, by the rules that the Hub documents (not all it has)."""
    try:
        metadata = card_metadata(text)
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return ["YAML Metadata Error: the metadata must be an object"], []
    errors = []

    def need(holder, name: str, kind: type, where: str = ""):
        """The value of a required field, or None after an error."""
        value = holder.get(name) if isinstance(holder, dict) else None
        if not isinstance(value, kind) or not value:
            errors.append(f'"{where}{name}" is required and must be a non-empty {kind.__name__}')
            return None
        return value

    for name in ("license", "language", "tags", "datasets", "metrics", "base_model", "pipeline_tag", "library_name"):
        value, lists = metadata.get(name, ""), name not in ("pipeline_tag", "library_name")
        texts = value if lists and isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in texts):
            errors.append(f'"{name}" must be a string' + lists * " or a list of strings")
        elif name == "license" and not all(re.fullmatch(r"[a-z0-9.+-]*", each) for each in texts):
            errors.append(f'"license" must be an identifier such as apache-2.0, not {value!r}')  # the Hub has a list
    for i, model in enumerate(need(metadata, "model-index", list) or [] if "model-index" in metadata else []):
        need(model, "name", str, f"model-index[{i}].")
        for j, result in enumerate(need(model, "results", list, f"model-index[{i}].") or []):
            where = f"model-index[{i}].results[{j}]."
            need(need(result, "task", dict, where), "type", str, f"{where}task.")
            dataset = need(result, "dataset", dict, where)
            need(dataset, "type", str, f"{where}dataset.")
            need(dataset, "name", str, f"{where}dataset.")
            for k, metric in enumerate(need(result, "metrics", list, where) or []):
                need(metric, "type", str, f"{where}metrics[{k}].")
                if not isinstance(metric, dict) or metric.get("value") is None:
                    errors.append(f'"{where}metrics[{k}].value" is required')
    return errors, []


class HubServer:
    """A Hub on loopback, serving while its `with` block runs.

    A new repository holds a `.gitattributes`, as on the real Hub, whose patterns (and a size above 10 MB) make a file
    LFS. Any namespace may be written with the write token; private repositories can be read with both tokens.

    Attributes:
        endpoint: the Hub's address, for `HF_ENDPOINT`.
        write_token: a token that may do everything.
        read_token: a token that may read.
        requests: what was asked so far, at the Hub and at the origin of its large files.
    """

    def __enter__(self):
        self.write_token, self.read_token = (f"hf_{role}_{secrets.token_hex(8)}" for role in ("write", "read"))
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}  # LFS files by their SHA-256
        self._signature = secrets.token_hex(8)
        self._servers = [_Server(self, self.call), _Server(self, self.content)]
        self.endpoint, self._content_origin = (server.origin for server in self._servers)
        return self

    def __exit__(self, *error):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def client_environment(self, home: Path, token: str | None) -> dict[str, str]:
        """The environment of a fresh client process.

        Args:
            home: the client's `HF_HOME`; an empty folder is an empty cache.
            token: its token, or None.

        Returns:
            This process's environment without its tokens, caches and proxies, and with this Hub as the only one.
        """
        foreign = re.compile("(HF|HUGGING_?FACE|TRANSFORMERS|DATASETS)_.*|.*_PROXY", re.IGNORECASE)
        environment = {name: value for name, value in os.environ.items() if not foreign.fullmatch(name)}
        environment |= {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
        environment |= {f"HF_HUB_DISABLE_{name}": "1" for name in ("XET", "TELEMETRY", "PROGRESS_BARS")}
        environment["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"  # `datasets` would ask a CDN
        return environment | ({"HF_TOKEN": token} if token else {})

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """The files of a repository at a branch, tag or sha, by path."""
        with self.lock:
            files = self.repos[repo_type, repo_id].at(revision).files
            return {path: file.content for path, file in sorted(files.items())}

    def commits(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[Commit]:
        """The commits that lead to a branch, tag or sha, the newest first."""
        with self.lock:
            repo = self.repos[repo_type, repo_id]
            history = [repo.at(revision)]
            while history[-1].parent:
                history.append(repo.revisions[history[-1].parent])
            return history

    def content_url(self, oid: str) -> str:
        """Where an LFS file is uploaded and downloaded: whoever has the address may."""
        return f"{self._content_origin}/objects/{oid}?signature={self._signature}"

    def call(self, method: str, path: str, call: Call) -> Answer:
        """Find the endpoint of a request, check that its token may ask, and answer."""
        verb = "GET" if method == "HEAD" else method
        found = [route for route in _ROUTES if route[0] == verb and route[1].fullmatch(path)]
        if not found:
            raise HubError(404, f"{method} {path} is not part of this Hub")
        _, pattern, writes, endpoint = found[0]
        if call.token and not self.knows(call.token):
            raise HubError(401, "Invalid credentials in Authorization header")
        arguments = {name: unquote(value) for name, value in pattern.fullmatch(path).groupdict().items() if value}
        with self.lock:
            if "id" in arguments:
                call.repo = self.repos.get((arguments.pop("type", "model"), arguments.pop("id")))
                if call.repo is None or (call.repo.private and not call.token):
                    raise HubError(404 if call.token else 401, "Repository not found", "RepoNotFound")
            if writes and not call.token:
                raise HubError(401, "Invalid username or password.")
            if writes and call.token != self.write_token:
                raise HubError(403, "This token has no permission to write")
            return endpoint(self, call, **arguments)

    def content(self, method: str, path: str, call: Call) -> Answer:
        """Take or give an LFS file."""
        oid = path.removeprefix("/objects/")
        if (
            call.query.get("signature") != [self._signature] or call.token
        ):  # storage refuses a second way of authorisation
            raise HubError(403, "The address must be signed and the request must carry no token")
        with self.lock:
            if method == "PUT":
                if hashlib.sha256(call.body).hexdigest() != oid:
                    raise HubError(400, f"What was sent is not {oid}")
                self.objects[oid] = call.body
            elif oid not in self.objects:
                raise HubError(404, "No such object")
            return Answer(b"" if method == "PUT" else self.objects[oid])

    def knows(self, token: str) -> bool:
        """Whether it is one of this Hub's tokens."""
        return token in (self.write_token, self.read_token)


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: HubServer, answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.answer, self.origin = hub, answer, f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the clients keep their connections
    disable_nagle_algorithm = True

    def handle_request(self):
        hub, (path, _, query) = self.server.hub, self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        try:
            answer = self.server.answer(
                self.command, path, Call(body, parse_qs(query), self.headers.get("Accept", ""), token)
            )
            content = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
            if answer.status == 200:
                content = self.part(answer, content)
        except HubError as error:
            answer, content = Answer(b"", error.status, error.headers), json.dumps({"error": str(error)}).encode()
        with hub.lock:
            hub.requests.append(Request(self.command, unquote(path), hub.knows(token), answer.status))
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def part(self, answer: Answer, content: bytes) -> bytes:
        """What of the content the header `Range` asks for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            return content
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        if first > last:
            raise HubError(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{len(content)}"})
        answer.status, answer.headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(content)}"
        return content[first : last + 1]

    def log_message(self, *arguments):
        pass  # `HubServer.requests` has them


# Method, pattern of the path, whether it takes a token that may write, and the endpoint.
_ROUTES: list[tuple] = []
_API = r"/api/(?P<type>model|dataset)s/(?P<id>[^/]+/[^/]+)"
_GIT = r"/(?:(?P<type>dataset)s/)?(?P<id>[^/]+/[^/]+)"


def _route(method: str, pattern: str, writes: bool = False):
    def register(endpoint):
        _ROUTES.append((method, re.compile(pattern), writes, endpoint))
        return endpoint

    return register


@_route("GET", "/api/whoami-v2")
def _whoami(hub: HubServer, call: Call) -> Answer:
    if not call.token:
        raise HubError(401, "Invalid username or password.")
    role = "write" if call.token == hub.write_token else "read"
    token = {"type": "access_token", "accessToken": {"displayName": "tests", "role": role}}
    return Answer({"type": "user", "id": "0", "name": USER, "fullname": USER, "orgs": [], "auth": token})


@_route("POST", "/api/validate-yaml")
def _validate_card(hub: HubServer, call: Call) -> Answer:
    errors, warnings = check_card(call.json["content"])
    if "text/plain" in call.accept:  # as `RepoCard.validate` asks
        return Answer("\n".join(errors).encode(), 400 if errors else 200)
    messages = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
    return Answer(messages, 400 if errors else 200)


@_route("POST", "/api/repos/create", writes=True)
def _create_repo(hub: HubServer, call: Call) -> Answer:
    kind = call.json.get("type") or "model"
    repo = Repo(kind, f"{call.json.get('organization') or USER}/{call.json['name']}")
    repo.private = call.json.get("visibility") == "private"
    url = f"{hub.endpoint}/{repo.prefix}{repo.id}"
    if (kind, repo.id) in hub.repos:
        return Answer({"error": f"You already created this {kind} repo", "url": url}, 409)
    repo.commit("main", "initial commit", {".gitattributes": File(GIT_ATTRIBUTES.encode())})
    hub.repos[kind, repo.id] = repo
    return Answer({"url": url, "name": repo.id})


@_route("GET", _API + "(?:/revision/(?P<revision>[^/]+))?")
def _info(hub: HubServer, call: Call, revision: str = "main") -> Answer:
    repo, commit = call.repo, call.repo.at(revision)
    info = {"id": repo.id, "author": repo.id.split("/")[0], "sha": commit.sha, "private": repo.private}
    info |= {"gated": False, "disabled": False, "tags": []}
    blobs = call.query.get("blobs") == ["true"]
    info["siblings"] = [{"rfilename": path} for path in sorted(commit.files)]
    for sibling in info["siblings"] if blobs else []:
        details = commit.files[sibling["rfilename"]].info("")
        sibling |= {"size": details["size"], "blobId": details["oid"]}
        if "lfs" in details:
            sibling["lfs"] = {**details["lfs"], "sha256": details["lfs"]["oid"]}
    metadata = card_metadata(commit.files["README.md"].content.decode()) if "README.md" in commit.files else None
    if metadata:
        info |= {"cardData": metadata, "tags": metadata.get("tags") or []}
        info |= {name: metadata[name] for name in ("pipeline_tag", "library_name", "model-index") if name in metadata}
    return Answer(info)


@_route("GET", _API + "/refs")
def _refs(hub: HubServer, call: Call) -> Answer:
    def listed(names: dict[str, str], folder: str) -> list[dict]:
        return [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": names[name]} for name in names]

    return Answer(
        {"branches": listed(call.repo.branches, "heads"), "tags": listed(call.repo.tags, "tags"), "converts": []}
    )


@_route("POST", _API + "/branch/(?P<name>[^/]+)", writes=True)
def _create_branch(hub: HubServer, call: Call, name: str) -> Answer:
    return _name_commit(call.repo.branches, name, call.repo.at(call.json.get("startingPoint") or "main"))


@_route("POST", _API + "/tag/(?P<revision>[^/]+)", writes=True)
def _create_tag(hub: HubServer, call: Call, revision: str) -> Answer:
    return _name_commit(call.repo.tags, call.json["tag"], call.repo.at(revision))


def _name_commit(names: dict[str, str], name: str, commit: Commit) -> Answer:
    if name in names:
        raise HubError(409, f"Reference {name} already exists")
    names[name] = commit.sha
    return Answer({})


@_route("GET", _API + "/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?")
def _tree(hub: HubServer, call: Call, revision: str, path: str = "") -> Answer:
    commit, folder = call.repo.at(revision), f"{path}/" if path else ""
    entries = [entry for entry in _entries(commit) if entry["path"].startswith(folder)]
    if path and not entries:
        raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound")
    if call.query.get("recursive") != ["true"]:
        entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(folder)]
    return Answer(entries)


def _entries(commit: Commit) -> list[dict]:
    """The files and folders of a commit."""
    folders = {str(parent) for path in commit.files for parent in PurePosixPath(path).parents} - {"."}
    entries = [{"type": "directory", "path": folder, "size": 0, "oid": git_hash(folder.encode())} for folder in folders]
    entries += [file.info(path) for path, file in commit.files.items()]
    return sorted(entries, key=lambda entry: entry["path"])


@_route("POST", _API + "/paths-info/(?P<revision>[^/]+)")
def _paths_info(hub: HubServer, call: Call, revision: str) -> Answer:
    paths = [path.rstrip("/") for path in parse_qs(call.body.decode()).get("paths", [])]
    return Answer([entry for entry in _entries(call.repo.at(revision)) if entry["path"] in paths])


@_route("POST", _API + "/preupload/(?P<revision>[^/]+)", writes=True)
def _preupload(hub: HubServer, call: Call, revision: str) -> Answer:
    present = call.repo.at(revision).files
    lines = present[".gitattributes"].content.decode().splitlines() if ".gitattributes" in present else []
    patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
    files = []
    for file in call.json["files"]:
        name = PurePosixPath(file["path"]).name
        lfs = file["size"] > LFS_SIZE or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        oid = present[file["path"]].oid if file["path"] in present else None
        files.append(
            {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": oid}
        )
    return Answer({"files": files})


@_route("POST", _GIT + r"\.git/info/lfs/objects/batch", writes=True)
def _lfs_batch(hub: HubServer, call: Call) -> Answer:
    verify = f"{hub.endpoint}/{call.repo.prefix}{call.repo.id}.git/info/lfs/verify"
    objects = [{"oid": wanted["oid"], "size": wanted["size"]} for wanted in call.json["objects"]]
    for each in objects:
        if each["oid"] not in hub.objects:  # what is there needs no upload
            each["actions"] = {"upload": {"href": hub.content_url(each["oid"])}, "verify": {"href": verify}}
    return Answer({"transfer": "basic", "objects": objects})


@_route("POST", _GIT + r"\.git/info/lfs/verify", writes=True)
def _lfs_verify(hub: HubServer, call: Call) -> Answer:
    if len(hub.objects.get(call.json["oid"], b"")) != call.json["size"]:
        raise HubError(404, f"Object {call.json['oid']} was not uploaded")
    return Answer({})


@_route("POST", _API + "/commit/(?P<revision>[^/]+)", writes=True)
def _commit(hub: HubServer, call: Call, revision: str) -> Answer:
    repo = call.repo
    parent = repo.at(revision)
    if revision not in repo.branches:
        raise HubError(400, f"{revision} is no branch: it cannot be committed to")
    header, *operations = ((item["key"], item["value"]) for item in map(json.loads, call.body.splitlines()))
    if header[1].get("parentCommit", parent.sha) != parent.sha:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(parent.files)
    for kind, value in operations:
        path = value["path"]
        if kind == "file":
            files[path] = File(base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            if value["oid"] not in hub.objects:
                raise HubError(400, f"{path} points to the LFS object {value['oid']}, which was not uploaded")
            files[path] = File(hub.objects[value["oid"]], lfs=True)
        elif kind in ("deletedFile", "deletedFolder"):
            gone = [name for name in files if name == path or name.startswith(path.rstrip("/") + "/")]
            if not gone:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for name in gone:
                del files[name]
        else:
            raise HubError(400, f"{kind} is not part of this Hub")
        errors, _ = check_card(files[path].content.decode()) if path == "README.md" and path in files else ([], [])
        if errors:
            raise HubError(400, f"Invalid metadata in README.md: {errors[0]}")
    commit = repo.commit(revision, header[1]["summary"], files)
    return Answer(
        {
            "success": True,
            "commitOid": commit.sha,
            "commitUrl": f"{hub.endpoint}/{repo.prefix}{repo.id}/commit/{commit.sha}",
        }
    )


@_route("GET", _GIT + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(hub: HubServer, call: Call, revision: str, path: str) -> Answer:
    commit = call.repo.at(revision)
    headers = {"X-Repo-Commit": commit.sha}
    if path not in commit.files:
        raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound", **headers)
    file = commit.files[path]
    headers |= {"ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    if not file.lfs:
        return Answer(file.content, 200, headers)
    headers |= {"X-Linked-Size": len(file.content), "X-Linked-ETag": f'"{file.oid}"'}
    return Answer(b"", 302, {**headers, "Location": hub.content_url(file.oid)})
