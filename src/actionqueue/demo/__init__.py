"""The demo: a small scheduler on an embedded queue, and a supervisor that makes its life hard.

==============  ================================================================================
``scheduler``   start reading here: how a scheduler uses the queue
``worker``      the processes that do the work
``crew``        the scheduler's side of them: pipes, and new workers for those that die
``process``     the scheduler's process: its loop, and its line to the supervisor
``run``         the supervisor: starts and kills the scheduler, records what it acknowledged
``proof``       what the log proves in the end
``report``      what the user sees
``files``       which files there are, and which of them make trouble
``messages``    the messages between the processes
==============  ================================================================================
"""
