/* Assertions: what the code says of itself, checked while it runs. They are on where NDEBUG is not
 * defined (ACTIONQUEUE_DEBUG=1, and every test build of the core), and cost nothing elsewhere.
 *
 * A failed assertion prints its expression and place and ends the process: the state in memory is
 * not what the code takes it for, and going on could write that to the disk. It is never the answer
 * to bad input, to a failed system call, or to what another process does to a file: those have
 * statuses.
 *
 * Headers that Cython or the tests' door read never depend on NDEBUG, because Python compiles
 * extension modules with it whatever the core is compiled with. So what exists only for assertions
 * stands in `check.h` of each room, in `*internal.h` and in os/thread.h. */
#ifndef AQW_ASSERT_H
#define AQW_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

/* AQW_ASSERT(expression): the expression is true here. It may name functions that are only declared
 * in builds without assertions, where it is read and not evaluated.
 * AQW_DEBUG(expression): evaluates it for its effects, and only in builds with assertions. */
#if defined(NDEBUG)

#define AQW_ASSERT(expression) ((void)sizeof(!(expression)))
#define AQW_DEBUG(expression) ((void)0)

#else

static inline void aqw_assert_failed(const char *expression, const char *file, int line) {
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    (void)fflush(stderr);
    abort();
}

#define AQW_ASSERT(expression) \
    ((expression) ? (void)0 : aqw_assert_failed(#expression, __FILE__, __LINE__))
#define AQW_DEBUG(expression) ((void)(expression))

#endif
#endif
