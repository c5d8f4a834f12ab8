/*
 * One request to a server, and its answer.  TLS is verified, no redirect is
 * followed, and an answer has a size that it may have.
 */

#ifndef CTL_HTTP_H
#define CTL_HTTP_H

#include "ctl.h"


#define CTL_MAX_ANSWER  (16 * 1024 * 1024)


typedef struct {
    const char  *base;                  /* URL that ends in "/" */
    const char  *user;                  /* NULL: none */
    const char  *password;
    const char  *token;                 /* of the scheme Bearer; NULL: none */
    const char  *cert;
    const char  *key;
    const char  *cacert;
    const char  *unix_socket;
    long         timeout;               /* seconds */
} ctl_server_t;

typedef struct {
    const char  *method;
    const char  *path;                  /* below the base */
    const char  *body;                  /* JSON; NULL: none */
    const char  *if_match;              /* NULL: none */
} ctl_request_t;

typedef struct {
    const char   *url;                  /* that was asked */
    const char   *method;
    const char   *etag;                 /* NULL: none, or two */
    const char   *location;
    entra_str_t   body;
    long          status;
} ctl_answer_t;


/*
 * The URL of a server: http or https with a host, and neither user, query nor
 * fragment.  name says where it was written.  With a secret, that is, a
 * password or a token, http is for this machine only, unless that is allowed.
 */
void ctl_server_url(ctl_server_t *server, const char *name, const char *url);
void ctl_server_check(const ctl_server_t *server, bool allow_http);

/* the seconds of --timeout; NULL: the default */
long ctl_timeout(const char *timeout);

/* an answer of any status; a server that cannot be had ends the process */
void ctl_http(const ctl_server_t *server, const ctl_request_t *request,
    ctl_answer_t *answer);

/*
 * Ends the process for an answer that is no success: what was asked where,
 * the status, what the server says about it, and the way out.
 */
__attribute__((noreturn))
void ctl_http_failed(const ctl_answer_t *answer, const char *way_out);


#endif /* CTL_HTTP_H */
