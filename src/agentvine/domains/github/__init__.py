"""The mirror of GitHub: issues, pull requests, and the webhooks that were taken.

Invariants: an issue or pull request number exists once per project; one delivery is taken once.
"""
