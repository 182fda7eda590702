"""The demo: workers under ``aq.Scheduler``, and a supervisor that makes their life hard.

==============  ================================================================================
``process``     start reading here: the scheduler's process, a loop over ``aq.Scheduler``
``tasks``       what there is to do, and the budget for it
``worker``      the processes that do the work
``crew``        the scheduler's side of them: pipes, and new workers for those that die
``run``         the supervisor: starts and kills the scheduler, records what it acknowledged
``record``      that record, and the search for it in the log
``proof``       what the log proves in the end
``speed``       how fast this machine takes jobs through a queue
``report``      what the user sees
``files``       which files there are, and which of them make trouble
``messages``    the messages between the processes
==============  ================================================================================
"""
