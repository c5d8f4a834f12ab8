/*
 * The credential in an Authorization header (RFC 6750 2.1).
 */

#ifndef ENTRA_BEARER_H
#define ENTRA_BEARER_H

#include "entra_reason.h"


/*
 * Takes the token out of the header's value: the scheme Bearer, whatever its
 * case, one blank or more, and all that follows.  ENTRA_OK, or ENTRA_NO_TOKEN
 * with *why a static text.  *token points into value.
 */
entra_reason_t entra_bearer_token(entra_str_t value, entra_str_t *token,
    const char **why);


#endif /* ENTRA_BEARER_H */
