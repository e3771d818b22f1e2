"""Reads strangers' files for a snapshot: manifests, deployment files, reports.

It runs as a process of its own (``python -m``), with little memory and time, since a file may be
made to take all there is. Facts go out as JSON: names and numbers, never values of settings.
"""
