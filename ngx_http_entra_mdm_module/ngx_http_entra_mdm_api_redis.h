/*
 * A change of lists in Redis: what its two files share.
 */

#ifndef NGX_HTTP_ENTRA_MDM_API_REDIS_H
#define NGX_HTTP_ENTRA_MDM_API_REDIS_H

#include "ngx_http_entra_mdm_api_patch.h"
#include "ngx_http_entra_mdm_redis_session.h"


typedef enum {
    NGX_HTTP_ENTRA_MDM_STORE_READING = 0,
    NGX_HTTP_ENTRA_MDM_STORE_WRITING,
    NGX_HTTP_ENTRA_MDM_STORE_SENT,
    NGX_HTTP_ENTRA_MDM_STORE_WAITING
} ngx_http_entra_mdm_store_state_e;


/* what is written of each list, in this order */

typedef enum {
    NGX_HTTP_ENTRA_MDM_STEP_REMOVE = 0,
    NGX_HTTP_ENTRA_MDM_STEP_ADD,
    NGX_HTTP_ENTRA_MDM_STEP_FORGET,     /* accounted, as typed */
    NGX_HTTP_ENTRA_MDM_STEP_FORGET_LOWER,
    NGX_HTTP_ENTRA_MDM_STEP_ACCOUNT,
    NGX_HTTP_ENTRA_MDM_STEP_ACTIVITIES,
    NGX_HTTP_ENTRA_MDM_STEPS
} ngx_http_entra_mdm_step_e;


/* a set as Redis has it: a GUID may be there in several spellings */

typedef struct {
    entra_typed_t                     *members;     /* ascending */
    size_t                             nmembers;
    ngx_str_t                         *odd;         /* that are no GUIDs */
    size_t                             nodd;
    entra_set_t                        ids;
} ngx_http_entra_mdm_stored_t;


struct ngx_http_entra_mdm_store_s {
    ngx_http_entra_mdm_patch_t        *patch;
    ngx_http_entra_mdm_session_t       session;
    ngx_http_entra_mdm_store_state_e   state;

    ngx_http_entra_mdm_stored_t        stored[ENTRA_LISTS];
    ngx_uint_t                         read;        /* lists, so far */
    ngx_uint_t                         lost;        /* unsigned  lost:1; */
    ngx_atomic_uint_t                  generation;  /* 0: none */
    ngx_atomic_uint_t                  held;        /* by the feed, at EXEC */

    /* how far the writing is */
    ngx_uint_t                         lists;       /* bits */
    ngx_uint_t                         list;
    ngx_http_entra_mdm_step_e          step;
    size_t                             index;
    entra_diff_t                       diff;
    size_t                             skip;        /* of the activities */
    ngx_uint_t                         queued;      /* unanswered */

    ngx_msec_t                         since;       /* WAITING */
};


/*** ngx_http_entra_mdm_api_redis.c ***/


ngx_http_entra_mdm_store_t *ngx_http_entra_mdm_store_of(
    ngx_http_entra_mdm_redis_conn_t *conn);

/* it is over, with that answer; or because of an error, nothing changed */
void ngx_http_entra_mdm_store_done(ngx_http_entra_mdm_store_t *store,
    ngx_int_t rc);
void ngx_http_entra_mdm_store_away(ngx_http_entra_mdm_store_t *store,
    const char *why);

/* the feed is to read the lists again, even if nobody tells it to */
void ngx_http_entra_mdm_store_poke(ngx_http_entra_mdm_store_t *store);

/* begins to read */
void ngx_http_entra_mdm_store_ready(ngx_http_entra_mdm_session_t *session);

/* answers once this node's feed has read what was written */
void ngx_http_entra_mdm_store_wait(ngx_http_entra_mdm_store_t *store);


/*** ngx_http_entra_mdm_api_redis_write.c ***/


/* writes what was decided, and goes on from there */
void ngx_http_entra_mdm_store_write(ngx_http_entra_mdm_store_t *store);


#endif /* NGX_HTTP_ENTRA_MDM_API_REDIS_H */
