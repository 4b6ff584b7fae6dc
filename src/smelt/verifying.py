"""`smelt verify`: an artifact checked by itself: its results, its bytes, and its compiled text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smelt.errors import ArtifactError, ParityError
from smelt.golden import GOLDEN, recheck
from smelt.opening import open as open_session
from smelt.runtime.manifest import Manifest
from smelt.targets import target_named

Progress = Callable[[str, int, int], None]


def verify_artifact(
    path: Path, *, progress: Progress = lambda what, done, total: None, **options: Any
) -> dict[str, Any]:
    """Recheck the results against the stored reference, and every file against its hash.

    The results come first, because they name the layer that a damaged weight belongs to.
    ParityError or ArtifactError when either fails.
    """
    session = open_session(path, **options)
    manifest = session.manifest
    stored = _stored(path)
    progress("check bytes", 0, 0)
    damage = _damage(path)
    try:
        worst = recheck(
            session.engine, manifest, stored, lambda what: progress("check results", 0, 0)
        )
    except ParityError as error:
        if damage is not None:
            error.hint = f"{damage.message}, in {damage.place}: compile it again"
        raise
    if damage is not None:
        raise damage
    progress("compare tokenizer and chat template", 0, 0)
    text = target_named(manifest.target, manifest.dialect).prove_text(path)
    certificate = manifest.certificate
    assert certificate is not None  # recheck refuses without
    return {
        "status": "passed",
        "worst_error": worst,
        "tolerance": certificate.tolerances[0].value,
        "text": [check.model_dump(mode="json") for check in text],
        "files": _files(manifest, path),
        "certificate": certificate.model_dump(mode="json"),
    }


def _stored(path: Path) -> bytes:
    if path.is_file():
        from smelt.runtime.artifact import open_artifact

        return bytes(open_artifact(path).read(GOLDEN))
    from smelt.runtime.folder import open_folder

    folder = open_folder(path)
    if not any(entry.path == GOLDEN for entry in folder.manifest.files):
        raise ArtifactError(
            "artifact has no stored reference",
            place=str(path),
            hint="compile it again without --no-verify",
        )
    return folder.read(GOLDEN)


def _damage(path: Path) -> ArtifactError | None:
    from smelt.runtime.folder import open_folder

    try:
        if path.is_file():
            from smelt.runtime.artifact import open_artifact

            open_artifact(path, check="hashes")
        else:
            open_folder(path, check="hashes")
    except ArtifactError as error:
        return error
    return None


def _files(manifest: Manifest, path: Path) -> int:
    return 1 if path.is_file() else len(manifest.files)
