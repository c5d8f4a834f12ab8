/*
 * Key sets: files of whole documents, then the choice of a key and the
 * verification by it.
 *
 * data/jwks/valid/NAME.json is a set that is taken; NAME.keys, where there is
 * one, has a line "KID: usable" or "KID: WHY NOT" for each of its keys.
 * data/jwks/invalid/NAME.json is none, for the reason in NAME.error.
 */

#define _GNU_SOURCE                     /* memmem() */

#include "entra_jwks.h"
#include "files.h"
#include "guard.h"
#include "token.h"


#define NO_COVER  "its issuer does not cover the token's"


static pool_t  pool;


/* "dir/name" with another ending */

static entra_str_t
companion(const char *folder, const char *name, const char *ending)
{
    int  stem;

    stem = (int) (strrchr(name, '.') - name);

    return files_read(&pool, pool_text(&pool, "%s/%.*s%s", folder, stem, name,
                                       ending));
}


/* the next line of text, without its end; data NULL: none */

static entra_str_t
next_line(entra_str_t *text)
{
    const char   *end;
    entra_str_t   line;

    end = text->len ? memchr(text->data, '\n', text->len) : NULL;

    if (end == NULL) {
        return ENTRA_STR_NONE;
    }

    line = (entra_str_t) { text->data, (size_t) (end - text->data) };
    *text = entra_str_from(*text, line.len + 1);

    return line;
}


/*** files ***/


/* is there a key of that kid which is usable, or is not for that reason? */

static bool
has_key(const entra_jwks_t *jwks, entra_str_t kid, entra_str_t want)
{
    size_t              i;
    const char         *why;
    const entra_key_t  *key;

    for (i = 0; i < entra_jwks_count(jwks); i++) {
        key = entra_jwks_key(jwks, i);
        why = entra_key_unusable(key);

        if (entra_str_eq(entra_key_kid(key), kid)
            && entra_str_eq(entra_str(why ? why : "usable"), want))
        {
            return true;
        }
    }

    return false;
}


static void
check_keys(const entra_jwks_t *jwks, entra_str_t list, const char *name)
{
    size_t        i, n, usable;
    entra_str_t   line, kid, want;
    const char   *colon;

    n = 0;
    usable = 0;

    for (line = next_line(&list); line.data != NULL; line = next_line(&list)) {
        colon = memmem(line.data, line.len, ": ", 2);
        if (colon == NULL) {
            tap_bail("a line of a .keys file has no colon");
        }

        kid = (entra_str_t) { line.data, (size_t) (colon - line.data) };
        want = entra_str_from(line, kid.len + 2);

        n++;
        usable += entra_str_eq(want, entra_lit("usable"));

        if (!tap_ok(has_key(jwks, kid, want), "%s: key \"%.*s\": %.*s", name,
                    (int) kid.len, kid.data, (int) want.len, want.data))
        {
            for (i = 0; i < entra_jwks_count(jwks); i++) {
                if (entra_str_eq(entra_key_kid(entra_jwks_key(jwks, i)), kid)) {
                    tap_diag("got: %s",
                             entra_key_unusable(entra_jwks_key(jwks, i)));
                }
            }
        }
    }

    tap_is_size(entra_jwks_count(jwks), n, "as many keys as listed");
    tap_is_size(entra_jwks_usable(jwks), usable, "as many usable as listed");
}


static void
valid_file(const char *folder, const char *name)
{
    const char    *error;
    entra_str_t    list;
    entra_jwks_t  *jwks;

    jwks = entra_jwks_parse(guard(companion(folder, name, ".json")), &error);

    if (tap_ok(jwks != NULL && entra_jwks_usable(jwks) > 0, "%s: taken",
               name))
    {

        list = companion(folder, name, ".keys");

        if (list.data != NULL) {
            check_keys(jwks, list, name);
        }

    } else {
        tap_diag("got: %s", error);
    }

    entra_jwks_free(jwks);
    pool_free(&pool);
}


static void
invalid_file(const char *folder, const char *name)
{
    const char    *error;
    entra_str_t    want;
    entra_jwks_t  *jwks;

    want = companion(folder, name, ".error");
    want = next_line(&want);

    if (want.data == NULL) {
        tap_bail("an invalid key set without its .error file");
    }

    error = NULL;
    jwks = entra_jwks_parse(guard(companion(folder, name, ".json")), &error);

    tap_ok(jwks == NULL, "%s: refused", name);
    tap_is_str(entra_str(error ? error : ""), want, name);

    entra_jwks_free(jwks);
    pool_free(&pool);
}


/*** choosing ***/


