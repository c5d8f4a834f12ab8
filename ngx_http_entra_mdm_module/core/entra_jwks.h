/*
 * A key set (RFC 7517): the keys Entra signs with, ready to verify.
 */

#ifndef ENTRA_JWKS_H
#define ENTRA_JWKS_H

#include "entra_digest.h"


typedef struct entra_jwks_s  entra_jwks_t;
typedef struct entra_key_s   entra_key_t;


#define ENTRA_RSA_MIN_BITS  2048        /* RFC 7518 3.3 */
#define ENTRA_RSA_MAX_BITS  16384       /* what OpenSSL verifies at most */
#define ENTRA_RSA_MAX_EXPONENT_BITS  64 /* so, for all but small moduli */


/*
 * Reads {"keys":[...]}.  Unknown members are ignored; an entry without a kid
 * cannot be chosen and is left out; an entry that may not be used (not RSA,
 * too small, for another use or algorithm, unreadable) stays known by its
 * kid.  Returns NULL, with *error set to a static text, if the text is not
 * such a document or holds no usable key.  Allocated with malloc();
 * entra_jwks_free() takes NULL too.
 */
entra_jwks_t *entra_jwks_parse(entra_str_t text, const char **error);
void entra_jwks_free(entra_jwks_t *jwks);

/* all keys known by kid, and how many of them may be used */
size_t entra_jwks_count(const entra_jwks_t *jwks);
size_t entra_jwks_usable(const entra_jwks_t *jwks);

/* entries that were left out for want of a kid */
size_t entra_jwks_nameless(const entra_jwks_t *jwks);

/* the i-th of entra_jwks_count() */
const entra_key_t *entra_jwks_key(const entra_jwks_t *jwks, size_t i);

entra_str_t entra_key_kid(const entra_key_t *key);

/* why the key may not be used, a static text; NULL: it may */
const char *entra_key_unusable(const entra_key_t *key);

/*
 * The key of that kid for a token of this issuer and tenant.  Where several
 * have the kid, the first that may be used for that token.  With iss.data
 * NULL the issuer is not looked at.  *known tells "no such kid" from "none
 * that may be used"; NULL is returned for both, and *why is then a static
 * text.
 */
const entra_key_t *entra_jwks_find(const entra_jwks_t *jwks, entra_str_t kid,
    entra_str_t iss, entra_str_t tid, bool *known, const char **why);


typedef enum {
    ENTRA_SIGNATURE_OK = 0,
    ENTRA_SIGNATURE_BAD,
    ENTRA_SIGNATURE_ERROR               /* out of memory */
} entra_signature_t;

/* RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 3.3) over input */
entra_signature_t entra_key_verify(const entra_key_t *key, entra_str_t input,
    entra_str_t signature);

/* the same, over an input of which the digest is known */
entra_signature_t entra_key_verify_digest(const entra_key_t *key,
    const entra_digest_t *digest, entra_str_t signature);


#endif /* ENTRA_JWKS_H */
