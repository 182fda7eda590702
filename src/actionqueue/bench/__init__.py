"""``actionqueue bench``: what each fsync policy costs on a certain disk, and what it survives.

``modes`` lists the policies, ``rounds`` measures one once, ``comparison`` measures all of them in
turn, ``report`` writes the findings as JSON and CSV, and ``page`` draws them. ``workload``,
``disk``, ``machine`` and ``spread`` also serve the programs in ``benchmarks/``.
"""
