"""The Hub on loopback under the real client: what is uploaded comes back, and what must be refused is."""

import json
import textwrap

import pytest

FILES = {
    "config.json": b'{"model_type": "focalmre"}\n',
    "model.safetensors": bytes(range(256)) * 4096,  # LFS by its name
    "empty.txt": b"",
    "code/modeling.py": "x = 'é'\n".encode(),
    "code/deep er/weights.bin": b"\x00\xff",
}
UPLOAD = """
    import json, sys
    from huggingface_hub import HfApi, snapshot_download
    api = HfApi()
    repo, folder = sys.argv[1:]
"""


def script(code: str) -> str:
    return textwrap.dedent(code)


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "upload" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "upload"


def test_a_private_folder_comes_back_byte_by_byte(hub, run_client, folder):
    uploaded = run_client(
        script(
            """
            import json, sys
            from huggingface_hub import HfApi
            api, (repo, folder) = HfApi(), sys.argv[1:]
            who = api.whoami()
            url = api.create_repo(repo, private=True)
            assert api.create_repo(repo, private=True, exist_ok=True) == url
            commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="The first")
            print(json.dumps([who["name"], url.repo_id, commit.oid]))
            """
        ),
        "org/round-trip",
        folder,
        token=hub.write_token,
    )
    user, repo_id, sha = json.loads(uploaded)
    assert (user, repo_id) == ("tester", "org/round-trip")
    newest, initial = hub.commits("org/round-trip")
    assert (newest.sha, newest.title, newest.parent) == (sha, "The first", initial.sha)
    stored = hub.files("org/round-trip")
    del stored[".gitattributes"]
    assert stored == FILES
    assert {path for path, file in newest.files.items() if file.lfs} == {
        "model.safetensors",
        "code/deep er/weights.bin",
    }

    downloaded = run_client(
        script(
            """
            import json, sys
            from huggingface_hub import HfApi, snapshot_download
            api, repo = HfApi(), sys.argv[1]
            info = api.model_info(repo, files_metadata=True)
            sizes = {each.rfilename: each.size for each in info.siblings}
            tree = [(type(each).__name__, each.path) for each in api.list_repo_tree(repo)]
            folder = snapshot_download(repo)
            print(json.dumps([info.sha, info.private, sizes, api.list_repo_files(repo), tree, folder]))
            """
        ),
        "org/round-trip",
        token=hub.read_token,
    )
    info_sha, private, sizes, listed, tree, path = json.loads(downloaded)
    print(path, tree, listed, info_sha, private, sizes)
