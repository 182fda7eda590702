"""The fuzz targets' programs: how they are built, run and given seeds; and the targets in
Python.
"""
