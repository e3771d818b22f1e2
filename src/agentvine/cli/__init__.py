"""The command line: words and options in ``groups/``, what they do in ``actions/``.

Everything speaks HTTP through ``agentvine.client``. What only the server or the worker can do is
named by ``Parts``, which the entry point fills in. A group's module imports click and the words of
the wire alone, so that every ``--help`` is instant; an action is loaded when its command runs.
"""
