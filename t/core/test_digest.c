/*
 * SHA-256, by the examples of FIPS 180-4, and two digests in one go.
 */

#include "entra_digest.h"
#include "guard.h"


static const struct {
    entra_str_t  text;
    const char  *digest;
} rows[] = {
    { ENTRA_STR_INIT(""),
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { ENTRA_STR_INIT("abc"),
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { ENTRA_STR_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};


static void
is_digest(const entra_digest_t *digest, const char *hex, const char *name)
{
    char    text[2 * sizeof(digest->bytes) + 1];
    size_t  i;

    for (i = 0; i < sizeof(digest->bytes); i++) {
        snprintf(&text[2 * i], 3, "%02x", digest->bytes[i]);
    }

    tap_is_text(text, hex, name);
}


static bool
same(const entra_digest_t *one, const entra_digest_t *two)
{
    return memcmp(one->bytes, two->bytes, sizeof(one->bytes)) == 0;
}


/* around the 64 bytes of a block, and wherever a token's last dot may be */

static void
test_both(entra_digester_t *digester)
{
    bool            ok;
    char            bytes[200];
    size_t          i, n, len;
    entra_str_t     text;
    entra_digest_t  all, first, got_all, got_first;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char) (i * 7);
    }

    ok = true;

    for (len = 0; len <= sizeof(bytes); len++) {
        text = guard((entra_str_t) { bytes, len });

        for (n = 0; n <= len; n++) {
            ok = ok
                 && entra_digest(text, &all)
                 && entra_digest((entra_str_t) { text.data, n }, &first)
                 && entra_digest_both(digester, text, n, &got_all, &got_first)
                 && same(&all, &got_all) && same(&first, &got_first);
        }
    }

    tap_ok(ok, "both at once are what each alone is");
}


int
main(void)
{
    size_t             i;
    entra_digest_t     digest, first;
    entra_digester_t  *digester;

    digester = entra_digester_create();
    tap_ok(digester != NULL, "a digester");

    for (i = 0; i < tap_count(rows); i++) {
        tap_ok(entra_digest(guard(rows[i].text), &digest), "a digest");
        is_digest(&digest, rows[i].digest, "as the standard says");

        tap_ok(entra_digest_both(digester, guard(rows[i].text), 0, &digest,
                                 &first), "by a digester");
        is_digest(&digest, rows[i].digest, "the same");
        is_digest(&first, rows[0].digest, "and of nothing");
    }

    test_both(digester);

    entra_digester_free(digester);
    entra_digester_free(NULL);

    return tap_done();
}
