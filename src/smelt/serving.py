"""What `smelt serve` does: open an artifact, and serve it by its task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt import console
from smelt.errors import UnsupportedError

if TYPE_CHECKING:
    from smelt.runtime.serve.service import Service
    from smelt.runtime.serve.settings import ServeSettings


def serve(artifact: Path, *, name: str | None, opening: dict[str, Any], **told: Any) -> None:
    """Serve until a signal. ``opening`` is what opens the engine, ``told`` the other settings."""
    try:
        from smelt.runtime.serve import lifecycle
        from smelt.runtime.serve.settings import ServeSettings
    except ImportError as error:
        raise UnsupportedError(
            f"a package that serving needs is missing: {error.name}",
            hint="pip install 'smelt[serve]'",
        ) from None

    settings = ServeSettings(name=name or artifact.resolve().stem, **told)
    service = open_service(artifact, settings, opening)

    def listening(url: str) -> None:
        console.say(f"{settings.name} ({service.told}) on {url}/v1")

    try:
        lifecycle.run(service, on_listening=listening)
    finally:
        service.close()


def open_service(artifact: Path, settings: ServeSettings, opening: dict[str, Any]) -> Service:
    """The service of an artifact's task; UnsupportedError for tasks without endpoints."""
    from smelt.opening import open, read
    from smelt.runtime.serve.embeddings import embedding_service

    manifest, _ = read(artifact)
    if manifest.task != "feature_extraction":
        raise UnsupportedError(
            f"the artifact's task is {manifest.task}, endpoints are there for feature_extraction",
            place=str(artifact),
        )
    session = open(artifact, **opening)
    return embedding_service(session.engine, session.text, settings)
