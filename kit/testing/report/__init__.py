"""What a sweep found, for people: a page, a summary for a pull request, a story, a document for machines."""

from kit.testing.report.document import document, document_of_run
from kit.testing.report.findings import Report
from kit.testing.report.graph import mermaid
from kit.testing.report.outline import outline
from kit.testing.report.page import page
from kit.testing.report.rollback import Claim, claims
from kit.testing.report.side_effects import SideEffect, SideEffectMap, side_effects
from kit.testing.report.story import narrate
from kit.testing.report.summary import summary

__all__ = [
    "Claim",
    "Report",
    "SideEffect",
    "SideEffectMap",
    "claims",
    "document",
    "document_of_run",
    "mermaid",
    "narrate",
    "outline",
    "page",
    "side_effects",
    "summary",
]
