/*
 * What the files of the glue share: configuration, the context of a request,
 * and who offers what to whom.  The core's own types come from core/.
 */

#ifndef NGX_HTTP_ENTRA_MDM_MODULE_H
#define NGX_HTTP_ENTRA_MDM_MODULE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "entra_cache.h"
#include "entra_soap.h"
#include "entra_verify.h"


/* X-Entra-UPN and so on, in the order of the table in headers.c */
#define NGX_HTTP_ENTRA_MDM_HEADERS  6


typedef enum {
    NGX_HTTP_ENTRA_MDM_AUTO = 0,        /* SOAP for POST, else bearer */
    NGX_HTTP_ENTRA_MDM_BEARER,
    NGX_HTTP_ENTRA_MDM_SOAP
} ngx_http_entra_mdm_token_e;


typedef enum {
    NGX_HTTP_ENTRA_MDM_UNDECIDED = 0,
    NGX_HTTP_ENTRA_MDM_READING,         /* waiting for the request body */
    NGX_HTTP_ENTRA_MDM_READ,            /* the body is there, to be judged */
    NGX_HTTP_ENTRA_MDM_WAITING,         /* for keys; no verdict yet */
    NGX_HTTP_ENTRA_MDM_ACCEPTED,
    NGX_HTTP_ENTRA_MDM_PASSED,          /* a device token, by policy */
    NGX_HTTP_ENTRA_MDM_REFUSED,
    NGX_HTTP_ENTRA_MDM_WOULD_REFUSE     /* but for entra_mdm_dry_run */
} ngx_http_entra_mdm_state_e;


typedef struct ngx_http_entra_mdm_zone_s  ngx_http_entra_mdm_zone_t;
typedef struct ngx_http_entra_mdm_keys_s  ngx_http_entra_mdm_keys_t;
typedef struct ngx_http_entra_mdm_fetch_s  ngx_http_entra_mdm_fetch_t;
typedef struct ngx_http_entra_mdm_redis_s  ngx_http_entra_mdm_redis_t;
typedef struct ngx_http_entra_mdm_state_s  ngx_http_entra_mdm_state_t;


/*
 * One entra_mdm_policy block; read-only once the configuration is loaded, but
 * for what a worker has made of the keys.
 */

typedef struct {
    ngx_str_t                     name;

    /* where it was defined or, until it is, first named */
    ngx_str_t                     file;
    ngx_uint_t                    line;
    ngx_uint_t                    defined;      /* unsigned  defined:1; */

    entra_policy_t                rules;
    ngx_http_entra_mdm_keys_t    *keys;
    ngx_http_entra_mdm_redis_t   *redis;        /* or NULL */
    ngx_http_entra_mdm_state_t   *state;        /* or NULL */

    /* lists beside those of the rules: in the zone, or in Redis */
    ngx_uint_t                    live;         /* unsigned  live:1; */
    ngx_uint_t                    live_redis;   /* unsigned  live_redis:1; */
    time_t                        live_max_stale;       /* 0: off */
    ngx_atomic_uint_t             epoch;        /* of this worker's feed */

    ngx_str_t                     headers[NGX_HTTP_ENTRA_MDM_HEADERS];
    ngx_str_t                     lowcase[NGX_HTTP_ENTRA_MDM_HEADERS];

    size_t                        max_token;
    size_t                        max_body;
    ngx_uint_t                    soap_fault_status;    /* 0: auto */
    ngx_uint_t                    log_level;
    ngx_uint_t                    device_token_pass;    /* unsigned  :1 */

    ngx_shm_zone_t               *zone;
    ngx_shm_zone_t               *replaces;     /* of another size, or NULL;
                                                   until the reload is done */
    ngx_uint_t                    dry_run_locations;

    ngx_uint_t                    api;          /* unsigned  api:1; */

    /* configured IDs that are live as well, by this generation + 1 */
    size_t                        both[ENTRA_LISTS];
    ngx_atomic_uint_t             both_of;

    /* this worker's ETag of the lists, and of which generation it is + 1 */
    u_char                        tag[64];
    ngx_atomic_uint_t             tagged;
} ngx_http_entra_mdm_policy_t;


