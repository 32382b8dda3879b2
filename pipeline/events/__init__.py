"""The wire: one file per topic, the codec, examples, and the schemas generated from the code."""

from pipeline.events.dead_letter import DeadLetter
from pipeline.events.decided import MediaDecided, Versions
from pipeline.events.enforced import DecidedBy, MediaEnforced, OutcomeStatus
from pipeline.events.review import ReviewDecided, ReviewRequested
from pipeline.events.subject import SubjectAnswered, SubjectRequested
from pipeline.events.uploaded import MediaUploaded

Event = (
    MediaUploaded
    | MediaDecided
    | ReviewRequested
    | ReviewDecided
    | MediaEnforced
    | SubjectRequested
    | SubjectAnswered
    | DeadLetter
)

__all__ = [
    "DeadLetter",
    "DecidedBy",
    "Event",
    "MediaDecided",
    "MediaEnforced",
    "MediaUploaded",
    "OutcomeStatus",
    "ReviewDecided",
    "ReviewRequested",
    "SubjectAnswered",
    "SubjectRequested",
    "Versions",
]
