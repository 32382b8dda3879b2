"""Files by their path, without Kafka."""

from pathlib import Path

from pipeline.local import uri_of


def test_a_path_that_goes_up_and_down_is_the_file_it_leads_to():
    """`unmask screen ../photo.jpg` and a manifest beside the checkout work; a space is no harm."""
    assert uri_of(Path("/here/checkout/../my files/./photo.jpg")) == "file:///here/my%20files/photo.jpg"


def test_a_link_stays_a_link(tmp_path: Path):
    """Where it leads is not what was named: the guard of fetched files decides."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert uri_of(tmp_path / "link" / "a.jpg").endswith("/link/a.jpg")
