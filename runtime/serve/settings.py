"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServeSettings:
    """Names, secrets and limits; times are in seconds, sizes in bytes."""

    name: str
    """What the model is called in requests and answers."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Any of them opens `/v1`; without one it is open."""
    max_body: int = 8 << 20
    body_time: float = 60.0
    """A body that has not arrived by then is given up."""
    grace: float = 30.0
    """Running requests get so long to end after SIGTERM."""
    waiting: int = 256
    """Requests that may wait for a row; texts that may wait to be embedded."""
    rows: int = 16
    """Requests that are computed together."""
