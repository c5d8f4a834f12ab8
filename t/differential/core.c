/*
 * The core as a program, to be held against others: reads messages or tokens
 * from standard input, each after its length (four bytes, big end first), and
 * writes a line for each.
 *
 *   core soap              accepted KIND TOKEN(hex) | the reason
 *   core jws KEYSET-FILE   accepted | the reason
 */

#include "entra_soap.h"
#include "entra_verify.h"
#include "files.h"


#define MAX_TOKEN  16384


static pool_t  pool;


static void
refused(entra_reason_t reason)
{
    entra_str_t  key;

    key = entra_reason_info(reason)->key;
    printf("%.*s\n", (int) key.len, key.data);
}


static void
soap_accepted(const entra_soap_message_t *message)
{
    size_t          i;
    const char     *why;
    entra_str_t     token;
    entra_reason_t  reason;

    reason = entra_soap_token(message, &pool.mem, &token, &why);

    if (reason != ENTRA_OK) {
        refused(reason);
        return;
    }

    printf("accepted %s ", message->credential == ENTRA_CREDENTIAL_JWT
                           ? "jwt" : "device");

    for (i = 0; i < token.len; i++) {
        printf("%02x", (unsigned char) token.data[i]);
    }

    printf("\n");
}


static void
soap(entra_str_t text)
{
    const char          *why;
    entra_soap_t        *reader;
    entra_soap_state_t   state;

    reader = entra_soap_create(MAX_TOKEN, &pool.mem);
    state = entra_soap_feed(reader, text, true);

    if (state == ENTRA_SOAP_HEADER) {
        state = entra_soap_feed(reader, ENTRA_STR_NONE, true);
    }

    if (state == ENTRA_SOAP_DONE) {
        soap_accepted(entra_soap_message(reader));

    } else {
        refused(entra_soap_reason(reader, &why));
    }

    entra_soap_free(reader);
}


static void
jws(entra_str_t token, const entra_jwks_t *jwks)
{
    entra_reason_t   reason;
    entra_verdict_t  verdict;

    reason = entra_verify(token, MAX_TOKEN, jwks, &pool.mem, &verdict);

    if (reason == ENTRA_OK) {
        printf("accepted\n");

    } else {
        refused(reason);
    }

}


/* false: no more */

static bool
next(entra_str_t *text)
{
    char           *data;
    size_t          len;
    unsigned char   head[4];

    if (fread(head, 1, 4, stdin) != 4) {
        return false;
    }

    len = (size_t) head[0] << 24 | (size_t) head[1] << 16
          | (size_t) head[2] << 8 | head[3];

    data = pool_alloc(&pool, len + 1);
    if (data == NULL || fread(data, 1, len, stdin) != len) {
        tap_bail("a text is cut off");
    }

    *text = (entra_str_t) { data, len };

    return true;
}


int
main(int argc, char **argv)
{
    const char    *error;
    entra_str_t    text;
    entra_jwks_t  *jwks;

    pool_init(&pool);
    jwks = NULL;

    if (argc == 3 && strcmp(argv[1], "jws") == 0) {
        jwks = entra_jwks_parse(files_read(&pool, argv[2]), &error);

        if (jwks == NULL) {
            fprintf(stderr, "%s: %s\n", argv[2], error);
            return 2;
        }

    } else if (argc != 2 || strcmp(argv[1], "soap") != 0) {
        fprintf(stderr, "usage: core soap | core jws KEYSET-FILE\n");
        return 2;
    }

    while (next(&text)) {

        if (jwks != NULL) {
            jws(text, jwks);

        } else {
            soap(text);
        }

        pool_free(&pool);
    }

    entra_jwks_free(jwks);

    return 0;
}
