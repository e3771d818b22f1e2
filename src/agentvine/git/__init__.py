"""What we do with the git command: mirrors, worktrees, diffs, trial merges, rescue refs, bundles.

Every function takes the ``Git`` to run first, then the repository's path. By use case:

- ``inspection``: is this a repository, and what is its default branch?
- ``mirrors``, ``worktrees``: a worker's bare copies, and a folder for each run.
- ``changes``: commit what a run has done, or rescue what it has left.
- ``external``: what a commit names but does not hold: submodules, files of git-lfs.
- ``diffs``: what lies between two commits.
- ``bundles``, ``pushes``: carry commits somewhere else.
- ``merges``, ``landing``: try, make and take back a merge into a branch.
- ``refs``, ``commits``: the small operations under them.

Underneath, ``runner`` starts every git command, in the ``environment`` and at the ``places`` that
keep a repository's own settings from running anything. ``names`` checks what comes from outside.
"""
