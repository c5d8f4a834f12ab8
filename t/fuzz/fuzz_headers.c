/*
 * Request headers: what Accept weighs does not depend on order, case and
 * blanks; a Bearer token is the end of its header, and nothing is left out.
 */

#include <ctype.h>

#include "entra_accept.h"
#include "entra_bearer.h"
#include "fuzz.h"


#define TYPE   "application/json"
#define OTHER  "text/html;q=1.0, */*, "


/*** Accept ***/


static unsigned
fuzz_weight(entra_str_t value)
{
    return entra_accept_weight(value, entra_lit(TYPE));
}


static entra_str_t
fuzz_with(pool_t *pool, const char *before, entra_str_t value,
    const char *after)
{
    char    *text;
    size_t   len, n;

    n = strlen(before);
    len = n + value.len + strlen(after);
    text = pool_alloc(pool, len + 1);

    memcpy(text, before, n);
    memcpy(text + n, value.len ? value.data : "", value.len);
    strcpy(text + n + value.len, after);

    return (entra_str_t) { text, len };
}


/* from the last element to the first */

static entra_str_t
fuzz_reversed(pool_t *pool, entra_str_t value)
{
    char    *text;
    size_t   i, end, n;

    text = pool_alloc(pool, value.len + 1);
    end = value.len;
    n = 0;

    for (i = value.len + 1; i-- > 0; /* void */) {

        if (i == 0 || value.data[i - 1] == ',') {

            if (end > i) {
                memcpy(text + n, value.data + i, end - i);
                n += end - i;
            }

            if (i != 0) {
                text[n++] = ',';
                end = i - 1;
            }
        }
    }

    fuzz_claim(n == value.len);

    return (entra_str_t) { text, n };
}


/* in the other case, with blanks around what separates */

static entra_str_t
fuzz_spread(pool_t *pool, entra_str_t value)
{
    char    *text, c;
    size_t   i, n;

    text = pool_alloc(pool, 3 * value.len + 1);

    for (i = 0, n = 0; i < value.len; i++) {
        c = value.data[i];

        if (c == ',' || c == ';') {
            text[n++] = ' ';
            text[n++] = c;
            text[n++] = '\t';
            continue;
        }

        text[n++] = c >= 'a' && c <= 'z' ? (char) (c - 0x20) : entra_lower(c);
    }

    return (entra_str_t) { text, n };
}


/* one to three digits behind the point are thousandths */

static void
fuzz_quality(pool_t *pool, entra_str_t value)
{
    int       digits;
    size_t    i;
    unsigned  weight, n;

    static const unsigned  unit[] = { 100, 10, 1 };

    for (i = 0, n = 0; i < value.len; i++) {
        n = n * 31 + (unsigned char) value.data[i];
    }

    digits = 1 + (int) (n % 3);
    weight = n / 3 % (1000 / unit[digits - 1]);

    fuzz_claim(fuzz_weight(entra_str(pool_text(pool, TYPE ";q=0.%0*u", digits,
                                               weight)))
               == weight * unit[digits - 1]);
}


static void
fuzz_accept(pool_t *pool, entra_str_t value)
{
    unsigned  weight;

    weight = fuzz_weight(value);

    fuzz_claim(weight <= 1000);
    fuzz_claim(fuzz_weight(fuzz_reversed(pool, value)) == weight);
    fuzz_claim(fuzz_weight(fuzz_spread(pool, value)) == weight);
    fuzz_claim(fuzz_weight(fuzz_with(pool, OTHER, value, "")) == weight);
    fuzz_claim(fuzz_weight(fuzz_with(pool, "", value, "," TYPE ";q=0.000"))
               == weight);
    fuzz_claim(fuzz_weight(fuzz_with(pool, TYPE ";q=0.5,", value, ""))
               == (weight > 500 ? weight : 500));
    fuzz_claim(fuzz_weight(fuzz_with(pool, "", value, "," TYPE)) == 1000);
}


/*** Authorization ***/


static void
fuzz_bearer(entra_str_t value)
{
    size_t           i;
    const char      *why;
    entra_str_t      token;
    entra_reason_t   reason;

    why = NULL;
    reason = entra_bearer_token(value, &token, &why);

    for (i = 0; i < value.len && i < 6
                && tolower((unsigned char) value.data[i]) == "bearer"[i]; i++)
    {
        /* the scheme */
    }

    if (i == 6) {
        while (i < value.len && value.data[i] == ' ') {
            i++;
        }
    }

    if (i > 6 && i < value.len) {
        fuzz_claim(reason == ENTRA_OK);
        fuzz_claim(token.data == value.data + i);
        fuzz_claim(token.len == value.len - i);
        return;
    }

    fuzz_claim(reason == ENTRA_NO_TOKEN && why != NULL);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t       pool;
    entra_str_t  value;

    pool_init(&pool);
    value = fuzz_copy(&pool, data, size);

    fuzz_accept(&pool, value);
    fuzz_quality(&pool, value);
    fuzz_bearer(value);

    pool_free(&pool);

    return 0;
}
