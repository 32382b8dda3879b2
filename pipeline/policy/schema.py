"""The JSON Schema of a policy file, for completion and hints in editors. Made from the types; never written by hand.

It knows shapes and words, not conditions: those `unmask policy check` looks at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

import msgspec

from pipeline.policy.fields import FIELDS, rows
from pipeline.policy.rules import Cel, PolicyFile

FILE = "policy.schema.json"
"""Beside the default policy, whose first line names it."""

_WORDS: Mapping[str, Mapping[str, str]] = {
    "PolicyFile": {
        "name": "Of the policy; with a digest it is in every decision.",
        "harms": "Classes of harm, by name.",
        "queues": "Where people look, by name.",
        "jurisdictions": "Names for several countries, in capitals, at least three letters.",
        "clocks": "Deadlines that a law sets or the platform promises, by name.",
        "thresholds": "Numbers with a name: conditions say `threshold.<name>`.",
        "define": "Conditions with a name: others say `is.<name>`.",
        "exemptions": "Reasons for rules to leave an upload alone, by name: rules list them under `unless`.",
        "fusion": "How detectors' scores become signals.",
        "rules": "What follows from what was found. Their order means nothing: the strongest action wins.",
        "fail_modes": "What follows when something could not be judged.",
    },
    "Harm": {
        "what": "What it is, in plain words.",
        "severity": "How hard it is to look at, 5 the hardest.",
        "ground": "On what a restriction rests: a law, or the platform's own terms.",
        "category": "The DSA Transparency Database's category.",
        "keywords": "The DSA Transparency Database's keywords.",
        "rule_text": "The law or the clause of the platform's terms: statements of reasons cite it.",
    },
    "Queue": {
        "what": "What comes here.",
        "handling": "How long most tasks take: work starts that much before the deadline.",
        "people": "How many have to agree.",
        "blind_first": "Whether people answer before they see the scores.",
        "golden_share": "Of its cases, how many are ones whose answer is known.",
    },
    "Jurisdiction": {"regions": "Countries, ISO 3166-1 alpha-2."},
    "Clock": {
        "within": "How long there is.",
        "source": "Where that is written. Counsel decides what holds.",
        "starts": "With the request of the person shown, or with the decision.",
        "jurisdictions": "Whose law it is; everywhere when left out.",
    },
    "Exemption": {"when": "When it holds.", "reason": "Said to the platform when it leaves something alone."},
    "Review": {
        "queue": "Who looks.",
        "priority": "0–100; higher is sooner, at the same time.",
        "deadline": "Counted from the decision.",
        "clocks": "Deadlines that may apply besides; the earliest holds.",
    },
    "Rule": {
        "name": "In the trace, in metrics and in tasks.",
        "harm": "One of `harms`.",
        "when": "When it holds.",
        "action": "What follows. allow < label < limit < hold < remove.",
        "reason": "Starts the sentence that the platform is given; the numbers follow by themselves.",
        "owner": "Who answers for it.",
        "unless": "Exemptions that keep it from acting.",
        "jurisdictions": "Where it acts; everywhere when left out.",
        "review": "Who looks, and until when. The action is then provisional.",
        "label": "The text for viewers, with `label` and `limit`.",
        "mode": "live: acts; shadow: only recorded; off: not looked at.",
        "since": "From the beginning of this day, UTC.",
        "until": "To the beginning of this day, UTC, not including it.",
    },
    "FailMode": {
        "name": "In the trace, in metrics and in tasks.",
        "harm": "One of `harms`.",
        "reason": "Starts the sentence that the platform is given.",
        "on": "unjudged: the upload as a whole; missing: nobody, or too little of a detector, answered for a family;"
        " uncertain: from the lower edge of the abstain band upwards.",
        "action": "What follows: allow (with a review), limit or hold.",
        "when": "Only where this holds too.",
        "families": "For missing (any when left out) and uncertain.",
        "causes": "For unjudged: only these; any when left out.",
        "surfaces": "Only there; everywhere when left out.",
        "unless": "For uncertain: exemptions that keep it from acting.",
        "review": "Who looks, and until when.",
    },
    "Fusion": {
        "evidence": "Scores kept per signal, the strongest first.",
        "requires": "Families without which an upload is not judged.",
        "default": "How scores become signals, for families that are not named.",
        "families": "How scores become signals, by family.",
    },
    "FamilyFusion": {
        "top_share": "Of a face's moments, strongest first, the share whose mean counts.",
        "looks": "And at least so many moments, as far as there are so many.",
        "min_coverage": "With less than this share looked at, reassurance does not count.",
        "calibration": "The curve from scores to probabilities; the calibration file's when left out.",
        "abstain": "Probabilities that are too uncertain to say; the calibration file's when left out.",
        "margin": "How far a probability may be off; the calibration file's when left out.",
    },
}
"""What editors say of each word; where nothing is given, what the section's own description says of it."""


def schema() -> dict[str, Any]:
    """The JSON Schema, draft 2020-12."""
    found = msgspec.json.schema(PolicyFile)
    parts = found["$defs"]
    for name in parts:
        parts[name] = _referring(parts[name])
        for word, own in parts[name].get("properties", {}).items():
            what = _WORDS.get(name, {}).get(word) or _sentence(word, parts[name].get("description", ""))
            parts[name]["properties"][word] = {**own, "description": what} if what else own
    parts["Condition"] = {**_condition(), "description": _fields()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy of Unmask",
        **found,
        "x-fields": {field.name: {"type": field.kind.value, "what": field.what} for field in FIELDS.values()},
    }


def written() -> str:
    """As the file beside the default policy has it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _condition() -> dict[str, Any]:
    plain = msgspec.json.schema(Cel)
    return {key: value for key, value in plain.items() if key != "description"}


def _referring(part: Any) -> Any:
    """The same for editors: every condition refers to the one place that lists the fields, nothing may be null."""
    if isinstance(part, dict):
        if part.get("description") == msgspec.json.schema(Cel)["description"]:
            return {"$ref": "#/$defs/Condition"}
        if part.get("anyOf", [])[1:] == [{"type": "null"}]:  # what may be left out: editors complete what may be there
            return {**_referring(part["anyOf"][0]), "default": None}
        return {key: cleandoc(value) if key == "description" else _referring(value) for key, value in part.items()}
    return [_referring(each) for each in part] if isinstance(part, list) else part


def _sentence(word: str, about: str) -> str:
    """What the description of a section says of one of its words."""
    found = re.search(rf"`{word}`:\s+(.+?)\.(?=\s|$)", about, re.DOTALL)
    return re.sub(r"\s+", " ", found[1][0].upper() + found[1][1:]) + "." if found else ""


def _fields() -> str:
    lines = (f"{row.name}: {row.kind}. {row.what}" for row in rows())
    return "A condition in CEL. It may speak of threshold.<name>, is.<name> and these fields:\n" + "\n".join(lines)
