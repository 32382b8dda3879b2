"""`media.uploaded`: an upload to screen: where it lies, what it claims to be, its context."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pipeline.events.values import (
    NO_CONTROLS,
    Bytes,
    Consent,
    MediaId,
    Purpose,
    Region,
    Sha256,
    Struct,
    Surface,
    Timestamp,
    UploaderFacts,
    check_moment,
)

Tag = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)")]


class MediaUploaded(Struct, frozen=True, tag_field="schema", tag="media.uploaded/1"):
    """Published by the platform, once per upload (again is harmless: the first outcome stands).

    `content_type`, `size` and `sha256` are claims; the digest is checked when it is given.
    `uploader_id` is opaque to Unmask. `regions` are where it is shown; none given means everywhere.
    `tags`: what the platform knows of the subject (`election`, `crisis`, `public-figure`); rules may use them.
    `purposes`: what the uploader says that a manipulation is for. `consent`: of the person shown.
    `attributes` is the platform's own, passed through untouched; rules may read it.
    """

    media_id: MediaId
    uri: Annotated[str, Meta(min_length=1, max_length=4096, pattern=NO_CONTROLS)]
    uploaded_at: Timestamp
    content_type: Annotated[str, Meta(max_length=255, pattern=NO_CONTROLS)] | None = None
    size: Bytes | None = None
    sha256: Sha256 | None = None
    uploader_id: Annotated[str, Meta(max_length=256, pattern=NO_CONTROLS)] | None = None
    regions: tuple[Region, ...] = ()
    surface: Surface = Surface.POST
    caption: Annotated[str, Meta(max_length=20_000)] = ""
    declared_synthetic: bool = False
    attributes: dict[str, str] = {}
    tags: tuple[Tag, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    consent: Consent | None = None
    uploader: UploaderFacts | None = None

    def __post_init__(self) -> None:
        check_moment("uploaded_at", self.uploaded_at)
