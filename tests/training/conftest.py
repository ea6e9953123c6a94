"""What tests of the training share."""

import csv
import json

import pytest

from mmre.posts.synthetic import make_synthetic_posts


@pytest.fixture
def own_files(tmp_path):
    """Write synthetic posts as a user's own CSV files, with their pictures beside them; return their arguments."""
    arguments = []
    for split, posts in make_synthetic_posts(16, 6, 5).items():
        relations = posts.features["relation"].names
        rows = []
        for post in posts:
            post["image"].save(tmp_path / f"{post['id']}.png")
            row = {"text": post["text"], "image": f"{post['id']}.png"}
            for name in ("head", "tail"):
                row |= {f"{name}_start": post[name]["start"], f"{name}_end": post[name]["end"]}
            row["relation"] = relations[post["relation"]] if split == "train" else "None"
            rows.append(row | {"id": post["id"], "grounded_regions": json.dumps(post["grounded_regions"])})
        with open(tmp_path / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        arguments += [f"--{split}_file", str(tmp_path / f"{split}.csv")]
    return ["--dataset", "files", *arguments]
