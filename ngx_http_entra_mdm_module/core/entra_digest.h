/*
 * SHA-256 (FIPS 180-4).
 */

#ifndef ENTRA_DIGEST_H
#define ENTRA_DIGEST_H

#include "entra_str.h"


typedef struct {
    unsigned char  bytes[32];
} entra_digest_t;


/* false: out of memory */
bool entra_digest(entra_str_t text, entra_digest_t *digest);


/*** many, one after another ***/


typedef struct entra_digester_s  entra_digester_t;


/* allocated with malloc(); NULL: out of memory; free takes NULL too */
entra_digester_t *entra_digester_create(void);
void entra_digester_free(entra_digester_t *digester);

/* of a text and of its first n bytes, in one go; false: out of memory */
bool entra_digest_both(entra_digester_t *digester, entra_str_t text, size_t n,
    entra_digest_t *all, entra_digest_t *first);


#endif /* ENTRA_DIGEST_H */
