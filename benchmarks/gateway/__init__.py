"""Calls to models through the gateway, beside LiteLLM's proxy: ``python -m benchmarks.gateway``."""