typedef struct {
    ngx_array_t                   policies;     /* of policy pointers */
    ngx_int_t                     request_id;   /* index of $request_id */
} ngx_http_entra_mdm_main_conf_t;


typedef struct {
    ngx_http_entra_mdm_policy_t  *policy;       /* NULL: off */
    ngx_http_entra_mdm_token_e    token;
    ngx_flag_t                    dry_run;
    ngx_flag_t                    tou_redirect;

    ngx_str_t                     file;         /* of entra_mdm */
    ngx_uint_t                    line;

    /* what nested locations inherit, where the API or metrics imply "off" */
    ngx_http_entra_mdm_policy_t  *gate;

    ngx_http_entra_mdm_policy_t  *api;          /* or NULL */
    ngx_http_complex_value_t     *api_role;     /* or NULL */
    ngx_http_complex_value_t     *api_actor;    /* NULL: $remote_user */
    ngx_flag_t                    api_gitops;
    ngx_str_t                     api_file;     /* of entra_mdm_api */
    ngx_uint_t                    api_line;

    ngx_uint_t                    metrics;      /* unsigned  metrics:1; */

    ngx_array_t                  *error_pages;  /* in force here */
    ngx_uint_t                    own_error_page;       /* unsigned  :1 */
} ngx_http_entra_mdm_loc_conf_t;


/* a request that waits for keys; kept by ngx_http_entra_mdm_wait.c */

typedef struct {
    ngx_queue_t                   queue;
    ngx_http_request_t           *request;      /* NULL: not in the queue */
    ngx_msec_t                    deadline;
    ngx_atomic_uint_t             ended;        /* fetches, when it began */
    ngx_atomic_uint_t             generation;   /* of the keys, as well */
    ngx_uint_t                    waited;       /* unsigned  waited:1; */
} ngx_http_entra_mdm_waiter_t;


/*
 * What the gate knows of a request: one per main request, kept by a cleanup
 * of its pool since internal redirects forget module contexts.
 */

typedef struct {
    ngx_http_entra_mdm_state_e    state;
    ngx_http_entra_mdm_policy_t  *policy;       /* that decided */
    ngx_http_entra_mdm_token_e    token;        /* BEARER or SOAP */

    entra_reason_t                reason;
    const char                   *why;          /* or NULL */
    size_t                        token_len;
    off_t                         received;     /* of the body */
    ngx_uint_t                    body_dropped; /* unsigned  body_dropped:1; */
    ngx_uint_t                    counted;      /* unsigned  counted:1; */
    ngx_uint_t                    over;         /* unsigned  over:1; */
    entra_verdict_t               verdict;
    entra_soap_message_t          message;
    entra_mem_t                   mem;          /* the request's pool */
    ngx_table_elt_t              *challenge;    /* WWW-Authenticate */
    ngx_table_elt_t              *retry_after;

    ngx_http_entra_mdm_waiter_t   waiter;
    ngx_http_entra_mdm_state_e    resume;       /* when it has waited */
    ngx_uint_t                    may_wait;     /* unsigned  may_wait:1; */

    /* set by nobody but the module's own fetch of keys */
    ngx_uint_t                    fetch;        /* unsigned  fetch:1; */
} ngx_http_entra_mdm_ctx_t;


/* ngx_http_entra_mdm_policy.c */

char *ngx_http_entra_mdm_policy_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_entra_mdm_policy_t *ngx_http_entra_mdm_policy_get(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf, ngx_str_t *name);

/* warns of what an administrator may not have meant, once all is read */
void ngx_http_entra_mdm_policy_check(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy);

/* ngx_http_entra_mdm_access.c */

ngx_int_t ngx_http_entra_mdm_access_handler(ngx_http_request_t *r);

/* lets subrequests of accepted requests into gated locations, no others */
ngx_int_t ngx_http_entra_mdm_subrequest_handler(ngx_http_request_t *r);

/* the context of the main request; create: NULL means out of memory */
ngx_http_entra_mdm_ctx_t *ngx_http_entra_mdm_ctx(ngx_http_request_t *r,
    ngx_uint_t create);

