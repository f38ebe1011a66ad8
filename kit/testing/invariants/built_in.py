"""The built-in invariants, asked of every run of every scenario without being asked for.

Exceptions, and why they are none of a defect:

- *A person's word.* What a person has decided about a step or an undo (skip, supply) is not held against the run: the
  world may look as they say, whatever the providers recorded. What they found and supplied is undone like everything
  else, if the saga turns round.
- *Started again.* The duplicate is judged, too, by its own summary. Where a key does not name the workflow both runs
  share its effect, and it stands until the last of them has turned round. At most one effect per key holds for both
  together; an effect that one of them has left is the other's to have or to undo.
- *Parked.* A run that waits may have rows whose truth is open, that is what it asks about; what its ledger calls
  settled must be true all the same.
- *Unrecorded.* Where the ledger could not be written while the attempt lasted, the result went to the workflow and the
  row stays open for a look-up, as the guard's table says. The run's own word must then agree with the truth.
- *Entities.* Each event is a saga of its own: it has a deadline, it is finished when the entity is cancelled and no
  other is begun, and when it was undone nothing of it stands. What was applied stands however the entity ends. In which
  order an event of an earlier run was undone is not looked at: the history is the latest run's.

What they cannot see: a compensation that is carried out twice (two refunds of one charge) where the provider's record
only says that the effect is gone, and what an operation does that says it only reads. A world whose truth tells more,
and an invariant of one's own, can.
"""

from __future__ import annotations

from typing import Final

from kit.testing.invariants.attempts import refused_once, within_caps
from kit.testing.invariants.case import BuiltIn
from kit.testing.invariants.effects import complete, irreversible, nothing_left, once
from kit.testing.invariants.endings import asks_well, completes, ends, says_so
from kit.testing.invariants.ledger import true_ledger, unwound
from kit.testing.invariants.turning import forward_only, heeds_cancellation, keeps_deadline
from kit.testing.invariants.undoing import latest_first, settles_first, undoes_what_happened

BUILT_IN: Final[tuple[BuiltIn, ...]] = (
    BuiltIn("at most one live effect per key", "no key has two effects that stand", once),
    BuiltIn(
        "completed means every effect is there",
        "each step of a completed run that it calls done stands; nothing after its pivot, and nothing that was held "
        "back for the commit, is missing; of a step that it does not call done nothing stands",
        complete,
    ),
    BuiltIn(
        "ended without success: nothing is left",
        "after a run that was compensated or cancelled, or of another workflow that failed, nothing stands but what a "
        "person decided to leave",
        nothing_left,
    ),
    BuiltIn(
        "nothing irreversible before the commit",
        "an effect that cannot be taken back stands only when everything that could turn the saga round stands, and "
        "came before it",
        irreversible,
    ),
    BuiltIn(
        "after the commit a saga only goes forward",
        "once its pivot is done, or what was held back has been let go, only a person turns a run round",
        forward_only,
    ),
    BuiltIn(
        "a cancelled saga takes no further step",
        "once it has heard of a cancellation, nothing is begun of what comes before the commit",
        heeds_cancellation,
    ),
    BuiltIn(
        "nothing is begun after the deadline",
        "no attempt of what comes before the commit starts when the saga's deadline is over",
        keeps_deadline,
    ),
    BuiltIn(
        "only what may have happened is undone",
        "no undo reaches a provider for an action that was refused, or for which nothing ever went out",
        undoes_what_happened,
    ),
    BuiltIn(
        "nothing is undone while a step is at work",
        "each step of a saga that turns round has ended before the first undo begins",
        settles_first,
    ),
    BuiltIn(
        "the latest step is undone first",
        "undos begin in the reverse order of the steps; those begun together may be undone together",
        latest_first,
    ),
    BuiltIn(
        "the ledger says what is true",
        "done rows stand, settled others do not; no effect is without a row; rows stay open only where somebody still "
        "has to look",
        true_ledger,
    ),
    BuiltIn(
        "without a fault it completes",
        "nothing went wrong: then it ends as its subject says, and reaches every call that there is to be faulted",
        completes,
    ),
    BuiltIn(
        "every run ends, or waits for a person",
        "never stuck; once all is well a person's answers end it; a saga fails only by bad input before its first "
        "step, or with what a person left in place",
        ends,
    ),
    BuiltIn(
        "what a person is asked is true",
        "each task has a question, an owner and choices; the run is found by its memo for as long as it asks; what a "
        "task says did not happen does not stand",
        asks_well,
    ),
    BuiltIn(
        "the summary says how it ended",
        "the status of a closed saga is its ending, and one that has turned round calls every step undone, or never "
        "done",
        says_so,
    ),
    BuiltIn(
        "a refusal for good is not asked for again",
        "but once more, after an attempt that nobody heard of",
        refused_once,
    ),
    BuiltIn(
        "attempts stay within the caps",
        "nothing that may turn the run round fails more often than its retry rules allow; waiting costs nothing",
        within_caps,
    ),
    BuiltIn(
        "terminated, then unwound: nothing is left",
        "the unwind of a terminated run ends, and nothing that run did stands but what a person left",
        unwound,
    ),
)
"""Asked of every subject."""
