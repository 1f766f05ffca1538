import sys

from pipeline.own_folders import extend

extend(sys.modules[__name__])  # those of one's own (MAETDOL_PATH), in a worker that is handed one too
