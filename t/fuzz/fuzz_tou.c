/*
 * Terms-of-Use redirects: there is one if and only if the query has one
 * redirect_uri and that is allowed, which a pattern says here; it is that URI
 * and the two parameters, and nothing else.
 */

#define _GNU_SOURCE                     /* memmem() */

#include <ctype.h>
#include <regex.h>

#include "entra_tou.h"
#include "fuzz.h"


#define HOSTS  2
#define NAME   "redirect_uri"


static const entra_str_t  hosts[HOSTS] = {
    ENTRA_STR_INIT("fleet.example.com"), ENTRA_STR_INIT("[::1]:8443")
};

/* visible, every "%" followed by two digits, no userinfo, no fragment */

static const char  allowed[] =
    "^(https://(fleet\\.example\\.com|\\[::1\\]:8443)"
    "|ms-(appx-web|aadj-redir)://"
    "([a-z0-9._-]+|\\[[0-9a-f.]*:[0-9a-f:.]*\\])(:[0-9]*)?)"
    "([/?]([]!\"$&-[^-~]|%[0-9a-f][0-9a-f])*)?$";


/* a form's text, decoded strictly into out; false: none, or too long */

static bool
fuzz_decode(entra_str_t text, char *out)
{
    char         hex[3];
    size_t       i;
    const char  *end;

    end = out + ENTRA_TOU_MAX_URI;

    for (i = 0; i < text.len; i++, out++) {

        if (out == end || text.data[i] == '+') {
            return false;
        }

        *out = text.data[i];

        if (*out == '%') {

            if (text.len - i < 3 || !isxdigit((unsigned char) text.data[i + 1])
                || !isxdigit((unsigned char) text.data[i + 2]))
            {
                return false;
            }

            hex[0] = text.data[i + 1];
            hex[1] = text.data[i + 2];
            hex[2] = '\0';
            *out = (char) strtol(hex, NULL, 16);
            i += 2;
        }

        if ((unsigned char) *out <= ' ' || (unsigned char) *out >= 0x7f) {
            return false;
        }
    }

    *out = '\0';

    return true;
}


/* the decoded value of the one redirect_uri */

static bool
fuzz_uri(entra_str_t query, char *out)
{
    char         name[ENTRA_TOU_MAX_URI + 1];
    size_t       i, found, equals;
    bool         ok;
    entra_str_t  pair, value;

    found = 0;
    ok = false;
    pair = query;
    pair.len = 0;

    for (i = 0; i <= query.len; i++) {

        if (i < query.len && query.data[i] != '&') {
            pair.len++;
            continue;
        }

        for (equals = 0; equals < pair.len && pair.data[equals] != '=';
             equals++)
        {
            /* void */
        }

        if (fuzz_decode((entra_str_t) { pair.data, equals }, name)
            && strcmp(name, NAME) == 0)
        {
            value = entra_str_from(pair, equals < pair.len ? equals + 1
                                                           : equals);
            found++;
            ok = fuzz_decode(value, out);
        }

        if (i < query.len) {
            pair = (entra_str_t) { query.data + i + 1, 0 };
        }
    }

    return ok && found == 1;
}


static bool
fuzz_allowed(const char *uri)
{
    static bool     compiled;
    static regex_t  regex;

    if (!compiled) {
        fuzz_claim(regcomp(&regex, allowed,
                           REG_EXTENDED|REG_NOSUB|REG_ICASE) == 0);
        compiled = true;
    }

    return regexec(&regex, uri, 0, NULL, 0) == 0;
}


static void
fuzz_location(entra_str_t location, const char *uri)
{
    size_t       i, n;
    entra_str_t  rest;

    n = strlen(uri);

    fuzz_claim(location.len > n && memcmp(location.data, uri, n) == 0);
    fuzz_claim(location.data[n] == (strchr(uri, '?') ? '&' : '?'));

    rest = entra_str_from(location, n + 1);

    fuzz_claim(entra_str_starts(rest, entra_lit("error=")));
    fuzz_claim(memmem(rest.data, rest.len, "&error_description=", 19) != NULL);

    for (i = 0, n = 0; i < rest.len; i++) {
        n += rest.data[i] == '&';
        fuzz_claim(isalnum((unsigned char) rest.data[i])
                   || strchr("_=&%-.~", rest.data[i]) != NULL);
    }

    fuzz_claim(n == 1);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool            redirects;
    char            uri[ENTRA_TOU_MAX_URI + 1];
    pool_t          pool;
    entra_str_t     query, location;
    entra_reason_t  reason;

    pool_init(&pool);
    query = fuzz_copy(&pool, data, size);

    /* any, and for an input always the same */
    reason = (entra_reason_t) (1 + size % (ENTRA_REASONS - 1));

    redirects = entra_tou_redirect(query, hosts, HOSTS, reason, &pool.mem,
                                   &location);

    fuzz_claim(redirects == (fuzz_uri(query, uri) && fuzz_allowed(uri)));

    if (redirects) {
        fuzz_location(location, uri);
    }

    pool_free(&pool);

    return 0;
}
