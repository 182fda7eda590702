"""Builds the wheels for every system here, checks what is in them, and runs them.

``build`` makes them with a cross compiler (``make wheels``), ``check`` reads them, and ``run``
installs each into a Python of its own system and runs the tests that apply there (``make
test-wheels``). ``targets`` is the table of systems, and ``interpreters`` fetches their Pythons.
"""
