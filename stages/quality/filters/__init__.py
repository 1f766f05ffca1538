"""One file per filter; the file's name is its word in a recipe."""
