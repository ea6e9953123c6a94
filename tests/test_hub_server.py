"""The Hub on loopback under the real client: what is uploaded comes back, and what must be refused is."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

FILES = {
    "config.json": b'{"model_type": "focalmre"}\n',
    "model.safetensors": bytes(range(256)) * 4096,
    "large.txt": b"0123456789" * (2**20 + 1),
    "empty.txt": b"",
    "code/modeling.py": "x = 'é'\n".encode(),
    "code/deep er/weights.bin": b"\x00\xff",
}
LARGE_FILES = {"model.safetensors", "large.txt", "code/deep er/weights.bin"}

UPLOAD = """
import json, sys
from huggingface_hub import HfApi
api, (repo, folder) = HfApi(), sys.argv[1:]
url = api.create_repo(repo, private=True)
assert api.create_repo(repo, private=True, exist_ok=True) == url
commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="The first")
again = api.upload_folder(repo_id=repo, folder_path=folder)  # nothing has changed
print(json.dumps([api.whoami()["name"], url.repo_id, commit.oid, again.oid]))
"""

DOWNLOAD = """
import json, sys
from huggingface_hub import HfApi, HfFileSystem, snapshot_download
api, files, repo = HfApi(), HfFileSystem(), sys.argv[1]
info = api.model_info(repo, files_metadata=True)
with files.open(f"{repo}/large.txt", block_size=8) as file:
    file.seek(5_000_003)
    part = file.read(9).decode()
print(json.dumps({
    "sha": info.sha,
    "private": info.private,
    "sizes": {each.rfilename: each.size for each in info.siblings},
    "large": {each.rfilename: each.lfs.sha256 for each in info.siblings if each.lfs},
    "listed": api.list_repo_files(repo),
    "top": {each.path: type(each).__name__ for each in api.list_repo_tree(repo)},
    "code": [each.path for each in api.list_repo_tree(repo, "code", recursive=True)],
    "info": [[each.path, type(each).__name__] for each in api.get_paths_info(repo, ["code", "config.json", "none"])],
    "part": part,
    "folder": snapshot_download(repo),
}))
"""


def test_a_private_folder_comes_back_byte_by_byte(hub, run_client, tmp_path):
    repo = "org/round-trip"
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    user, repo_id, sha, sha_again = json.loads(run_client(UPLOAD, repo, tmp_path, token=hub.write_token))

    assert (user, repo_id, sha_again) == ("tester", repo, sha)
    newest, initial = hub.commits(repo)
    assert (newest.sha, newest.title, newest.parent) == (sha, "The first", initial.sha)
    assert {path for path, file in newest.files.items() if file.lfs} == LARGE_FILES
    stored = hub.files(repo)
    attributes = stored.pop(".gitattributes")
    assert stored == FILES

    asked = len(hub.requests)
    found = json.loads(run_client(DOWNLOAD, repo, token=hub.read_token))
    expected = FILES | {".gitattributes": attributes}
    assert (found["sha"], found["private"]) == (sha, True)
    assert found["sizes"] == {name: len(content) for name, content in expected.items()}
    assert found["large"] == {name: hashlib.sha256(FILES[name]).hexdigest() for name in LARGE_FILES}
    assert sorted(found["listed"]) == sorted(expected)
    assert {path for path, kind in found["top"].items() if kind == "RepoFolder"} == {"code"}
    assert set(found["top"]) == {name.split("/")[0] for name in expected}
    assert found["code"] == ["code/deep er", "code/deep er/weights.bin", "code/modeling.py"]
    assert sorted(found["info"]) == [["code", "RepoFolder"], ["config.json", "RepoFile"]]
    assert found["part"] == "345678901"
    folder = Path(found["folder"])
    downloaded = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert downloaded == expected

    requests = hub.requests[asked:]
    storage = [request for request in requests if request.path.startswith("/objects/")]
    assert {Path(request.path).name for request in storage} == set(found["large"].values())
    assert not any(request.authorised for request in storage)  # the token stays on the Hub
    assert all(request.authorised for request in requests if request not in storage)
    assert 206 in {request.status for request in storage}


REVISIONS = """
import json, sys
from pathlib import Path
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
api, repo = HfApi(), sys.argv[1]
api.create_repo(repo)
first = api.create_commit(repo, [CommitOperationAdd("a.txt", b"one"), CommitOperationAdd("b/c.bin", b"first")],
                          commit_message="first").oid
api.create_tag(repo, tag="v1")
api.create_branch(repo, branch="dev/x")
second = api.create_commit(repo, [CommitOperationAdd("a.txt", b"two"), CommitOperationAdd("b/c.bin", b"second")],
                           commit_message="second", parent_commit=first).oid
