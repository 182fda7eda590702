"""The C core as its tests use it: the door, drivers, an I/O table in memory, and the log's
model.
"""
