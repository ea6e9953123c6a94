"""A Hub on loopback: what the clients of `huggingface_hub` and `datasets` ask of huggingface.co, for tests.

Two servers share one state. One is the Hub: the API and small files. The other is the storage of large files (LFS): it
must be another origin, as on the real Hub, because a client takes commit and size of a large file from the redirect and
follows it without its token. Clients must not use Xet (`HF_HUB_DISABLE_XET=1`): they would not fall back to LFS.
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
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils.sha import git_hash

USER = "tester"
LFS_SIZE = 10 * 2**20  # bytes; larger files are LFS whatever their name
# Every repository of the Hub begins with a commit of such a file.
GIT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in ("*.safetensors", "*.parquet", "*.bin", "*.png")
)


class HubError(Exception):
    """An answer that is an error; the client chooses the type of its own error by `code`."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str):
        super().__init__(message)
        line = " ".join(message.split()).encode("ascii", "replace").decode()  # what a header can hold
        self.status, self.headers = status, {"X-Error-Message": line, "X-Error-Code": code, **headers}


@dataclass(frozen=True)
class Request:
    """A request that was answered; `authorised` tells whether it carried a token that the Hub knows."""

    method: str
    path: str
    authorised: bool
    status: int


@dataclass
class Answer:
    """What goes back; `content` is JSON unless it is bytes."""

    content: object = b""
    status: int = 200
    headers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """The content of a file and whether it is stored as LFS."""

    content: bytes
    lfs: bool = False

    @property
    def oid(self) -> str:
        """What tells versions apart: SHA-256 for LFS, git's hash of a blob otherwise."""
        return hashlib.sha256(self.content).hexdigest() if self.lfs else git_hash(self.content)

    def info(self) -> dict:
        size = len(self.content)
        lfs = {"oid": self.oid, "sha256": self.oid, "size": size, "pointerSize": 130}
        return {"size": size, "oid": self.oid[:40], **({"lfs": lfs} if self.lfs else {})}


@dataclass(frozen=True)
class Commit:
    """A snapshot, which never changes."""

    sha: str
    parent: str | None
    title: str
    files: dict[str, File]

    def entries(self) -> list[dict]:
        """The files and folders as the Hub lists them."""
        folders = {str(parent) for path in self.files for parent in PurePosixPath(path).parents} - {"."}
        entries = [{"type": "directory", "path": path, "size": 0, "oid": git_hash(path.encode())} for path in folders]
        entries += [{"type": "file", "path": path, **file.info()} for path, file in self.files.items()]
        return sorted(entries, key=lambda entry: entry["path"])


@dataclass
class Repo:
    """A repository: its commits by their sha, and the shas of its branches and tags."""

    type: str
    id: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a sha."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def commit(self, branch: str, title: str, files: dict[str, File]) -> str:
        """Add a commit to a branch and return its sha."""
        oids = {path: file.oid for path, file in files.items()}
        sha = git_hash(json.dumps([self.path, len(self.commits), title, oids]).encode())
        self.commits[sha] = Commit(sha, self.branches.get(branch), title, files)
        self.branches[branch] = sha
        return sha


def card_metadata(card: bytes):
    """What stands in the front matter of a card, None where there is none."""
    match = REGEX_YAML_BLOCK.search(card.decode())
    return yaml.safe_load(match[2]) if match else None


def check_card(card: bytes) -> list[str]:
    """The errors in a card's metadata, by rules that the Hub documents; it has more, and lists of valid names."""
    try:
        metadata = card_metadata(card)
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"]
    if not isinstance(metadata, dict):
        return [] if metadata is None else ["YAML Metadata Error: the metadata must be an object"]
    errors = []

    def need(owner, where: str, name: str, kind: type):
        value = owner.get(name) if isinstance(owner, dict) else None
        if not isinstance(value, kind) or value in (None, "", [], {}):
            errors.append(f'"{where}{name}" is required and must be of type {kind.__name__}')
        return value if isinstance(value, kind) else kind()

    texts = ("license", "language", "tags", "datasets", "metrics", "base_model", "pipeline_tag", "library_name")
    for name in filter(metadata.__contains__, texts):
        values = metadata[name] if isinstance(metadata[name], list) else [metadata[name]]
        if not all(isinstance(value, str) for value in values):
            errors.append(f'"{name}" must be a string or a list of strings')
        elif name == "license" and not all(re.fullmatch("[a-z0-9.+-]+", value) for value in values):
            errors.append(f'"license" must be an identifier such as apache-2.0, not {metadata[name]}')
    for i, model in enumerate(need(metadata, "", "model-index", list) if "model-index" in metadata else []):
        need(model, f"model-index[{i}].", "name", str)
        for j, result in enumerate(need(model, f"model-index[{i}].", "results", list)):
            where = f"model-index[{i}].results[{j}]."
            need(need(result, where, "task", dict), f"{where}task.", "type", str)
            for name in ("type", "name"):
                need(need(result, where, "dataset", dict), f"{where}dataset.", name, str)
            for k, metric in enumerate(need(result, where, "metrics", list)):
                need(metric, f"{where}metrics[{k}].", "type", str)
                need(metric, f"{where}metrics[{k}].", "value", object)
    return errors


