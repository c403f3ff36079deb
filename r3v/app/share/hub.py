"""Sending a folder to the hub with the hub's own client, and what is said where that cannot be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, RunError

_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def check_name(name: str) -> None:
    """Raise ConfigError for what is no OWNER/NAME of the hub."""
    part = name.rpartition("/")[2]
    if not _NAME.fullmatch(name) or ".." in name or "--" in name or part.startswith(("-", ".")):
        what = "a name without its owner" if "/" not in name else "no name of the hub"
        raise ConfigError(f"found {name!r}, {what}, expected OWNER/NAME such as ada/geometry-lora")


def check_ready() -> str:
    """The token to send with. Raises ConfigError where the hub may not be asked, or nobody has logged in."""
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise ConfigError("found HF_HUB_OFFLINE set, so the hub is not asked; unset it, or add --dry-run")
    token = get_token()
    if not token:
        raise ConfigError("found no token of the hub; run `hf auth login` or set HF_TOKEN (one that may write)")
    return token


def send(folder: Path, name: str, token: str, *, private: bool, message: str) -> str:
    """Make the repository `name` where it does not exist, commit all files of `folder` to it, and return the address of
    the commit. `private` holds for a new repository; one that exists stays as it is. Raises RunError with the hub's own
    words where it refuses or cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token, library_name="r3v")
    try:
        api.create_repo(name, private=private, exist_ok=True)
        found: Any = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except HfHubHTTPError as error:
        status = error.response.status_code
        what = error.server_message or " ".join(str(error).split())
        hint = {401: "; is the token right?", 403: "; may the token write there?"}.get(status, "")
        raise RunError(f"the hub refused {name} with status {status}: {what}{hint}") from error
    except Exception as error:
        # The client's HTTP library is its own business (httpx2 today); its errors share no base with others. An upload
        # of a large file that fails is a RuntimeError, whose cause says why.
        known = isinstance(error, OSError | ValueError | RuntimeError)
        if not known and not type(error).__module__.startswith("httpx"):
            raise
        told = [str(one) or type(one).__name__ for one in (error, error.__cause__) if one is not None]
        why = " ".join(" ".join(told).split())
        raise RunError(f"{name} could not be sent to {api.endpoint}: {why}; the same command sends it anew") from error
    return str(found.commit_url)
