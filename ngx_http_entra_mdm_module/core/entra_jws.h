/*
 * A signed token in JWS compact form (RFC 7515 3.1), taken apart.
 */

#ifndef ENTRA_JWS_H
#define ENTRA_JWS_H

#include "entra_mem.h"
#include "entra_reason.h"


typedef struct {
    entra_str_t  signing_input;         /* header "." payload, as sent */
    entra_str_t  payload;               /* decoded */
    entra_str_t  signature;             /* decoded; may be empty */
    entra_str_t  kid;
    bool         rs256;                 /* alg is RS256 */
    bool         crit;                  /* header members to be understood */
    bool         nonce;                 /* Microsoft Graph's own form */
} entra_jws_t;


/*
 * Takes a token apart: three parts of strict base64url, the first of them a
 * JSON object whose alg and kid are strings.  The payload is decoded, not
 * read.  Embedded keys and links to keys (jwk, jku, x5u, x5c) are ignored.
 *
 * ENTRA_OK; ENTRA_TOKEN_MALFORMED, with *why a static text; ENTRA_INTERNAL
 * (out of memory).  signing_input points into token, the rest is from mem.
 */
entra_reason_t entra_jws_parse(entra_str_t token, const entra_mem_t *mem,
    entra_jws_t *jws, const char **why);

/*
 * How many bytes of a token its signature is over; 0: it does not have three
 * parts.  A first look, which costs nothing.
 */
size_t entra_jws_signing_len(entra_str_t token);


#endif /* ENTRA_JWS_H */