on_branch = api.upload_file(repo_id=repo, path_or_fileobj=b"three", path_in_repo="a.txt", revision="dev/x").oid
api.delete_file("a.txt", repo)
last = api.delete_folder("b", repo).oid
texts = {}
for revision in ("v1", "dev/x", first, second):
    folder = Path(snapshot_download(repo, revision=revision))
    alone = Path(hf_hub_download(repo, "b/c.bin", revision=revision))
    texts[revision] = [(folder / "a.txt").read_text(), alone.read_text()]
refs = api.list_repo_refs(repo)
print(json.dumps({
    "shas": [first, second, on_branch, last],
    "texts": texts,
    "refs": {each.ref: each.target_commit for each in refs.branches + refs.tags},
    "info": [api.model_info(repo, revision=revision).sha for revision in ("v1", "dev/x", second, None)],
    "left": api.list_repo_files(repo),
}))
"""


def test_every_commit_stays_readable_by_sha_tag_and_branch(hub, run_client):
    repo = "org/revisions"
    found = json.loads(run_client(REVISIONS, repo, token=hub.write_token))
    first, second, on_branch, last = found["shas"]
    assert found["texts"] == {
        "v1": ["one", "first"],
        "dev/x": ["three", "first"],
        first: ["one", "first"],
        second: ["two", "second"],
    }
    assert found["refs"] == {"refs/heads/main": last, "refs/heads/dev/x": on_branch, "refs/tags/v1": first}
    assert found["info"] == [first, on_branch, second, last]
    assert found["left"] == [".gitattributes"]
    assert [commit.sha for commit in hub.commits(repo)][:1] == [last]
    assert [commit.sha for commit in hub.commits(repo, revision="dev/x")][:2] == [on_branch, first]
    assert hub.files(repo, revision="v1")["a.txt"] == b"one"


REFUSALS = """
import json, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
repo, public, write_token, read_token = sys.argv[1:]
api, reader, stranger = HfApi(token=write_token), HfApi(token=read_token), HfApi(token="hf_wrong")
api.create_repo(repo, private=True)
api.create_repo(public)
first = api.upload_file(repo_id=repo, path_or_fileobj=b"one", path_in_repo="a.txt").oid
api.upload_file(repo_id=repo, path_or_fileobj=b"two", path_in_repo="a.txt")

def upload(api, repo=repo, **arguments):
    api.upload_file(repo_id=repo, path_or_fileobj=b"x", path_in_repo="x.txt", **arguments)

attempts = {
    "info without a token": lambda: HfApi().model_info(repo),
    "file without a token": lambda: hf_hub_download(repo, "a.txt"),
    "folder without a token": lambda: snapshot_download(repo),
    "wrong token": lambda: stranger.model_info(public),
    "unknown repository": lambda: api.model_info("org/none"),
    "unknown repository without a token": lambda: HfApi().model_info("org/none"),
    "other type": lambda: api.dataset_info(repo),
    "unknown revision": lambda: snapshot_download(repo, revision="none", token=read_token),
    "unknown revision of a file": lambda: hf_hub_download(repo, "a.txt", revision="none", token=read_token),
    "unknown file": lambda: hf_hub_download(repo, "none.txt", token=read_token),
    "unknown folder": lambda: list(reader.list_repo_tree(repo, "none")),
    "create to read": lambda: reader.create_repo("org/new"),
    "upload to read": lambda: upload(reader),
    "upload without a token": lambda: upload(HfApi(), public),
    "tag to read": lambda: reader.create_tag(repo, tag="mine"),
    "create again": lambda: api.create_repo(repo),
    "tag again": lambda: [api.create_tag(repo, tag="v1") for _ in range(2)],
    "commit after another": lambda: upload(api, parent_commit=first),
    "commit to a tag": lambda: upload(api, revision="v1"),
    "delete nothing": lambda: api.delete_file("none.txt", repo),
}
answers = {}
for name, attempt in attempts.items():
    try:
        attempt()
        answers[name] = "done"
    except Exception as error:
        answers[name] = [type(error).__name__, error.response.status_code]
