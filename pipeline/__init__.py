"""Unmask: screens uploaded media for deepfakes and other manipulated content, on a stream.

    media.uploaded ──screen──► media.decided ──route──┬──► review.requested.<queue> ─► console / the platform's tool
          │                                           │                                      │
          │                                           └──► media.enforced ◄──settle── review.decided ◄┘
          └──► media.dead-letter

    screen = fetch → decode → detect → fuse → decide
             MediaUploaded → Media → Clip → Findings → Assessment → Decision

Read `topology.py` first, then `screen.py`, then `agents/delivery.py`; `app.py` puts the parts together.
"""

from importlib.metadata import version

VERSION = version("unmask")