static EVP_PKEY  *one, *two, *small;


static const struct {
    const char   *name;
    const char   *kid;
    entra_str_t   iss;
    entra_str_t   tid;
    const char   *found;                /* its n; NULL: none */
    bool          known;
    const char   *why;
} choices[] = {
    { "a kid that is not there", "absent", ENTRA_STR_INIT(""),
      ENTRA_STR_INIT(""), NULL, false, NULL },
    { "an empty kid that is not there", "", ENTRA_STR_INIT(""),
      ENTRA_STR_INIT(""), NULL, false, NULL },
    { "a kid in another case", "PLAIN", ENTRA_STR_INIT(""),
      ENTRA_STR_INIT(""), NULL, false, NULL },
    { "the beginning of a kid", "plai", ENTRA_STR_INIT(""),
      ENTRA_STR_INIT(""), NULL, false, NULL },
    { "a kid and more", "plain2", ENTRA_STR_INIT(""), ENTRA_STR_INIT(""),
      NULL, false, NULL },
    { "a key without an issuer is for all", "plain",
      ENTRA_STR_INIT("anything"), ENTRA_STR_INIT("anyone"), "one", true,
      NULL },
    { "an unusable key stays known", "small",
      ENTRA_STR_INIT(TOKEN_V2 TOKEN_TID "/v2.0"), ENTRA_STR_INIT(TOKEN_TID),
      NULL, true, "it is shorter than 2048 bits" },
    { "a templated key", "entra",
      ENTRA_STR_INIT(TOKEN_V2 TOKEN_TID "/v2.0"), ENTRA_STR_INIT(TOKEN_TID),
      "one", true, NULL },
    { "a templated key, v1", "entra",
      ENTRA_STR_INIT(TOKEN_V1 TOKEN_TID "/"), ENTRA_STR_INIT(TOKEN_TID),
      "one", true, NULL },
    { "a templated key, a strange issuer", "entra",
      ENTRA_STR_INIT("https://evil.example.com/" TOKEN_TID "/v2.0"),
      ENTRA_STR_INIT(TOKEN_TID), NULL, true, NO_COVER },
    { "a templated key, the issuer not looked at", "entra",
      { NULL, 0 }, { NULL, 0 }, "one", true, NULL },
    { "a templated key, an empty issuer", "entra",
      ENTRA_STR_INIT(""), ENTRA_STR_INIT(TOKEN_TID), NULL, true, NO_COVER },
    { "consumers' key for a tenant", "consumer",
      ENTRA_STR_INIT(TOKEN_V2 TOKEN_TID "/v2.0"), ENTRA_STR_INIT(TOKEN_TID),
      NULL, true, NO_COVER },
    { "two of a kid: the unusable one is passed over", "unusable+one",
      ENTRA_STR_INIT(""), ENTRA_STR_INIT(""), "one", true, "*" },
    { "two of a kid: the first of the usable ones", "one+two",
      ENTRA_STR_INIT(""), ENTRA_STR_INIT(""), "one", true, NULL },
    { "two of a kid: the one that covers the issuer", "consumer+two",
      ENTRA_STR_INIT(TOKEN_V2 TOKEN_TID "/v2.0"), ENTRA_STR_INIT(TOKEN_TID),
      "two", true, "*" },
    { "two of a kid: neither covers", "consumer+two",
      ENTRA_STR_INIT(TOKEN_V2 TOKEN_TID_2 "/v2.0"), ENTRA_STR_INIT(TOKEN_TID),
      NULL, true, NO_COVER },
};


static entra_jwks_t *
make_set(void)
{
    const char    *error;
    entra_jwks_t  *jwks;

    jwks = entra_jwks_parse(entra_str(pool_text(&pool,
        "{\"keys\":[%s,%s,%s,%s,%s,%s,%s,%s,%s,%s]}",
        token_jwk(&pool, one, "plain", ""),
        token_jwk(&pool, small, "small", ""),
        token_jwk(&pool, one, "entra", ",\"issuer\":\"" TOKEN_TEMPLATE "\""),
        token_jwk(&pool, two, "consumer",
                  ",\"issuer\":\"" TOKEN_V2 TOKEN_CONSUMER "/v2.0\""),
        token_jwk(&pool, two, "unusable+one", ",\"use\":\"enc\""),
        token_jwk(&pool, one, "unusable+one", ""),
        token_jwk(&pool, one, "one+two", ""),
        token_jwk(&pool, two, "one+two", ""),
        token_jwk(&pool, one, "consumer+two",
                  ",\"issuer\":\"" TOKEN_V2 TOKEN_CONSUMER "/v2.0\""),
        token_jwk(&pool, two, "consumer+two",
                  ",\"issuer\":\"" TOKEN_TEMPLATE "\""))), &error);

    if (jwks == NULL) {
        tap_bail(error);
    }

    return jwks;
}


