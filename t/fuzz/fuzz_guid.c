/*
 * GUIDs and base64: what was read is written again as it was, but for case
 * and line breaks.
 */

#include "entra_base64.h"
#include "entra_guid.h"
#include "entra_set.h"
#include "fuzz.h"
#include "token.h"


static void
fuzz_guid(entra_str_t text)
{
    char          out[ENTRA_GUID_LEN];
    entra_set_t   set;
    entra_guid_t  guid, list[2];

    if (!entra_guid_parse(text, &guid)) {
        return;
    }

    fuzz_claim(entra_guid_write(&guid, out) == out + ENTRA_GUID_LEN);
    fuzz_claim(entra_str_ieq(text, (entra_str_t) { out, ENTRA_GUID_LEN }));

    list[0] = guid;
    memset(&list[1], 0, sizeof(entra_guid_t));
    set = entra_set_build(list, 2);
    fuzz_claim(entra_set_has(&set, &guid));
}


static void
fuzz_base64url(pool_t *pool, entra_str_t text)
{
    char    *out;
    size_t   len;

    out = pool_alloc(pool, ENTRA_BASE64_DECODED_MAX(text.len));

    if (entra_base64url_decode(text, out, &len)) {
        fuzz_claim(entra_str_eq(text,
            token_base64url(pool, (entra_str_t) { out, len })));
    }
}


static void
fuzz_base64(pool_t *pool, entra_str_t text)
{
    char    *out, *bare;
    size_t   i, len, n;

    out = pool_alloc(pool, ENTRA_BASE64_DECODED_MAX(text.len));

    if (!entra_base64_decode(text, out, &len)) {
        return;
    }

    bare = pool_alloc(pool, text.len + 1);
    n = 0;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] != '\r' && text.data[i] != '\n') {
            bare[n++] = text.data[i];
        }
    }

    fuzz_claim(entra_str_eq((entra_str_t) { bare, n },
                   token_base64(pool, (entra_str_t) { out, len })));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t       pool;
    entra_str_t  text;

    pool_init(&pool);
    text = fuzz_copy(&pool, data, size);

    fuzz_guid(text);
    fuzz_base64url(&pool, text);
    fuzz_base64(&pool, text);

    pool_free(&pool);

    return 0;
}
