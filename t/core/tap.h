/*
 * Test Anything Protocol, as much of it as the core's tests need.  A test
 * program is a row of static functions called from main(), which ends with
 * "return tap_done();".
 */

#ifndef TAP_H
#define TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "entra_reason.h"


#define tap_count(table)  (sizeof(table) / sizeof((table)[0]))


static unsigned  tap_run;
static unsigned  tap_failed;


__attribute__((format(printf, 1, 2)))
static inline void
tap_diag(const char *format, ...)
{
    va_list  args;

    printf("# ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}


__attribute__((format(printf, 2, 3)))
static inline bool
tap_ok(bool ok, const char *format, ...)
{
    char     name[512], *c;
    va_list  args;

    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);

    for (c = name; *c; c++) {
        if (*c == '#' || *c == '\n') {
            /* the one would be a directive, the other the end */
            *c = '?';
        }
    }

    tap_run++;
    tap_failed += !ok;

    printf("%s %u - %s\n", ok ? "ok" : "not ok", tap_run, name);

    return ok;
}


/* bytes as a line of diagnostics can hold them */

static inline void
tap_show(const char *what, entra_str_t s)
{
    size_t         i;
    unsigned char  c;

    printf("# %9s: ", what);

    if (s.data == NULL) {
        printf("(none)");
    }

    for (i = 0; i < s.len && i < 2000; i++) {
        c = (unsigned char) s.data[i];

        if (c >= ' ' && c < 0x7f && c != '\\') {
            putchar(c);

        } else {
            printf("\\x%02x", c);
        }
    }

    printf("\n");
}


static inline bool
tap_is_str(entra_str_t got, entra_str_t want, const char *name)
{
    if (tap_ok(entra_str_eq(got, want), "%s", name)) {
        return true;
    }

    tap_show("got", got);
    tap_show("expected", want);

    return false;
}


static inline bool
tap_is_text(const char *got, const char *want, const char *name)
{
    bool  ok;

    ok = got == NULL || want == NULL ? got == want : strcmp(got, want) == 0;

    if (!tap_ok(ok, "%s", name)) {
        tap_diag("got: %s", got ? got : "(none)");
        tap_diag("expected: %s", want ? want : "(none)");
    }

    return ok;
}


static inline bool
tap_is_size(size_t got, size_t want, const char *name)
{
    if (tap_ok(got == want, "%s", name)) {
        return true;
    }

    tap_diag("got: %zu, expected: %zu", got, want);

    return false;
}


static inline const char *
tap_key(entra_reason_t reason)
{
    return (unsigned) reason < ENTRA_REASONS
           ? entra_reason_info(reason)->key.data : "no reason at all";
}


static inline bool
tap_is_reason(entra_reason_t got, entra_reason_t want, const char *name)
{
    if (tap_ok(got == want, "%s: %s", name, tap_key(want))) {
        return true;
    }

    tap_diag("got: %s, expected: %s", tap_key(got), tap_key(want));

    return false;
}


/* reason and explanation; want NULL: none, "*": any, it is not the point */

static inline bool
tap_is_refusal(entra_reason_t got, const char *got_why, entra_reason_t want,
    const char *want_why, const char *name)
{
    bool  ok;

    ok = got == want;

    if (want_why == NULL) {
        ok = ok && got_why == NULL;

    } else if (strcmp(want_why, "*") != 0) {
        ok = ok && got_why != NULL && strcmp(got_why, want_why) == 0;
    }

    if (!tap_ok(ok, "%s: %s", name, tap_key(want))) {
        tap_diag("got: %s (%s)", tap_key(got), got_why ? got_why : "");
        tap_diag("expected: %s (%s)", tap_key(want), want_why ? want_why : "");
    }

    return ok;
}


/* a failure of the test, not of what it tests */

__attribute__((noreturn))
static inline void
tap_bail(const char *why)
{
    printf("Bail out! %s\n", why);
    exit(1);
}


static inline int
tap_done(void)
{
    printf("1..%u\n", tap_run);

    if (tap_failed) {
        tap_diag("%u of %u failed", tap_failed, tap_run);
    }

    return tap_failed != 0;
}


#endif /* TAP_H */
