"""One file per filter; the file's name is its word in a recipe."""

from pipeline.engine.catalog import extra_folders

# Those of one's own (MAETDOL_PATH) belong to the package wherever it is imported, in a worker that is handed one too.
__path__ += [str(folder / "quality" / "filters") for folder in extra_folders()]
