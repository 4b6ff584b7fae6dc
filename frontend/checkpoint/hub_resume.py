"""Large files of the Hub, resumable by the next process.

The Hub's client resumes after a dropped connection, but what a killed process had is lost to it.
Here a large file grows in the cache under a name of ours and becomes the client's own blob when it
is whole and its sha256 is the one that the Hub gave; the client then finds it there.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError

SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch_large(
    repository: str,
    name: str,
    commit: str,
    cache: Path | None,
    endpoint: str | None,
    bar: type[Any],
) -> None:
    """Put a file into the cache's blobs, going on where an earlier process stopped.

    Does nothing for small files, whose tag is no sha256, and for files that the client fetches in
    pieces of its own (Xet), which it keeps.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import (  # type: ignore[attr-defined, unused-ignore]
        WeakFileLock,
        build_hf_headers,
    )

    url = hf_hub_url(repository, name, revision=commit, endpoint=endpoint)
    about = get_hf_file_metadata(url, endpoint=endpoint)
    if about.xet_file_data is not None or not about.etag or not SHA256.fullmatch(about.etag):
        return
    folder = Path(cache or constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / about.etag
    part = blob.with_name(f"{about.etag}.part")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(f"{part}.lock"):
        if blob.exists():
            return
        with part.open("ab") as file:
            have = file.tell()
            if about.size is not None and have > about.size:
                have = file.truncate(0)
            http_get(
                about.location,
                file,
                resume_size=have,
                # The token is for the Hub alone; a large file lies on another host.
                headers=build_hf_headers(token=None if about.location == url else False),
                expected_size=about.size,
                tqdm_class=bar,
            )
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != about.etag:
            part.unlink()
            raise CheckpointError(
                f"the sha256 of {name} is {found}, the Hub says {about.etag}",
                place=repository,
                hint="the download was damaged and is removed: run it again",
            )
        part.rename(blob)
