"""Each area's pages: they load by queries, build a view, and render it."""
