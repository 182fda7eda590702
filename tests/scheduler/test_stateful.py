"""The scheduler against a slow model, step by step, through clean and unclean ends."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.support.scheduler_machine import (
    BudgetRules,
    Checks,
    ClaimRules,
    ControlRules,
    SubscriptionRules,
    TaskRules,
    TimeRules,
)


class SchedulerMachine(
    TaskRules,
    ClaimRules,
    TimeRules,
    ControlRules,
    BudgetRules,
    SubscriptionRules,
    Checks,
):
    """Does the same to a scheduler and to the model."""


class MachineOfSomeRules(SchedulerMachine):
    """Has only some of the rules in each example, so that these come often."""

    has_all_rules = False


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSchedulerWithSomeRules = MachineOfSomeRules.TestCase
TestSchedulerWithSomeRules.settings = settings(TestScheduler.settings, max_examples=50)
