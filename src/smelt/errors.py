"""The one error type that users see: what is wrong, where, both values, and what to do next."""

from __future__ import annotations


class SmeltError(Exception):
    """A refusal with a place and a hint.

    ``message`` is lower case, without a final period, and holds both values ("size is 10, wants
    20").
    ``place`` is where: ``file:line:column``, a file, a tensor or a layer path.
    ``excerpt`` is the source line and a caret line below it, if there is one.
    ``hint`` is what to do next. ``exit_code`` is what the command line returns.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        place: str | None = None,
        excerpt: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.place = place
        self.excerpt = excerpt
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.message
        if self.place:
            text += f"\n  --> {self.place}"
        if self.excerpt:
            text += "\n" + "\n".join("   | " + line for line in self.excerpt.splitlines())
        if self.hint:
            text += f"\n\nhint: {self.hint}"
        return text


class SpecError(SmeltError):
    """An `.arch` file that does not parse, resolve or type-check."""

    exit_code = 2


class CheckpointError(SmeltError):
    """A checkpoint that is missing, damaged, hostile, or does not fit its architecture."""

    exit_code = 3


class UnsupportedError(SmeltError):
    """A case that smelt knows about and does not handle; never silently skipped."""

    exit_code = 4


class ArtifactError(SmeltError):
    """An artifact that is damaged, hostile, or needs a feature this runtime lacks."""

    exit_code = 5


class ParityError(SmeltError):
    """An artifact whose results differ from the reference; names the first layer that diverges."""

    exit_code = 6
