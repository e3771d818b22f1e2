"""The relay to language models: meters, prices and stops a run's calls. Its keys are api_tokens."""
