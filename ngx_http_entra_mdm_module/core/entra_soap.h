/*
 * The credential in an enrollment message: SOAP 1.2 with WS-Security, read
 * by expat in whatever pieces it arrives.  What two parsers could read
 * differently is refused, so that the backend never sees another token than
 * the one that was judged.
 */

#ifndef ENTRA_SOAP_H
#define ENTRA_SOAP_H

#include "entra_base64.h"
#include "entra_mem.h"
#include "entra_reason.h"


#define ENTRA_SOAP_MAX_DEPTH       64
#define ENTRA_SOAP_MAX_MESSAGE_ID  1024         /* bytes, decoded */

/*
 * Bytes from the start by which the Header must end, so that a message from
 * nobody costs little to read.  The token may have line breaks.
 */
#define ENTRA_SOAP_MAX_HEADER(max_token)                                      \
    (2 * ENTRA_BASE64_ENCODED(max_token) + 64 * 1024)


typedef struct entra_soap_s  entra_soap_t;


typedef enum {
    ENTRA_CREDENTIAL_JWT = 0,           /* Entra's, to be judged */
    ENTRA_CREDENTIAL_DEVICE             /* the backend's own */
} entra_credential_t;


/* one ContextItem of an enroll message; a client's word, for logs */

typedef struct entra_context_s {
    entra_str_t              name;
    entra_str_t              value;
    struct entra_context_s  *next;
} entra_context_t;


typedef struct {
    entra_credential_t   credential;
    entra_str_t          encoded;       /* the token's base64, CR LF left out */
    bool                 too_long;      /* for max_token; encoded is cut off */
    size_t               max_token;
    entra_str_t          message_id;    /* empty: none, two, or too long */
    entra_str_t          action;        /* empty: none, two, or too long */
    entra_context_t     *context;
} entra_soap_message_t;


typedef enum {
    ENTRA_SOAP_MORE = 0,                /* feed the next bytes */
    ENTRA_SOAP_HEADER,                  /* the credential is known; then feed */
    ENTRA_SOAP_DONE,                    /* the message is well-formed */
    ENTRA_SOAP_REFUSED                  /* see entra_soap_reason() */
} entra_soap_state_t;


/*
 * max_token is the longest token, decoded, in bytes.  All memory but expat's
 * own is from mem; NULL: out of memory.  entra_soap_free() takes NULL too.
 */
entra_soap_t *entra_soap_create(size_t max_token, const entra_mem_t *mem);
void entra_soap_free(entra_soap_t *soap);

#define ENTRA_SOAP_SALT  16             /* bytes */

/*
 * Random bytes against names that are chosen to collide in expat's tables.
 * Without them expat asks the system for some, for each message anew.
 */
void entra_soap_salt(entra_soap_t *soap,
    const uint8_t salt[ENTRA_SOAP_SALT]);

/*
 * Reads the next bytes, at most INT_MAX of them; last: no more will come.
 * In pieces of some KB, a Header or a tag that is too long is not read to its
 * end.
 * Returns ENTRA_SOAP_HEADER once, as soon as the SOAP Header has ended with
 * exactly one credential in it: the caller judges it and, if it cares for the
 * rest, goes on feeding the bytes that follow (none are fed twice; with last
 * already said, an empty feed with last says it again).  Anything wrong in the
 * Header is told at its end, so that message_id and action are known by then;
 * ENTRA_SOAP_REFUSED and ENTRA_SOAP_DONE are final.
 */
entra_soap_state_t entra_soap_feed(entra_soap_t *soap, entra_str_t bytes,
    bool last);

/* the reason of ENTRA_SOAP_REFUSED; *why a static text or NULL */
entra_reason_t entra_soap_reason(const entra_soap_t *soap, const char **why);

/* what is known so far; lives as long as mem */
const entra_soap_message_t *entra_soap_message(const entra_soap_t *soap);

/*
 * Decodes the credential to mem: ENTRA_OK, ENTRA_NO_TOKEN if it is empty,
 * ENTRA_TOKEN_MALFORMED if it is too long or not base64, ENTRA_INTERNAL (out
 * of memory); *why as above.
 */
entra_reason_t entra_soap_token(const entra_soap_message_t *message,
    const entra_mem_t *mem, entra_str_t *token, const char **why);


#endif /* ENTRA_SOAP_H */
