"""What a file says of itself in words."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.metadata import MAX_ENTRIES, MAX_NAME, MAX_VALUE, bounded, from_xmp, printable
from tests import media


@given(st.lists(st.tuples(st.text(), st.one_of(st.text(), st.binary(), st.integers()))))
def test_entries_are_bounded_and_encodable(entries: list[tuple[str, object]]) -> None:
    """Whatever a file says, the result is short, printable and valid UTF-8."""
    kept = bounded(entries)
    assert len(kept) <= MAX_ENTRIES
    for name, value in kept:
        assert len(name) <= MAX_NAME
        assert 0 < len(value) <= MAX_VALUE
        assert "\x00" not in (name + value)
        (name + value).encode()


def test_long_values_are_cut() -> None:
    """A value of any length costs at most its bound."""
    assert len(printable("x" * 10_000_000)) == MAX_VALUE
    assert len(printable(b"\xff" * 10_000_000)) == MAX_VALUE


def test_xmp_tells_the_digital_source_type() -> None:
    """The IPTC digital source type and the creator tool are read from attributes."""
    found = dict(from_xmp(media.XMP_SYNTHETIC))
    assert str(found["xmp:DigitalSourceType"]).endswith("/trainedAlgorithmicMedia")
    assert found["xmp:CreatorTool"] == "Imaginer 3"
    assert str(found["xmp:packet"]).startswith("<x:xmpmeta")


def test_xmp_is_read_from_elements_too() -> None:
    """Both ways of writing a property count."""
    text = "<Iptc4xmpExt:DigitalSourceType>http://x/compositeSynthetic</Iptc4xmpExt:DigitalSourceType>"
    assert dict(from_xmp(text))["xmp:DigitalSourceType"] == "http://x/compositeSynthetic"
    text = '<Iptc4xmpExt:DigitalSourceType rdf:resource="http://x/digitalArt"/>'
    assert dict(from_xmp(text))["xmp:DigitalSourceType"] == "http://x/digitalArt"


@given(st.binary(max_size=2000))
def test_any_packet_is_survived(packet: bytes) -> None:
    """Damaged XMP gives what can be read and never an error."""
    assert bounded(from_xmp(packet)) is not None