/* which key it is shows in what it verifies */

static entra_signature_t
verifies(const entra_key_t *key, EVP_PKEY *by)
{
    entra_str_t  signature;

    signature = token_signature(&pool, by, "header.payload");

    return entra_key_verify(key, guard(entra_lit("header.payload")), signature);
}


static void
test_choices(void)
{
    bool                known, ok;
    size_t              i;
    const char         *why;
    entra_jwks_t       *jwks;
    const entra_key_t  *key;

    jwks = make_set();

    for (i = 0; i < tap_count(choices); i++) {
        known = !choices[i].known;
        why = "unset";

        key = entra_jwks_find(jwks, guard(entra_str(choices[i].kid)),
                              choices[i].iss, choices[i].tid, &known, &why);

        ok = known == choices[i].known;

        if (choices[i].found == NULL) {
            ok = ok && key == NULL;

        } else {
            ok = ok && key != NULL
                 && verifies(key, strcmp(choices[i].found, "one") ? two : one)
                    == ENTRA_SIGNATURE_OK;
        }

        tap_ok(ok, "choice: %s", choices[i].name);

        if (choices[i].why == NULL || *choices[i].why != '*') {
            tap_is_text(why, choices[i].why, choices[i].name);
        }
    }

    entra_jwks_free(jwks);
    pool_free(&pool);
}


/* sets of any size and order are searched rightly */

static void
test_many_keys(void)
{
    int             n, i, found;
    bool            known;
    char           *text, kid[32];
    const char     *error, *why;
    entra_jwks_t   *jwks;
    static char     all[64 * 1024];

    text = all + sprintf(all, "{\"keys\":[%s",
                         token_jwk(&pool, one, "k0", ""));

    for (i = 1; i < 1000; i++) {
        n = i * 7919 % 1000;
        text += sprintf(text, ",{\"kid\":\"k%d\"}", n);
    }

    strcpy(text, ",{},{\"kid\":7},\"k1\"]}");

    jwks = entra_jwks_parse(entra_str(all), &error);
    if (jwks == NULL) {
        tap_bail(error);
    }

    found = 0;

    for (i = 0; i < 1100; i++) {
        sprintf(kid, "k%d", i);
        (void) entra_jwks_find(jwks, entra_str(kid), ENTRA_STR_NONE,
                               ENTRA_STR_NONE, &known, &why);
        found += known == (i < 1000);
    }

    tap_is_size((size_t) found, 1100, "a thousand keys in no order");
    tap_is_size(entra_jwks_usable(jwks), 1, "of which one may be used");
    tap_is_size(entra_jwks_nameless(jwks), 3, "and three that have no kid");

    entra_jwks_free(jwks);
    pool_free(&pool);
}


/*** verifying ***/


