"""Errors that a user can act on; each carries the exit code of the command line."""

from collections.abc import Sequence


class InterlockError(Exception):
    """Base of every error that is reported without a traceback."""

    exit_code = 1


class UsageError(InterlockError):
    """The command or call itself is wrong: an unknown name, options that contradict each other."""

    exit_code = 2


class NotExportable(UsageError):
    """The policy is sound, but no bundle can hold it: a bundle answers single requests, one action each."""


class BadInput(InterlockError):
    """A file, scenario or request is wrong. Tells every problem found, never only the first.

    The message lists the first 20 problems and counts the rest; ``problems`` holds all of them.

    Args:
        source: the file, scenario or request that was read.
        problems: one sentence per problem: row, field, value and what was expected, with its unit.
    """

    exit_code = 3
    listed = 20

    def __init__(self, source: str, problems: Sequence[str]):
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = _listing(self.problems, self.listed)
        super().__init__(f"{source}: {count} problem{'s' if count != 1 else ''}\n{lines}")


class BrokenEnvironment(InterlockError):
    """A simulator returned what no simulator may: a number that is not finite, or an episode without an end."""


class NotTrusted(InterlockError):
    """A policy's proposal does not count: the request is too far from what the policy was trained on."""


class Diverged(InterlockError):
    """Training came to numbers that are not finite; its last checkpoint is from before that."""


class ProvenInfeasible(InterlockError):
    """No decision or policy can satisfy the constraints, and this has been proven."""

    exit_code = 4


class InfeasibleActionSet(ProvenInfeasible):
    """No action satisfies the hard constraints of a state; names the constraints that contradict each other.

    The message lists the first 20 rows of the batch and counts the rest; ``problems`` holds all of them.

    Args:
        problems: one sentence per row of the batch: the constraints, their limits, and the row.
    """

    listed = 20

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        super().__init__(f"no action is feasible\n{_listing(self.problems, self.listed)}")


class StageInfeasible(InterlockError):
    """The program of a stage has no solution, or the solver found none; the program has been saved.

    Args:
        stage: from 1.
        scenario: which path or opening, in words.
        reason: the solver's status.
        saved: file that holds the program, state, noise and targets; empty if it could not be written.
        row: of the batch that was being solved; whoever knows the rows turns it into a scenario.
    """

    def __init__(self, stage: int, scenario: str, reason: str, saved: str = "", row: int | None = None):
        self.stage, self.scenario, self.reason, self.saved, self.row = stage, scenario, reason, saved, row
        where = f"; the program is in {saved}" if saved else ""
        super().__init__(f"stage {stage}, {scenario}: {reason}{where}")


class MissingExtra(InterlockError):
    """An optional dependency is needed for what was asked."""

    exit_code = 2

    def __init__(self, purpose: str, extra: str):
        super().__init__(f"{purpose} needs an optional dependency: pip install 'interlock[{extra}]'")


class Interrupted(InterlockError):
    """The user stopped the run; its checkpoint has been written."""

    exit_code = 130


def _listing(problems: Sequence[str], listed: int) -> str:
    lines = [f"  - {problem}" for problem in problems[:listed]]
    if len(problems) > listed:
        lines.append(f"  ... and {len(problems) - listed} more")
    return "\n".join(lines)
