"""What `smelt serve` does: open an artifact, and serve it by its task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt import console
from smelt.errors import SmeltError, UnsupportedError

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
    try:
        lifecycle.run(
            service,
            on_listening=lambda url: console.say(f"{settings.name} ({service.told}) on {url}/v1"),
        )
    finally:
        service.close()


def open_service(artifact: Path, settings: ServeSettings, opening: dict[str, Any]) -> Service:
    """The service of an artifact's task; UnsupportedError for tasks without endpoints."""
    from smelt.opening import read
    from smelt.runtime.text import Text

    manifest, files = read(artifact)
    if not files:
        raise SmeltError(
            "the artifact has no tokenizer, a server takes and gives text", place=str(artifact)
        )
    if manifest.task == "causal_lm":
        if manifest.target != "edge":
            raise UnsupportedError(
                f"the artifact is for {manifest.target}, requests are batched on edge alone",
                place=str(artifact),
                hint="smelt compile … --target edge",
            )
        from smelt.runtime.serve.generating import open_generation

        return open_generation(artifact, manifest, Text.load(files), settings, opening)
    if manifest.task == "feature_extraction":
        import smelt
        from smelt.runtime.serve.embeddings import embedding_service

        session = smelt.open(artifact, **opening)
        return embedding_service(session.engine, session.text, settings)
    raise UnsupportedError(
        f"the artifact's task is {manifest.task}, endpoints are there for causal_lm and "
        "feature_extraction",
        place=str(artifact),
    )
