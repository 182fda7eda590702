"""Everything that tests share; no test is in here.

This package's own modules know queues, commands and the command line as users see them, and hold
the slow models. ``core`` drives the C core through a door of its own, ``crash`` breaks queues and
judges what is left, and ``fuzz`` builds and runs the fuzz targets.
"""
