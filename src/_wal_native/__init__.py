"""The engine room: a C core and thin Cython doors onto it. Private; use :mod:`actionqueue`.

The doors raise the exceptions of :mod:`actionqueue.errors`, so that package is imported first.
"""

import actionqueue  # noqa: F401  (see above; it imports the doors itself)
