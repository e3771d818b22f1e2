"""The linter as its users run it: as a program, over a folder."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.lint", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


BAD_FILE = {"src/agentvine/worker/run.py": "import os\n\nhome = os.getenv('HOME')\n"}


def test_a_finding_is_printed_with_file_and_line_and_fails_the_run(tmp_path: Path):
    root = make_tree(tmp_path, BAD_FILE)

    result = run_lint("--root", str(root))

    assert result.returncode == 1
    assert result.stdout.startswith("src/agentvine/worker/run.py:3: AV005 os.getenv")


def test_a_clean_tree_prints_nothing_and_passes(tmp_path: Path):
    root = make_tree(tmp_path, {"src/agentvine/worker/run.py": "x = 1\n"})

    result = run_lint("--root", str(root))

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_only_the_named_paths_are_read(tmp_path: Path):
    root = make_tree(tmp_path, BAD_FILE | {"src/agentvine/kit/a.py": "x = 1\n"})

    assert run_lint("--root", str(root), str(root / "src/agentvine/kit")).returncode == 0
    assert run_lint("--root", str(root), str(root / "src/agentvine/worker")).returncode == 1


def test_files_that_git_ignores_are_not_read(tmp_path: Path):
    root = make_tree(tmp_path, BAD_FILE | {".gitignore": "worker/\n"})
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)

    assert run_lint("--root", str(root)).returncode == 0


def test_binary_files_and_links_are_passed_over(tmp_path: Path):
    root = make_tree(tmp_path, {"src/agentvine/a.txt": "x"})
    (root / "logo.png").write_bytes(b"\x89PNG\0/" + b"root/x")
    (root / "dangling").symlink_to("nowhere")

    assert run_lint("--root", str(root)).returncode == 0


def test_a_rule_explains_itself():
    result = run_lint("--explain", "av007")

    assert result.returncode == 0
    assert "Catching everything is for the last line of defence" in result.stdout
    assert "except Exception" in result.stdout
    assert run_lint("--explain", "AV999").returncode == 2


def test_the_rules_are_listed_by_code():
    lines = run_lint("--list").stdout.splitlines()

    assert lines[0].startswith("AV001 ")
    assert lines == sorted(lines)


def test_large_files_are_named_as_a_warning_without_failing(tmp_path: Path):
    root = make_tree(tmp_path, {"src/agentvine/kit/a.py": "x = 1\n" * 400})

    result = run_lint("--root", str(root), "--warnings")

    assert result.returncode == 0
    assert "src/agentvine/kit/a.py:1: warning: 400 lines" in result.stdout
