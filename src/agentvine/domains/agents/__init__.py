"""The roles of a team: model, prompt, rules, and what each role remembers.

Invariant: one memory per agent, project, category and key, also where the project is NULL.
"""
