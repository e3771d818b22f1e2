"""What shall be built in a repository, in numbered versions.

Invariants: a repository's plan has each version once; a version that is active is not edited,
a new version copies it.
"""
