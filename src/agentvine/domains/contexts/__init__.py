"""Snapshots of repositories: what was there, of what it was made, and how good it was.

Invariants: a content is kept once in a project, whatever number of snapshots has it; a repository's
newest context is never archived or deleted, since new changes refer to it; values of environment
variables are sealed, their names readable. ``project_contexts`` itself is the projects slice's.
"""
