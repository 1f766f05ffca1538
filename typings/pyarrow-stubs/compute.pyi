"""pyarrow makes the functions of this module when it is imported, from its own registry: a type checker sees none of them."""

from typing import Any

def __getattr__(name: str) -> Any: ...