class _Handler(BaseHTTPRequestHandler):
    """One connection; while a request is answered: its `path`, `query`, `body`, `token` and the `repo` it names."""

    protocol_version = "HTTP/1.1"  # the clients keep their connections
    disable_nagle_algorithm = True

    def handle_request(self):
        self.path, _, query = self.path.partition("?")
        self.query, self.repo = {name: values[-1] for name, values in parse_qs(query).items()}, None
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        hub = self.server.hub
        with hub.lock:
            try:
                answer = self.server.answer(self)
                content = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
                if answer.status == 200 and "Range" in self.headers:
                    content = self.part(answer, content)
            except HubError as error:
                answer, content = Answer(None, error.status, error.headers), json.dumps({"error": str(error)}).encode()
            hub.requests.append(Request(self.command, unquote(self.path), self.token in hub.tokens, answer.status))
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def part(self, answer: Answer, content: bytes) -> bytes:
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"]).groups()
        first, last = int(first), min(int(last or len(content)), len(content) - 1)
        if first > last:
            raise HubError(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{len(content)}"})
        answer.status, answer.headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(content)}"
        return content[first : last + 1]

    def log_message(self, *arguments):
        pass  # `HubServer.requests` has them


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: "HubServer", answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.answer, self.origin = hub, answer, f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


_API = r"/api/(?P<type>model|dataset)s/(?P<id>[^/]+/[^/]+)"
_GIT = r"/(?:(?P<type>dataset)s/)?(?P<id>[^/]+/[^/]+)"
_REVISION, _PATH = "/(?P<revision>[^/]+)", "/(?P<path>.+)"
_ROUTES = []


def _route(method: str, pattern: str, writes: bool = False):
    """Make a method of `HubServer` the answer to requests; their path's named groups are its arguments."""

    def register(endpoint):
        _ROUTES.append((method, re.compile(pattern), writes, endpoint))
        return endpoint

    return register


