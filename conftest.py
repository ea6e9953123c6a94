"""What tests of the training share."""

import pytest

from run_helpers import metrics, predictions, settings_of, train, TINY


@pytest.fixture
def config_file(tmp_path):
    """Writes a configuration file: the tiny one, with other values in place."""

    def write(text: str | None = None, **changes) -> str:
        path = tmp_path / "config.yaml"
        if text is None:
            config = json.loads(json.dumps(TINY))
            config["training"]["output_dir"] = str(tmp_path / "run")
            for name, value in changes.items():
                section = next((s for s, values in config.items() if name in values), "training")
                config[section][name] = value
            text = yaml.safe_dump(config)
        path.write_text(text, "utf-8")
        return str(path)

    return write


@pytest.fixture
def own_files(tmp_path):
    """Synthetic posts as a user's own CSV files, with their pictures beside them; the arguments that name them."""
    arguments = []
    for split, posts in make_synthetic_posts(16, 6, 5).items():
        relations = posts.features["relation"].names
        rows = []
        for post in posts:
            lengths = [len(word) + 1 for word in post["tokens"]]
            post["image"].save(tmp_path / f"{post['id']}.png")
            row = {"text": " ".join(post["tokens"]), "image": f"{post['id']}.png"}
            for name in ("head", "tail"):
                start, end = post[name]["start"], post[name]["end"]
                row |= {f"{name}_start": sum(lengths[:start]), f"{name}_end": sum(lengths[:end]) - 1}
            row["relation"] = relations[post["relation"]] if split == "train" else "None"
            rows.append(row | {"id": post["id"], "grounded_regions": json.dumps(post["grounded_regions"])})
        with open(tmp_path / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        arguments += [f"--{split}_file", str(tmp_path / f"{split}.csv")]
    return ["--dataset", "files", *arguments]
