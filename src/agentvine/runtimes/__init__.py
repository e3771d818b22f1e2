"""What does the work: one folder per runtime, all behind the protocol in ``base``."""
