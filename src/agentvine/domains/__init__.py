"""The slices: one folder per noun of the product, ordered by its foreign keys."""
