"""Pages: server-rendered, working without scripts, standing on the slices as routes do.

Whoever is signed in may do here what their role may do by the API, through the same queries and
commands. Cookies, headers and the refusal of other sites' forms are in ``app`` alone.
"""