/* runs the phases of a waiting request again, once this event is through */
void ngx_http_entra_mdm_wake(ngx_http_request_t *r);

/* ngx_http_entra_mdm_token.c */

/* where the token of this request is: BEARER or SOAP */
ngx_http_entra_mdm_token_e ngx_http_entra_mdm_token(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf);

/* a body where a backend might find another token than the one judged */
ngx_uint_t ngx_http_entra_mdm_stray_body(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf,
    const ngx_http_entra_mdm_ctx_t *ctx, ngx_http_entra_mdm_token_e token);

/* only reading tells whether there is one */
ngx_uint_t ngx_http_entra_mdm_may_end(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf,
    const ngx_http_entra_mdm_ctx_t *ctx);

/*
 * Each takes the token, verifies and judges it; the verdict is in *ctx.  Of a
 * SOAP message, head is what can be said before its body is read: ENTRA_OK
 * means that it is to be read.
 */
entra_reason_t ngx_http_entra_mdm_bearer(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx);
entra_reason_t ngx_http_entra_mdm_soap_head(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
entra_reason_t ngx_http_entra_mdm_soap_body(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);

/* ngx_http_entra_mdm_body.c */

/* bounds what is kept of a body while the gate reads it */
void ngx_http_entra_mdm_body_filter_init(void);

/*
 * Nobody reads on, the gate is woken, and the connection ends with its answer;
 * to whatever comes after, the request has an empty body.
 */
void ngx_http_entra_mdm_body_stop(ngx_http_request_t *r);

/* the bytes of a request body, piece by piece, memory or temporary file */

typedef struct {
    ngx_chain_t                  *cl;
    off_t                         offset;       /* in the buffer */
    u_char                       *buffer;
} ngx_http_entra_mdm_body_t;

off_t ngx_http_entra_mdm_body_size(ngx_http_request_t *r);
void ngx_http_entra_mdm_body_start(ngx_http_request_t *r,
    ngx_http_entra_mdm_body_t *body);

/*
 * The next piece, valid until the next call: NGX_OK, or NGX_DONE if it is the
 * last (a body without bytes has one empty piece), or NGX_ERROR.
 */
ngx_int_t ngx_http_entra_mdm_body_next(ngx_http_request_t *r,
    ngx_http_entra_mdm_body_t *body, entra_str_t *piece);

/* ngx_http_entra_mdm_headers.c */

/* names the policy's headers; NGX_ERROR: out of memory */
ngx_int_t ngx_http_entra_mdm_headers_name(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, ngx_str_t *prefix);

/* how many headers a backend may read under that lower-case name */
ngx_uint_t ngx_http_entra_mdm_headers_count(ngx_http_request_t *r,
    ngx_str_t *lowcase);

/* takes off what a client sent; phase handler */
ngx_int_t ngx_http_entra_mdm_headers_handler(ngx_http_request_t *r);

/* takes off all identity headers and, for an accepted request, sets them */
ngx_int_t ngx_http_entra_mdm_headers_set(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);

/* ngx_http_entra_mdm_response.c */

/* answers a refusal; returns what an access handler is to return */
ngx_int_t ngx_http_entra_mdm_refuse(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx);

/* ngx_http_entra_mdm_log.c */

void ngx_http_entra_mdm_log_refusal(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
void ngx_http_entra_mdm_log_subrequest(ngx_http_request_t *r,
    ngx_http_entra_mdm_policy_t *policy);

/* what leads from a device's error screen to the log; may be empty */
entra_str_t ngx_http_entra_mdm_request_id(ngx_http_request_t *r);

/* ngx_http_entra_mdm_variables.c */

ngx_int_t ngx_http_entra_mdm_variables_add(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_entra_mdm_module;


static ngx_inline entra_str_t
ngx_http_entra_mdm_str(const ngx_str_t *s)
{
    return (entra_str_t) { (const char *) s->data, s->len };
}


#endif /* NGX_HTTP_ENTRA_MDM_MODULE_H */