class HubServer:
    """A Hub on loopback, serving while its `with` block runs.

    A new repository holds a `.gitattributes`, as on the real Hub, whose patterns (and a size above 10 MB) make a file
    LFS. Any namespace may be written with the write token; private repositories can be read with both tokens.

    Attributes:
        endpoint: the Hub's address, for `HF_ENDPOINT`.
        write_token: a token that may do everything.
        read_token: a token that may read.
        requests: what was asked so far, in order, of the Hub and of its storage of large files (`/objects/SHA256`).
    """

    def __enter__(self):
        self.tokens = self.write_token, self.read_token = [f"hf_{name}{secrets.token_hex(8)}" for name in "wr"]
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}  # large files by their SHA-256
        self._signature = secrets.token_hex(8)
        self._servers = [_Server(self, self._answer), _Server(self, self._answer_storage)]
        self.endpoint, self._storage = (server.origin for server in self._servers)
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
                history.append(repo.commits[history[-1].parent])
            return history

    def _answer(self, request: _Handler) -> Answer:
        method = "GET" if request.command == "HEAD" else request.command
        routes = [route for route in _ROUTES if route[0] == method and route[1].fullmatch(request.path)]
        if not routes:
            raise HubError(404, f"{method} {request.path} is not part of this Hub")
        _, pattern, writes, endpoint = routes[0]
        if request.token and request.token not in self.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        groups = pattern.fullmatch(request.path).groupdict()
        arguments = {name: unquote(value) for name, value in groups.items() if value is not None}
        if "id" in arguments:
            request.repo = self.repos.get((arguments.pop("type", "model"), arguments.pop("id")))
            if request.repo is None or (request.repo.private and not request.token):
                raise HubError(404 if request.token else 401, "Repository not found", "RepoNotFound")
        if writes and request.token != self.write_token:
            raise HubError(403 if request.token else 401, "This needs a token that may write")
        return endpoint(self, request, **arguments)

    def _answer_storage(self, request: _Handler) -> Answer:
        oid = request.path.removeprefix("/objects/")
        if request.query.get("signature") != self._signature or request.token:
            raise HubError(403, "Storage wants a signed address, and no token beside it")
        if request.command == "PUT":
            if hashlib.sha256(request.body).hexdigest() != oid:
                raise HubError(400, f"What was sent is not {oid}")
            self.objects[oid] = request.body
            return Answer()
        return Answer(self.objects[oid])

    def _storage_url(self, oid: str) -> str:
        return f"{self._storage}/objects/{oid}?signature={self._signature}"

    @_route("GET", "/api/whoami-v2")
    def _whoami(self, request: _Handler) -> Answer:
        if not request.token:
            raise HubError(401, "Invalid username or password.")
        token = {"displayName": "tests", "role": "write" if request.token == self.write_token else "read"}
        auth = {"type": "access_token", "accessToken": token}
        return Answer({"type": "user", "id": USER, "name": USER, "fullname": USER, "orgs": [], "auth": auth})

    @_route("POST", "/api/validate-yaml")
    def _validate_card(self, request: _Handler) -> Answer:
        card = json.loads(request.body)["content"].encode()
        errors = check_card(card)
        empty = not errors and card_metadata(card) is None
        messages = {"errors": errors, "warnings": ["empty or missing yaml metadata in repo card"] if empty else []}
        if request.headers.get("Accept") == "text/plain":  # `RepoCard.validate`
            return Answer("\n".join(errors).encode(), 400 if errors else 200)
        messages = {name: [{"message": text} for text in texts] for name, texts in messages.items()}
        return Answer(messages, 400 if errors else 200)

    @_route("POST", "/api/repos/create", writes=True)
    def _create_repo(self, request: _Handler) -> Answer:
        wanted = json.loads(request.body)
        repo_id = f"{wanted['organization'] or USER}/{wanted['name']}"
        repo = Repo(wanted.get("type", "model"), repo_id, private=wanted.get("visibility") == "private")
        answer = {"url": f"{self.endpoint}/{repo.path}", "name": repo_id}
        if (repo.type, repo_id) in self.repos:
            return Answer({**answer, "error": f"You already created this {repo.type} repo"}, 409)
        repo.commit("main", "initial commit", {".gitattributes": File(GIT_ATTRIBUTES.encode())})
        self.repos[repo.type, repo_id] = repo
        return Answer(answer)

    @_route("GET", f"{_API}(?:/revision{_REVISION})?")
    def _info(self, request: _Handler, revision: str = "main") -> Answer:
        repo, commit = request.repo, request.repo.at(revision)
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        if request.query.get("blobs") == "true":
            siblings = [{**each, **commit.files[each["rfilename"]].info()} for each in siblings]
            siblings = [{**each, "blobId": each.pop("oid")} for each in siblings]
        info = {"id": repo.id, "sha": commit.sha, "private": repo.private, "tags": [], "siblings": siblings}
        metadata = card_metadata(commit.files["README.md"].content) if "README.md" in commit.files else None
        if metadata is not None:
            info |= {"cardData": metadata, "tags": metadata.get("tags", [])}
            info |= {
                name: metadata[name] for name in ("pipeline_tag", "library_name", "model-index") if name in metadata
            }
        return Answer(info)

    @_route("GET", f"{_API}/refs")
    def _refs(self, request: _Handler) -> Answer:
        def listed(names: dict[str, str], folder: str) -> list[dict]:
            return [{"name": name, "ref": f"{folder}/{name}", "targetCommit": sha} for name, sha in names.items()]

        branches, tags = listed(request.repo.branches, "refs/heads"), listed(request.repo.tags, "refs/tags")
        return Answer({"branches": branches, "tags": tags, "converts": []})

    @_route("POST", f"{_API}/branch/(?P<name>[^/]+)", writes=True)
    def _create_branch(self, request: _Handler, name: str) -> Answer:
        start = json.loads(request.body).get("startingPoint", "main")
        return self._add_name(request.repo.branches, name, request.repo.at(start))

    @_route("POST", f"{_API}/tag{_REVISION}", writes=True)
    def _create_tag(self, request: _Handler, revision: str) -> Answer:
        return self._add_name(request.repo.tags, json.loads(request.body)["tag"], request.repo.at(revision))

    def _add_name(self, names: dict[str, str], name: str, commit: Commit) -> Answer:
        if name in names:
            raise HubError(409, f"{name} exists already")
        names[name] = commit.sha
        return Answer({})

    @_route("GET", f"{_API}/tree{_REVISION}(?:{_PATH})?")
    def _tree(self, request: _Handler, revision: str, path: str = "") -> Answer:
        folder = f"{path}/" if path else ""
        entries = [entry for entry in request.repo.at(revision).entries() if entry["path"].startswith(folder)]
        if path and not entries:
            raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound")
        recursive = request.query.get("recursive") == "true"
        return Answer([entry for entry in entries if recursive or "/" not in entry["path"].removeprefix(folder)])

    @_route("POST", f"{_API}/paths-info{_REVISION}")
    def _paths_info(self, request: _Handler, revision: str) -> Answer:
        paths = parse_qs(request.body.decode()).get("paths", [])
        return Answer([entry for entry in request.repo.at(revision).entries() if entry["path"] in paths])

    @_route("POST", f"{_API}/preupload{_REVISION}", writes=True)
    def _preupload(self, request: _Handler, revision: str) -> Answer:
        present = request.repo.at(revision).files
        attributes = present[".gitattributes"].content.decode() if ".gitattributes" in present else ""
        patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
        answers = []
        for file in json.loads(request.body)["files"]:
            path, name = file["path"], PurePosixPath(file["path"]).name
            lfs = file["size"] > LFS_SIZE or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
            answer = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            answers.append({**answer, "oid": present[path].oid if path in present else None})
        return Answer({"files": answers})

    @_route("POST", rf"{_GIT}\.git/info/lfs/objects/batch", writes=True)
    def _lfs_batch(self, request: _Handler) -> Answer:
        verify = {"href": f"{self.endpoint}/{request.repo.path}.git/info/lfs/verify"}
        objects = [{"oid": each["oid"], "size": each["size"]} for each in json.loads(request.body)["objects"]]
        for each in objects:
            if each["oid"] not in self.objects:  # without actions, the client has nothing to do
                each["actions"] = {"upload": {"href": self._storage_url(each["oid"])}, "verify": verify}
        return Answer({"transfer": "basic", "objects": objects})

    @_route("POST", rf"{_GIT}\.git/info/lfs/verify", writes=True)
    def _lfs_verify(self, request: _Handler) -> Answer:
        wanted = json.loads(request.body)
        if wanted["oid"] not in self.objects or len(self.objects[wanted["oid"]]) != wanted["size"]:
            raise HubError(404, f"{wanted['oid']} was not uploaded")
        return Answer({})

    @_route("POST", f"{_API}/commit{_REVISION}", writes=True)
    def _commit(self, request: _Handler, revision: str) -> Answer:
        repo, parent = request.repo, request.repo.at(revision)
        if revision not in repo.branches:
            raise HubError(400, f"{revision} is no branch: nothing can be committed to it")
        header, *operations = [json.loads(line) for line in request.body.splitlines()]
        if header["value"].get("parentCommit", parent.sha) != parent.sha:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for kind, value in ((operation["key"], operation["value"]) for operation in operations):
            path = value["path"]
            if kind == "file":
                files[path] = File(base64.b64decode(value["content"]))
            elif kind == "lfsFile" and value["oid"] in self.objects:
                files[path] = File(self.objects[value["oid"]], lfs=True)
            elif kind in ("deletedFile", "deletedFolder"):
                folder = path.rstrip("/") + "/"
                gone = {name for name in files if name == path or (kind == "deletedFolder" and name.startswith(folder))}
                if not gone:
                    raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
                files = {name: file for name, file in files.items() if name not in gone}
            else:
                raise HubError(400, f"{kind} of {path}: not part of this Hub, or its content was not uploaded")
        if "README.md" in files and check_card(files["README.md"].content):
            raise HubError(400, f"Invalid metadata in README.md: {check_card(files['README.md'].content)[0]}")
        sha = repo.commit(revision, header["value"]["summary"], files)
        return Answer({"success": True, "commitOid": sha, "commitUrl": f"{self.endpoint}/{repo.path}/commit/{sha}"})

    @_route("GET", f"{_GIT}/resolve{_REVISION}{_PATH}")
    def _resolve(self, request: _Handler, revision: str, path: str) -> Answer:
        commit = request.repo.at(revision)
        headers = {"X-Repo-Commit": commit.sha}
        if path not in commit.files:
            raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound", **headers)
        file = commit.files[path]
        if not file.lfs:
            return Answer(file.content, 200, {**headers, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"})
        headers |= {"X-Linked-Size": len(file.content), "X-Linked-ETag": f'"{file.oid}"'}
        return Answer(b"", 302, {**headers, "Location": self._storage_url(file.oid)})
