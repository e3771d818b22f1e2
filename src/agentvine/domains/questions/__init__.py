"""What runs ask, and who answers: a rule, a language model, or a person.

The questions themselves are rows of the conversations slice.
"""
