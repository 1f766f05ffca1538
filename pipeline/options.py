"""The options object is the stage: one frozen model is YAML entry, CLI flags, help and fingerprint.

An option is declared, typed, defaulted, explained and validated once. What an option *means* decides its part
in the fingerprint: a plain value counts as itself; a file or model path counts as its content, so that a renamed or
moved file is the same and a changed one is not; a secret or a purely operational value does not count at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from pipeline import renamed
from pipeline.errors import OptionError, did_you_mean
from pipeline.storage.local_copies import LocalCopy, is_on_storage


class Keyed(Enum):
    """How an annotated option enters the fingerprint."""

    CONTENT = "content"
    SECRET = "secret"
    UNKEYED = "unkeyed"


CONTENT = Keyed.CONTENT
"""`Annotated[str | None, CONTENT]`: a path (or list of paths); its content hash is keyed, never the path. An URL of object storage
is given too: on every machine the option is then the path of a copy there."""
SECRET = Keyed.SECRET
"""`Annotated[str | None, SECRET]`: the *name* of an environment variable or file that holds a secret; not keyed."""
UNKEYED = Keyed.UNKEYED
"""`Annotated[int, UNKEYED]`: changes how the work is done, never a byte of what comes out."""


class Options(BaseModel):
    """Base of every stage, filter, rule and verb. Frozen; unknown names are refused with a suggestion."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True, ignored_types=()
    )
    version: ClassVar[int] = 1
    """Bump when the same options mean other bytes."""
    renamed: ClassVar[dict[str, str]] = {}
    """Options (and ports) by the name they had in the version before, and today's (`lora.r`: in a group): read with a note."""

    also: ClassVar[dict[str, str]] = {}
    """What other tools call an option, and its name here: read as that, without a note."""

    _on_storage: dict[str, Any] = PrivateAttr(default_factory=dict)
    """Options that name something on object storage: a `LocalCopy`, or a list of these and of local paths."""

    def model_post_init(self, _: Any) -> None:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if CONTENT in field.metadata and any(map(is_on_storage, _listed(value))):
                copies = [LocalCopy.of(each) if is_on_storage(each) else each for each in _listed(value)]
                self._on_storage[name] = copies[0] if isinstance(value, str) else copies
        self._use_copies()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._use_copies()

    def _use_copies(self) -> None:
        for name, copies in self._on_storage.items():
            paths = tuple(str(each.path()) if isinstance(each, LocalCopy) else each for each in _listed(copies))
            object.__setattr__(self, name, paths[0] if isinstance(copies, LocalCopy) else paths)

    @model_validator(mode="before")
    @classmethod
    def _current_names(cls, given: Any) -> Any:
        return cls.under_current_names(given, cls.__name__)

    @classmethod
    def under_current_names(cls, given: Any, who: str) -> Any:
        """`given` as today's options, those of a group inside it; `who` is told in notes. ValueError where one is given twice."""
        given = renamed.current(given, cls.renamed, who)
        return renamed.nested(renamed.current(given, cls.also, who, noted=False))

    def fingerprint(self, *parents: str) -> str:
        """Hash (32 hex) of the class name, version, keyed options and `parents` (content hashes of the inputs)."""
        return digest({"options": identity(self), "parents": list(parents)})

    @classmethod
    def build(cls, given: dict[str, Any] | None, where: str) -> Self:
        """Validate `given`; raises OptionError that names the option, the fault and the nearest known word."""
        try:
            return cls.model_validate(given or {})
        except ValidationError as fault:
            raise OptionError(*_explain(cls, fault, where)) from None


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) and not isinstance(value, LocalCopy) else [value]


def _explain(cls: type[Options], fault: ValidationError, where: str) -> tuple[str, str]:
    error = fault.errors()[0]
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        for part in error["loc"][:-1]:
            cls = group_of(cls.model_fields[part]) or cls if part in cls.model_fields else cls
        known = [field.alias or name for name, field in cls.model_fields.items()]
        return f"{where}: no option {path!r}", did_you_mean(str(error["loc"][-1]), known)
    message = error["msg"].removeprefix("Value error, ")
    return (
        f"{where}: {path or 'options'}: {message}",
        f"see `maetdol explain {where.split('.')[0]}` for units and defaults",
    )


def group_of(field: FieldInfo) -> type[Options] | None:
    """The options that stand inside an option; None where it holds a plain value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Options) else None


def identity(options: Options) -> dict[str, Any]:
    """The keyed part of `options` as plain JSON values."""
    keyed: dict[str, Any] = {}
    for name, field in type(options).model_fields.items():
        kind = next((mark for mark in field.metadata if isinstance(mark, Keyed)), None)
        if kind in (SECRET, UNKEYED):
            continue
        value = getattr(options, name)
        keyed[name] = _content(value) if kind is CONTENT else _plain(value)
    return {"class": type(options).__name__, "version": type(options).version, "keyed": keyed}


def _plain(value: Any) -> Any:
    if isinstance(value, Options):
        return identity(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return value


def _content(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_content(item) for item in value]
    return known_hash(Path(value))


def content_hash(path: Path) -> str:
    """BLAKE2b-128 (32 hex) of a file, or of a folder's sorted relative names and bytes. OptionError when absent."""
    return _of_all(path, _file_hash)


def known_hash(path: Path) -> str:
    """`content_hash`, of which this process reads no file again while it stays the same by inode, time and length: what an option
    names is part of the key of every shard."""
    return _of_all(path, _known)


def _of_all(path: Path, hash_of: Callable[[Path], str]) -> str:
    if path.is_dir():
        return digest({str(p.relative_to(path)): hash_of(p) for p in sorted(path.rglob("*")) if p.is_file()})
    return hash_of(path)


def _known(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return _file_hash(path)
    return _remembered(path, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _remembered(path: Path, *_: int) -> str:
    return _file_hash(path)


def _file_hash(path: Path) -> str:
    try:
        hasher = hashlib.blake2b(digest_size=16)
        with open(path, "rb") as handle:
            while chunk := handle.read(1 << 20):
                hasher.update(chunk)
        return hasher.hexdigest()
    except OSError as fault:
        raise OptionError(
            f"cannot read {path}: {fault.strerror}", "give the path of a readable file or folder"
        ) from None


def digest(value: Any) -> str:
    """BLAKE2b-128 (32 hex) of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()  # names of files may be no UTF-8
