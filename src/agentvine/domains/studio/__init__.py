"""The schema studio's designs, in numbered versions per project."""
