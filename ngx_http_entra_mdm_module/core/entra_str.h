/*
 * A view of bytes: pointer and length, not owned, not NUL-terminated.
 * Every core function takes its text this way.
 */

#ifndef ENTRA_STR_H
#define ENTRA_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>


typedef struct {
    const char  *data;
    size_t       len;
} entra_str_t;


/* a literal, in an expression and in a static initializer */
#define entra_lit(text)       ((entra_str_t) { (text), sizeof(text) - 1 })
#define ENTRA_STR_INIT(text)  { (text), sizeof(text) - 1 }

#define ENTRA_STR_NONE        ((entra_str_t) { NULL, 0 })


static inline entra_str_t
entra_str(const char *text)
{
    return (entra_str_t) { text, strlen(text) };
}


static inline char
entra_lower(char c)
{
    return (char) (c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}


static inline bool
entra_str_eq(entra_str_t a, entra_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


/* ASCII letters only: Unicode folding would let U+212A pass for "k" */

static inline bool
entra_str_ieq(entra_str_t a, entra_str_t b)
{
    size_t  i;

    if (a.len != b.len) {
        return false;
    }

    for (i = 0; i < a.len; i++) {
        if (entra_lower(a.data[i]) != entra_lower(b.data[i])) {
            return false;
        }
    }

    return true;
}


static inline bool
entra_str_starts(entra_str_t s, entra_str_t prefix)
{
    return s.len >= prefix.len
           && entra_str_eq((entra_str_t) { s.data, prefix.len }, prefix);
}


/* nothing is added to NULL, which a view of no bytes may have */

static inline entra_str_t
entra_str_from(entra_str_t s, size_t offset)
{
    return (entra_str_t) { offset ? s.data + offset : s.data, s.len - offset };
}


/* cuts blank, tab, CR, LF, VT and FF off both ends */

static inline entra_str_t
entra_str_trim(entra_str_t s)
{
    while (s.len && (s.data[0] == ' ' || (s.data[0] >= 9 && s.data[0] <= 13))) {
        s.data++;
        s.len--;
    }

    while (s.len && (s.data[s.len - 1] == ' '
                     || (s.data[s.len - 1] >= 9 && s.data[s.len - 1] <= 13)))
    {
        s.len--;
    }

    return s;
}


#endif /* ENTRA_STR_H */
