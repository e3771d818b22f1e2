"""Templates of projects: what a new repository is made of, and what one fills in.

Those of the package (`library/`) are read-only and come with each release; others are rows, of a
project or for all. Invariants: a template that is stored can be rendered with good values; names of
own templates are unique in their project, and none is that of a built-in one; rendering touches
nothing but its arguments, and always ends.
"""
