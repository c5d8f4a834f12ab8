/*
 * The refusal of a Terms-of-Use page in the form Microsoft's protocol gives
 * it: a redirect that takes error and description back to Windows.
 */

#ifndef ENTRA_TOU_H
#define ENTRA_TOU_H

#include "entra_mem.h"
#include "entra_reason.h"


#define ENTRA_TOU_MAX_URI  2048


/*
 * Builds the Location to redirect to from the request's query string, which
 * must have one redirect_uri: an absolute URI of at most ENTRA_TOU_MAX_URI
 * bytes of visible ASCII, without userinfo or fragment, whose scheme is
 * ms-appx-web or ms-aadj-redir, or https on one of the hosts.  Everything
 * else, where a redirect could lead anywhere or mean two things, is false,
 * as is out of memory: then the refusal is answered without a redirect.
 * *location is from mem.
 */
bool entra_tou_redirect(entra_str_t query, const entra_str_t *hosts,
    size_t nhosts, entra_reason_t reason, const entra_mem_t *mem,
    entra_str_t *location);


#endif /* ENTRA_TOU_H */
