"""What files say of their own making."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.generator_metadata import GeneratorMetadata, known
from pipeline.detect.port import View
from pipeline.events.values import Family
from pipeline.testing import clip_of, picture

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmp:CreatorTool="Adobe Firefly 2.0"
Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></rdf:RDF></x:xmpmeta>"""
SETTINGS = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: v1-5"


def judge(*metadata):
    """(score, words) of everything found, None where the detector is not applicable."""
    detector = GeneratorMetadata()
    probes = detector.prepare(View(clip_of(picture(), metadata=metadata)))
    if not probes:
        return None
    return [(score.value, score.note) for score in detector.interpret(probes[0], probes[0].tensors)]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("parameters", SETTINGS, "the entry “parameters” holds settings of a Stable Diffusion web interface"),
        ("png:parameters", SETTINGS, "the entry “parameters” holds settings of a Stable Diffusion web interface"),
        ("EXIF:UserComment", SETTINGS, "the entry “usercomment” holds settings of a Stable Diffusion web interface"),
        ("parameters", '{"sui_image_params": {}}', "the entry “parameters” holds settings of SwarmUI"),
        ("prompt", '{"3": {"class_type": "KSampler", "inputs": {}}}', "the entry “prompt” holds a ComfyUI graph"),
        ("workflow", '{"nodes": [], "links": []}', "the entry “workflow” holds a ComfyUI workflow"),
        (
            "png:workflow",
            '{"last_node_id": 9, "nodes": [' + "0," * 990,
            "the entry “workflow” holds a ComfyUI workflow",
        ),
        ("png:parameters", "cat\nNegative prompt: dog", "the entry “parameters” holds a negative prompt"),
        ("xmp:AISystemUsed", "Imagen 4", "the entry “aisystemused” holds the AI system that was used"),
        ("sd-metadata", "{}", "the entry “sd-metadata” holds settings of InvokeAI"),
        ("Dream", '"a cat" -s 50', "the entry “dream” holds a command of InvokeAI"),
        ("Software", "NovelAI", "written by “NovelAI”"),
        ("exif:Software", "Midjourney v6", "written by “Midjourney v6”"),
        ("comment", "made with suno; created=2024", "the entry “comment” holds a mark of Suno"),
        (
            "DigitalSourceType",
            "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
            "the digital source type trainedAlgorithmicMedia says: made by a trained model",
        ),
        (
            "digitalSourceType",
            "trainedAlgorithmicMedia",
            "the digital source type trainedAlgorithmicMedia says: made by a trained model",
        ),
    ],
)
def test_a_generator_that_names_itself_is_heard(key, value, words):
    """Each known entry gives a strong score and says what was found."""
    found = judge(("Title", "holiday"), (key, value))
    assert words in [note for _, note in found]
    assert found[0][0] >= 0.9


def test_an_xmp_packet_is_read_for_tool_and_source_type():
    """Both the creating program and the digital source type count, wherever in the packet they stand."""
    composite = "the digital source type compositeWithTrainedAlgorithmicMedia says: edited with parts made by a trained"
    assert judge(("XML:com.adobe.xmp", XMP.format("compositeWithTrainedAlgorithmicMedia"))) == [
        (0.95, f"{composite} model"),
        (0.95, "written by “Adobe Firefly 2.0”"),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Software", "Adobe Photoshop 25.0"),
        ("Software", "Notopenaitool"),
        ("Artist", "Midjourney"),
        ("parameters", "width=3 height=4"),
        ("Comment", "Steps to the sea"),
        ("workflow", "scan, crop, print"),
        ("DigitalSourceType", "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"),
        ("encoder", "Lavf60.16.100"),
    ],
)
def test_ordinary_entries_name_no_generator(key, value):
    """Cameras, editors and plain words score 0, and the note says that something was read."""
    assert judge((key, value)) == [(0.0, "no entry of the metadata names a generator")]


def test_without_metadata_there_is_nothing_to_judge():
    """Most messengers strip metadata: its absence is not applicable, not innocent."""
    assert judge() is None


def test_sound_has_metadata_too():
    """A file without pictures is judged by its entries all the same."""
    detector = GeneratorMetadata()
    (probe,) = detector.prepare(View(clip_of(metadata=[("encoded_by", "ElevenLabs")])))
    assert detector.interpret(probe, probe.tensors)[0].value >= 0.9


def test_a_strangers_words_are_quoted_short_and_on_one_line():
    """What a file says about itself is shown to people: no control characters, no flood."""
    ((_, note),) = judge(("Software", "Midjourney\n\x1b[31m" + "x" * 500))
    assert note.isprintable()
    assert len(note) < 120


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=200)), min_size=1, max_size=5))
def test_any_metadata_gets_a_score(entries):
    """Whatever the entries hold, there is at least one score from 0 to 1 of the one family."""
    detector = GeneratorMetadata()
    (probe,) = detector.prepare(View(clip_of(picture(8, 8), metadata=entries)))
    scores = detector.interpret(probe, probe.tensors)
    assert scores
    assert all(0 <= score.value <= 1 and score.family is Family.GENERATOR_METADATA for score in scores)


def test_what_is_known_is_well_formed():
    """Keys and words are in lower case, as they are compared, and scores are probabilities."""
    facts = known()
    for entry in facts.entries:
        assert entry.keys
        assert [*entry.keys, *entry.holds] == [word.lower() for word in (*entry.keys, *entry.holds)]
    assert list(facts.software.keys) == [key.lower() for key in facts.software.keys]
    assert all(0 < item.score <= 1 for item in (*facts.entries, *facts.source_types, facts.software))
