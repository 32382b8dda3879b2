"""The shipped fakes keep the promises of the ports."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from pipeline.detect.nudity import Nudity
from pipeline.detect.tensors import misfits
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.events.values import MediaKind
from pipeline.testing import FakeDecode, FakeFetch, FakeInfer, Hang, clip_of, hashed, picture

MODEL = Nudity.model


def tensors(seed=0):
    return {"image": picture(224, 224, seed)[None]}


class TestFakeInfer:
    """An inference server that does as it is told."""

    async def test_it_answers_in_the_shapes_of_the_model(self):
        """The answer fits the model, is the same every time and depends on what was asked."""
        infer = FakeInfer()
        one, again, other = [await infer(MODEL, tensors(seed), within=5) for seed in (0, 0, 1)]
        assert misfits(MODEL, MODEL.outputs, one) == []
        assert np.array_equal(one["probabilities"], again["probabilities"])
        assert not np.array_equal(one["probabilities"], other["probabilities"])

    async def test_it_rejects_what_the_real_one_would(self):
        """A wrong shape is permanent."""
        with pytest.raises(Permanent) as rejected:
            await FakeInfer()(MODEL, {"image": np.zeros((1, 3), np.uint8)}, within=5)
        assert rejected.value.reason is Reason.INFERENCE_REJECTED

    async def test_it_follows_its_script(self):
        """One answer after the other; the last one stays."""
        down = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")
        infer = FakeInfer({"nudity": [down, hashed]})
        with pytest.raises(Transient):
            await infer(MODEL, tensors(), within=5)
        for _ in range(2):
            await infer(MODEL, tensors(), within=5)
        assert infer.asked("nudity") == 3

    async def test_silence_ends_with_the_deadline(self):
        """A server that hangs is transient, after `within` seconds."""
        with pytest.raises(Transient, match="no answer"):
            await FakeInfer({"nudity": Hang()})(MODEL, tensors(), within=0.05)

    def test_rows_of_a_batch_do_not_depend_on_each_other(self):
        """As with a sound model."""
        model = replace(MODEL, max_batch=2)
        alone, other = tensors(0)["image"], tensors(1)["image"]
        both = hashed(model, {"image": np.concatenate([other, alone])})["probabilities"]
        assert np.array_equal(both[1:], hashed(model, {"image": alone})["probabilities"])


class TestFakeFetch:
    """A folder as the source of all uploads."""

    async def test_it_yields_the_file_with_its_digest(self, tmp_path):
        """The last part of the URI is the file, wherever the URI says it lies."""
        (tmp_path / "a b.png").write_bytes(b"hello")
        async with FakeFetch(tmp_path)("s3://bucket/x/a%20b.png?v=1") as media:
            assert media.path.read_bytes() == b"hello"
            assert (media.size, media.sha256) == (5, hashlib.sha256(b"hello").hexdigest())

    @pytest.mark.parametrize("told", [{"sha256": "0" * 64}, {"size": 4}])
    async def test_it_compares_what_the_event_says(self, tmp_path, told):
        """Another digest or size than the event's is permanent."""
        (tmp_path / "a").write_bytes(b"hello")
        with pytest.raises(Permanent) as refused:
            async with FakeFetch(tmp_path)("file:///a", **told):
                pass
        assert refused.value.reason is Reason.DIGEST_MISMATCH

    async def test_it_has_only_what_is_there(self, tmp_path):
        """A missing file is permanent."""
        with pytest.raises(Permanent) as refused:
            async with FakeFetch(tmp_path)("file:///a"):
                pass
        assert refused.value.reason is Reason.SOURCE_NOT_FOUND


class TestFakeDecode:
    """Clips by file name."""

    async def test_it_returns_or_raises_what_it_was_given(self, tmp_path):
        """A clip, a failure, or the default; a name without any is not media."""
        broken = Permanent(Stage.DECODE, Reason.MEDIA_CORRUPT, "cut off")
        clip = clip_of(picture())
        decode = FakeDecode({"a.png": clip, "b.png": broken})
        assert await decode(tmp_path / "a.png") is clip
        with pytest.raises(Permanent, match="cut off"):
            await decode(tmp_path / "b.png")
        with pytest.raises(Permanent, match="no clip"):
            await decode(tmp_path / "c.png")
        assert await FakeDecode(default=clip)(tmp_path / "c.png") is clip
        assert decode.decoded == ["a.png", "b.png", "c.png"]


def test_a_clip_is_what_its_images_make_it():
    """One image is a still, several a video, none sound; moments lie inside the duration."""
    assert clip_of().facts.kind is MediaKind.AUDIO
    assert clip_of(picture()).facts.kind is MediaKind.IMAGE
    video = clip_of(picture(), picture(), every=3.0)
    assert video.facts.kind is MediaKind.VIDEO
    assert [frame.at for frame in video.keyframes] == [0.0, 3.0]
    assert video.facts.duration == 6.0