print(json.dumps(answers))
"""


def test_what_may_not_be_is_the_clients_own_error(hub, run_client):
    answers = json.loads(run_client(REFUSALS, "org/refusals", "org/public", hub.write_token, hub.read_token))
    assert answers == {
        "info without a token": ["RepositoryNotFoundError", 401],
        "file without a token": ["RepositoryNotFoundError", 401],
        "folder without a token": ["RepositoryNotFoundError", 401],
        "wrong token": ["HfHubHTTPError", 401],
        "unknown repository": ["RepositoryNotFoundError", 404],
        "unknown repository without a token": ["RepositoryNotFoundError", 401],
        "other type": ["RepositoryNotFoundError", 404],
        "unknown revision": ["RevisionNotFoundError", 404],
        "unknown revision of a file": ["RevisionNotFoundError", 404],
        "unknown file": ["RemoteEntryNotFoundError", 404],
        "unknown folder": ["RemoteEntryNotFoundError", 404],
        "create to read": ["HfHubHTTPError", 403],
        "upload to read": ["HfHubHTTPError", 403],
        "upload without a token": ["HfHubHTTPError", 401],
        "tag to read": ["HfHubHTTPError", 403],
        "create again": ["HfHubHTTPError", 409],
        "tag again": ["HfHubHTTPError", 409],
        "commit after another": ["HfHubHTTPError", 412],
        "commit to a tag": ["BadRequestError", 400],
        "delete nothing": ["RemoteEntryNotFoundError", 404],
    }
    assert len(hub.commits("org/refusals")) == 3  # the initial one and the two uploads
    assert [*hub.files("org/refusals")] == [".gitattributes", "a.txt"]


CARD = """---
license: apache-2.0
tags: [relation-extraction]
model-index:
- name: focalmre
  results:
  - task: {type: relation-extraction}
    dataset: {type: mnre, name: MNRE}
    metrics:
    - {type: f1, value: 0.0}
---
# FocalMRE
"""
BAD_CARDS = {
    "no mapping": ("---\n- a\n---\n", "must be an object"),
    "no YAML": ("---\na: [\n---\n", "YAML Metadata Error"),
    "license is a number": (CARD.replace("apache-2.0", "2"), '"license" must be a string'),
    "license is no identifier": (CARD.replace("apache-2.0", "Apache 2.0"), "not Apache 2.0"),
    "model without a name": (CARD.replace("- name: focalmre\n  ", "- "), '"model-index[0].name" is required'),
    "no results": (CARD.split("  results")[0] + "---\n", '"model-index[0].results" is required'),
    "no task": (CARD.replace("{type: relation-extraction}", "{}"), 'results[0].task.type" is required'),
    "no data set": (CARD.replace(", name: MNRE", ""), 'results[0].dataset.name" is required'),
    "no type of data": (CARD.replace("type: mnre, ", ""), 'results[0].dataset.type" is required'),
    "no metric": (CARD.replace("\n    - {type: f1, value: 0.0}", " []"), 'results[0].metrics" is required'),
    "no type of metric": (CARD.replace("type: f1, ", ""), 'metrics[0].type" is required'),
    "no value": (CARD.replace(", value: 0.0", ""), 'metrics[0].value" is required'),
}
CARDS = """
import json, sys
from huggingface_hub import HfApi, ModelCard, RepoCard
repo, good, bad = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
api = HfApi()
api.create_repo(repo)
card = ModelCard(good)
card.validate()
card.push_to_hub(repo)

def message(attempt):
    try:
        attempt()
    except ValueError as error:
        return str(error)

def upload(text):
    api.upload_file(repo_id=repo, path_in_repo="README.md", path_or_fileobj=text.encode())

info, head = api.model_info(repo), api.model_info(repo).sha
print(json.dumps({
    "tags": info.tags,
    "f1": info.model_index[0]["results"][0]["metrics"][0]["value"],
    "loaded": str(ModelCard.load(repo)),
    # The client itself refuses to make a card of the first two, and a `ModelCard` of most.
    "validate": {name: message(lambda: RepoCard(text).validate("model")) for name, text in list(bad.items())[2:]},
    "model card": message(ModelCard(bad["license is a number"]).validate),
    "upload": {name: message(lambda: upload(text)) for name, text in bad.items()},
    "untouched": api.model_info(repo).sha == head,
}))
"""


def test_a_good_card_is_pushed_and_bad_ones_are_refused_with_the_field(hub, run_client):
    bad = {name: text for name, (text, _) in BAD_CARDS.items()}
    found = json.loads(run_client(CARDS, "org/cards", CARD, json.dumps(bad), token=hub.write_token))
    for text in (hub.files("org/cards")["README.md"].decode(), found["loaded"]):
        _, metadata, body = text.split("---\n")
        assert (yaml.safe_load(metadata), body) == (yaml.safe_load(CARD.split("---\n")[1]), "# FocalMRE\n")
    assert (found["tags"], found["f1"]) == (["relation-extraction"], 0.0)
    for name, (_, reason) in BAD_CARDS.items():
        assert reason in found["upload"][name], name
    for name, (_, reason) in list(BAD_CARDS.items())[2:]:
        assert reason in found["validate"][name], name
    assert BAD_CARDS["license is a number"][1] in found["model card"]
    assert found["untouched"]


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HTTPS_PROXY", "HF_HUB_OFFLINE"]
)
def test_a_client_takes_nothing_from_this_process(hub, monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("MMRE_MARK", "kept")
    environment = hub.client_environment(tmp_path, token=None)
    assert "foreign" not in environment.values()
    assert environment["MMRE_MARK"] == "kept"
