"""Composition root: the app, its lifespan and its background loops."""