static void
test_signatures(void)
{
    bool                known, ok;
    char               *bytes;
    size_t              i;
    const char         *why;
    entra_str_t         input, signature, other;
    entra_jwks_t       *jwks;
    const entra_key_t  *key;

    jwks = make_set();
    input = entra_lit("header.payload");
    key = entra_jwks_find(jwks, entra_lit("plain"), ENTRA_STR_NONE,
                          ENTRA_STR_NONE, &known, &why);
    signature = token_signature(&pool, one, input.data);

    tap_ok(entra_key_verify(key, input, guard(signature))
           == ENTRA_SIGNATURE_OK, "the right signature");
    tap_ok(entra_key_verify(key, guard(input), signature)
           == ENTRA_SIGNATURE_OK, "and once more");
    tap_ok(verifies(key, two) == ENTRA_SIGNATURE_BAD, "of another key");
    tap_ok(verifies(key, small) == ENTRA_SIGNATURE_BAD, "of a smaller key");
    tap_ok(entra_key_verify(key, entra_lit("header.payloae"), signature)
           == ENTRA_SIGNATURE_BAD, "over another text");
    tap_ok(entra_key_verify(key, entra_lit("header.payloa"), signature)
           == ENTRA_SIGNATURE_BAD, "over a shorter text");
    tap_ok(entra_key_verify(key, entra_lit(""), signature)
           == ENTRA_SIGNATURE_BAD, "over nothing");
    tap_ok(entra_key_verify(key, input, guard(entra_lit("")))
           == ENTRA_SIGNATURE_BAD, "empty");
    tap_ok(entra_key_verify(key, input, ENTRA_STR_NONE)
           == ENTRA_SIGNATURE_BAD, "none at all");

    other = (entra_str_t) { signature.data, signature.len - 1 };
    tap_ok(entra_key_verify(key, input, guard(other)) == ENTRA_SIGNATURE_BAD,
           "one byte short");

    bytes = pool_alloc(&pool, signature.len + 1);
    memcpy(bytes, signature.data, signature.len);
    bytes[signature.len] = 0;
    tap_ok(entra_key_verify(key, input,
                            (entra_str_t) { bytes, signature.len + 1 })
           == ENTRA_SIGNATURE_BAD, "one byte long");

    bytes[0] = 0;
    memcpy(bytes + 1, signature.data, signature.len);
    tap_ok(entra_key_verify(key, input,
                            (entra_str_t) { bytes, signature.len + 1 })
           == ENTRA_SIGNATURE_BAD, "a zero in front");

    memset(bytes, 0, signature.len);
    tap_ok(entra_key_verify(key, input, (entra_str_t) { bytes, signature.len })
           == ENTRA_SIGNATURE_BAD, "all zero");

    bytes[signature.len - 1] = 1;
    tap_ok(entra_key_verify(key, input, (entra_str_t) { bytes, signature.len })
           == ENTRA_SIGNATURE_BAD, "the number one");

    memset(bytes, 0xff, signature.len);
    tap_ok(entra_key_verify(key, input, (entra_str_t) { bytes, signature.len })
           == ENTRA_SIGNATURE_BAD, "larger than the modulus");

    ok = true;

    for (i = 0; i < signature.len * 8; i++) {
        memcpy(bytes, signature.data, signature.len);
        bytes[i / 8] = (char) (bytes[i / 8] ^ (1 << i % 8));
        ok = ok && entra_key_verify(key, input,
                                    (entra_str_t) { bytes, signature.len })
                   == ENTRA_SIGNATURE_BAD;
    }

    tap_ok(ok, "each single bit of it turned");

    tap_ok(verifies(key, one) == ENTRA_SIGNATURE_OK,
           "after all that the key still verifies");

    entra_jwks_free(jwks);
    pool_free(&pool);
}


/* other ways of signing with the very key */

static void
test_other_schemes(void)
{
    bool                known;
    size_t              i, len;
    EVP_MD_CTX         *ctx;
    const char         *why;
    EVP_PKEY_CTX       *how;
    entra_jwks_t       *jwks;
    unsigned char       signature[256];
    const entra_key_t  *key;

    static const struct {
        const char  *name;
        const char  *digest;
        int          padding;
    } schemes[] = {
        { "RS512", "SHA512", RSA_PKCS1_PADDING },
        { "RS384", "SHA384", RSA_PKCS1_PADDING },
        { "RSA with SHA-1", "SHA1", RSA_PKCS1_PADDING },
        { "PS256", "SHA256", RSA_PKCS1_PSS_PADDING },
    };

    jwks = make_set();
    key = entra_jwks_find(jwks, entra_lit("plain"), ENTRA_STR_NONE,
                          ENTRA_STR_NONE, &known, &why);

    for (i = 0; i < tap_count(schemes); i++) {
        ctx = EVP_MD_CTX_new();
        len = sizeof(signature);

        if (EVP_DigestSignInit_ex(ctx, &how, schemes[i].digest, NULL, NULL, one,
                                  NULL) != 1
            || EVP_PKEY_CTX_set_rsa_padding(how, schemes[i].padding) != 1
            || EVP_DigestSign(ctx, signature, &len,
                              (const unsigned char *) "header.payload", 14)
               != 1)
        {
            tap_bail("no signature of another scheme");
        }

        EVP_MD_CTX_free(ctx);

        tap_ok(entra_key_verify(key, entra_lit("header.payload"),
                                (entra_str_t) { (char *) signature, len })
               == ENTRA_SIGNATURE_BAD, "%s is not RS256", schemes[i].name);
    }

    entra_jwks_free(jwks);
    pool_free(&pool);
}


int
main(void)
{
    pool_init(&pool);

    one = token_key(2048);
    two = token_key(3072);
    small = token_key(1024);

    files_each("data/jwks/valid", ".json", valid_file);
    files_each("data/jwks/invalid", ".json", invalid_file);

    test_choices();
    test_many_keys();
    test_signatures();
    test_other_schemes();

    entra_jwks_free(NULL);

    EVP_PKEY_free(one);
    EVP_PKEY_free(two);
    EVP_PKEY_free(small);

    return tap_done();
}
