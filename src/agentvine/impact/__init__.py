"""What a change means, read from git's objects alone; nothing of the repository is run.

The server looks at what a worker has sent, and shows a reviewer what it found itself.
"""
