"""A page as one flat tree of arrays, and what is read from it."""
