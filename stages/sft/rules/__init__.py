from pipeline.engine.catalog import extra_folders

# Those of one's own (MAETDOL_PATH) belong to the package wherever it is imported, in a worker that is handed one too.
__path__ += [str(folder / "sft" / "rules") for folder in extra_folders()]
