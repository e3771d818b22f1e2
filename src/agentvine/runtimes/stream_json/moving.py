"""Sessions are found by the folder that they were made in, and each attempt has another."""

import json
import re
from pathlib import Path


def bring_session(projects: Path, worktree: Path, session_id: str, *, inner: str = "") -> None:
    """Copy a session to where the program looks for it, should it be elsewhere.

    Args:
        projects: Where the program has a folder for each folder that it worked in.
        worktree: The folder that it is to work in now.
        session_id: The session's name.
        inner: Where in the folder of a project its sessions are.
    """
    target = projects / re.sub(r"[^A-Za-z0-9]", "-", str(worktree.resolve())) / inner
    file = target / f"{Path(session_id).name}.jsonl"
    kept = projects.glob(str(Path("*", inner, file.name)))
    for found in sorted(kept, key=lambda path: path.stat().st_mtime):
        if found != file:
            target.mkdir(parents=True, exist_ok=True)
            text = found.read_text(encoding="utf-8")
            if (earlier := re.search(r'"cwd":\s*("(?:[^"\\]|\\.)*")', text)) is not None:
                # What it says of files is then about those that are there now.
                text = text.replace(earlier[1].strip('"'), json.dumps(str(worktree)).strip('"'))
            file.write_text(text, encoding="utf-8")
