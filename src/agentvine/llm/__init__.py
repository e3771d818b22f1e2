"""Language models, behind one door; and scripted ones, which need no provider."""
