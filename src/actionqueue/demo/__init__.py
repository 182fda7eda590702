"""The demo: a small scheduler on an embedded queue, and a supervisor that makes its life hard.

==============
=======================================================================================================
``scheduler`` start reading here: how a scheduler uses the queue ``worker`` the processes that do
the work ``crew`` the scheduler's side of them: pipes, and replacements for those that die
``process`` the scheduler's process: its loop, and its line to the supervisor ``run`` the
supervisor: starts the scheduler, kills it, keeps an independent record of what it acknowledged
``proof`` what the log proves in the end ``report`` what a person sees ``files`` which files there
are, and which of them make trouble ``messages`` what the processes tell each other ==============
=======================================================================================================
"""
