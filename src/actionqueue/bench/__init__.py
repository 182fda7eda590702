"""What ``actionqueue bench`` is made of: which fsync policy costs what on a certain disk, and what each survives.

``modes`` says what is compared, ``rounds`` measures one mode once, ``comparison`` measures all of
them in turn, ``report`` is what was found, as JSON and CSV, and ``page`` draws it. ``workload``,
``disk``, ``machine`` and ``spread`` also serve the programs in ``benchmarks/``.
"""
