"""`mmre train`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_runs_from_a_shell(config_file, tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), config_file(num_synthetic_posts=8), "--num_train_epochs", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "| test | 24 |" in result.stdout
    assert "What to try next" in result.stdout
