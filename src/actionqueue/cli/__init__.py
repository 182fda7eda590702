"""The command line, ``actionqueue`` or ``python -m actionqueue``.

It needs the ``cli`` extra: click and rich.
"""
