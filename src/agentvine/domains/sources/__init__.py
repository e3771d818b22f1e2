"""What source files say of themselves, kept by their content: for every commit that has them.

It is a cache: whatever is removed is read again. It says nothing about which repository has a file.
"""
