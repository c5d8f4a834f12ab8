/*
 * The parts of an absolute URL that decide whom it names: scheme and
 * host[:port], as written.  Never more lenient than Go's net/url, which the
 * backend reads audiences with; where the two could disagree, it is no URL.
 */

#ifndef ENTRA_URL_H
#define ENTRA_URL_H

#include "entra_str.h"


typedef struct {
    entra_str_t  scheme;                /* without the colon */
    entra_str_t  host;                  /* host[:port]; may be empty */
    bool         userinfo;              /* something stood before an "@" */
    bool         fragment;
} entra_url_t;


/*
 * scheme "://" [userinfo "@"] host [":" port] [path] ["?" query] ["#" ...]
 * (RFC 3986 3).  No control character, blank, backslash or broken percent
 * escape anywhere; no percent escape in the host; a port is digits.  Views
 * in *url point into text.  false: not such a URL.
 */
bool entra_url_parse(entra_str_t text, entra_url_t *url);


#endif /* ENTRA_URL_H */
