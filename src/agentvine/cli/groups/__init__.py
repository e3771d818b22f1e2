"""Words and options of the commands; what they do is in ``cli.actions``."""
