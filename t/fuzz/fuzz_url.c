/*
 * URLs, issuers and what is escaped: views stay within the text, and nothing
 * that would end a header, a log line, an element or a label comes out.
 */

#include "entra_escape.h"
#include "entra_issuer.h"
#include "entra_url.h"
#include "fuzz.h"


static void
fuzz_url(entra_str_t text)
{
    size_t       i;
    entra_url_t  url;

    if (!entra_url_parse(text, &url)) {
        return;
    }

    fuzz_claim(fuzz_within(url.scheme, text) && url.scheme.len);
    fuzz_claim(fuzz_within(url.host, text));

    for (i = 0; i < text.len; i++) {
        fuzz_claim((unsigned char) text.data[i] > ' ');
        fuzz_claim(text.data[i] != '\\');
    }

    for (i = 0; i < url.host.len; i++) {
        fuzz_claim(strchr("/?#@%", url.host.data[i]) == NULL);
    }
}


static void
fuzz_escape(pool_t *pool, entra_str_t text)
{
    size_t   i;
    char    *out, *p, *end;

    char  *(*escape[])(entra_str_t, char *) = {
        entra_escape_header, entra_escape_query, entra_escape_log,
        entra_escape_xml
    };

    out = pool_alloc(pool, text.len * ENTRA_ESCAPE_MAX + 1);

    for (i = 0; i < tap_count(escape); i++) {
        end = escape[i](text, out);
        fuzz_claim(end >= out && end <= out + text.len * ENTRA_ESCAPE_MAX);

        for (p = out; p < end; p++) {

            if (escape[i] == entra_escape_xml) {
                fuzz_claim(*p != '<' && *p != '>' && *p != '"' && *p != '\r');
                continue;
            }

            fuzz_claim((unsigned char) *p >= ' ' && (unsigned char) *p < 0x7f);
            fuzz_claim(*p != '"' || escape[i] == entra_escape_header);
        }
    }
}


/* between the quotes of a label nothing ends it */

static void
fuzz_label(pool_t *pool, entra_str_t text)
{
    char  *out, *p, *end;

    out = pool_alloc(pool, text.len * ENTRA_ESCAPE_MAX + 1);
    end = entra_escape_label(text, out);
    fuzz_claim(end <= out + text.len * ENTRA_ESCAPE_MAX);

    for (p = out; p < end; p++) {
        fuzz_claim(*p != '"' && *p != '\n');

        if (*p == '\\') {
            p++;
            fuzz_claim(p < end && memchr("\\\"n", *p, 3) != NULL);
        }
    }
}


static void
fuzz_issuer(entra_str_t text)
{
    entra_str_t  tid;

    tid = entra_lit("6d8769e6-0f8b-418d-b385-1a53968781c9");

    (void) entra_issuer_matches(text, text, tid);
    (void) entra_issuer_key_covers(text, text, tid);

    if (entra_issuer_matches(entra_lit("https://h/{tid}/"), text, tid)) {
        fuzz_claim(entra_str_eq(text, entra_lit("https://h/"
                       "6d8769e6-0f8b-418d-b385-1a53968781c9/")));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t       pool;
    entra_str_t  text;

    pool_init(&pool);
    text = fuzz_copy(&pool, data, size);

    fuzz_url(text);
    fuzz_escape(&pool, text);
    fuzz_label(&pool, text);
    fuzz_issuer(text);

    pool_free(&pool);

    return 0;
}
