"""An export as a data set on the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.errors import InfraError, OptionError, SourceError

ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w./-]+))?/?")
COMMIT = 500
"""Files of one commit."""


def token_of(name: str) -> str:
    """The token in the environment variable `name`. OptionError where it is not set."""
    token = os.environ.get(name, "").strip()
    if not token:
        raise OptionError(
            f"the environment variable {name} (token_env) is not set", f"export {name}=... before the command"
        )
    return token


def push(folder: str, names: list[str], address: str, token: str, private: bool) -> str:
    """Upload files of a local folder; the repository is made where there is none. Files that are there already are not sent
    again. Returns its address. InfraError where the hub fails, SourceError where it refuses."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import disable_progress_bars

    found = ADDRESS.fullmatch(address)
    assert found is not None  # the options have checked it
    repository, branch = found[1], found[2]
    api = HfApi(token=token)
    disable_progress_bars()
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        for at in range(0, len(names), COMMIT):
            operations = [CommitOperationAdd(name, str(Path(folder, name))) for name in names[at : at + COMMIT]]
            api.create_commit(
                repository, operations, commit_message="maetdol export", repo_type="dataset", revision=branch
            )
    except HfHubHTTPError as fault:
        status = fault.response.status_code if fault.response is not None else 0
        line = _without(token, f"the hub answered {status} for {address}: {fault.server_message or fault}")
        if status in (401, 403, 404):
            raise SourceError(line, "give a token that may write there, by --token-env NAME") from None
        raise InfraError(line, "give the same command again: what was sent is not sent twice") from None
    except OfflineModeIsEnabled:
        raise SourceError(f"cannot send to {address}: HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE") from None
    except OSError as fault:
        line = _without(token, f"cannot reach the hub for {address}: {fault}")
        raise InfraError(line, "check the network and HF_ENDPOINT, then give the same command again") from None
    return f"{api.endpoint}/datasets/{repository}"


def _without(token: str, line: str) -> str:
    return " ".join(line.replace(token, "***").split())[:400]
