"""What can go wrong in remediation.

RemediationError
├── StepFailed        an action's step has failed for good: the action is undone and a person is told
├── NotYet            a step has to wait for the world; it is tried again, until its time is up
├── Unusable          a version's files are gone, or are not what was registered
├── LeaseLost         another agent works on this action
├── BrokenOff         a person has cancelled the action whose step is under way
├── PromotionRefused  a version must not be made to serve
│   └── PromotionForbidden
├── ScheduleError     a cron expression cannot be understood
├── PolicyInvalid     the file that says who may decide contradicts itself
├── PlaybooksInvalid  a file of playbooks is not what its schema says, or contradicts itself
├── CancelRefused     an action cannot be stopped any more
│   ├── UnknownAction
│   └── CancelForbidden
├── ReasonMissing     a reason that has to say why says nothing
├── AlreadyPaused     somebody else has paused all actions before
├── NotEntitled       the policy does not let this person do it
├── TokenRefused      a token cannot be what it was asked to be, or is not known
├── ChangeRefused     a change contradicts itself or one that is known
├── SilenceRefused    a silence cannot be what it was asked to be
│   └── UnknownSilence
└── FeedbackRefused   there is nothing that this could be said about
    └── UnknownIncident
"""


class RemediationError(Exception):
    """Root of the room. `retriable`: the same call can succeed later without anybody changing its
    arguments."""

    retriable = False


class Unusable(RemediationError):
    """What a version consists of is not there, or is not what was registered: trying again does not help."""


class StepFailed(RemediationError):
    """Trying again would give the same answer."""


class NotYet(RemediationError):
    """Nothing is wrong; what the step waits for has not come. The message says what it is."""

    retriable = True


class LeaseLost(RemediationError):
    """Somebody else took the action over; this agent must leave it alone."""


class BrokenOff(RemediationError):
    """A person has cancelled the action: the step under way is not finished."""


class PromotionRefused(RemediationError):
    """The version is unknown, has no digest, or somebody decided in the meantime."""


class PromotionForbidden(PromotionRefused):
    """The policy does not let this person decide alone which version serves."""


class CancelRefused(RemediationError):
    """The action is over, or is being taken back already."""


class UnknownAction(CancelRefused):
    """There is no action with this id."""


class CancelForbidden(CancelRefused):
    """The policy does not let this person stop the action."""


class FeedbackRefused(RemediationError):
    """The incident is unknown, none of its alerts can be spoken about, or nothing is left to be taken back."""


class UnknownIncident(FeedbackRefused):
    """There is no incident with this id."""


class ScheduleError(RemediationError):
    """The cron expression cannot be understood. The message says what would be right."""


class SilenceRefused(RemediationError):
    """The silence covers nothing, never ends, or gives no reason; or it is over."""


class UnknownSilence(SilenceRefused):
    """There is no silence with this id."""


class ChangeRefused(RemediationError):
    """The change ends before it begins, or its id belongs to another one."""


class PolicyInvalid(RemediationError):
    """The policy cannot be read or could never be fulfilled. The message names the place and what would be right."""


class PlaybooksInvalid(RemediationError):
    """The playbooks cannot be read or contradict themselves. The message names file, playbook, step and value."""


class ReasonMissing(RemediationError):
    """A reason is asked for, and nothing was said."""


class AlreadyPaused(RemediationError):
    """All actions are paused already, for another reason or by somebody else, which stays on record."""


class NotEntitled(RemediationError):
    """The policy names the roles that it takes, and this person has none, or is nobody whom it knows."""


class TokenRefused(RemediationError):
    """The token's scopes or time are none, or it is not known."""
