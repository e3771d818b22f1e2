"""The relay to language models: providers and their keys, and the meter on a run's calls.

Its keys for runs are api_tokens. Invariants: no provider's key is told to anybody but the provider;
a key goes only to the address that it was given for.
"""
