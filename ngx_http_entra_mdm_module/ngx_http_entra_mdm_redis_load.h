/*
 * Reading the lists of a policy from Redis into its zone, in small steps.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_LOAD_H
#define NGX_HTTP_ENTRA_MDM_REDIS_LOAD_H

#include "ngx_http_entra_mdm_redis_connect.h"

#include "entra_gather.h"
#include "entra_redis_error.h"


#define NGX_HTTP_ENTRA_MDM_REDIS_SHOWN  40      /* skipped members in a log */

/* bits of keys: 1 << NGX_HTTP_ENTRA_MDM_REDIS_... */
#define NGX_HTTP_ENTRA_MDM_REDIS_LISTS                                        \
    (1 << NGX_HTTP_ENTRA_MDM_REDIS_CLIENT_IDS                                 \
     | 1 << NGX_HTTP_ENTRA_MDM_REDIS_TENANT_IDS)

#define NGX_HTTP_ENTRA_MDM_REDIS_ALL                                          \
    (NGX_HTTP_ENTRA_MDM_REDIS_LISTS | 1 << NGX_HTTP_ENTRA_MDM_REDIS_JWKS      \
     | 1 << NGX_HTTP_ENTRA_MDM_REDIS_GENERATION)


/* what was told of the key set last: a length that it must not have, or */
#define NGX_HTTP_ENTRA_MDM_REDIS_KEYS_GOOD   (-1)
#define NGX_HTTP_ENTRA_MDM_REDIS_KEYS_WRONG  (-2)   /* not a String */
#define NGX_HTTP_ENTRA_MDM_REDIS_KEYS_BAD    (-3)   /* or less: a text's hash */


typedef struct ngx_http_entra_mdm_redis_load_s  ngx_http_entra_mdm_redis_load_t;
typedef struct ngx_http_entra_mdm_account_s  ngx_http_entra_mdm_account_t;


/* how a pass over the keys ended */

typedef enum {
    NGX_HTTP_ENTRA_MDM_REDIS_LOADED = 0,
    NGX_HTTP_ENTRA_MDM_REDIS_FAILED,            /* why: an error of Redis */
    NGX_HTTP_ENTRA_MDM_REDIS_SUPERSEDED         /* another feed took over */
} ngx_http_entra_mdm_redis_loaded_e;

typedef void (*ngx_http_entra_mdm_redis_load_pt)(
    ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_loaded_e how, const char *why);


/* members that are no GUIDs */

typedef struct {
    ngx_uint_t                           count;
    uint32_t                             hash;
    char                                 shown[NGX_HTTP_ENTRA_MDM_REDIS_SHOWN]
                                              [300];
} ngx_http_entra_mdm_redis_skipped_t;


/* one list while it is read */

typedef struct {
    entra_gather_t                       gather;
    char                                 cursor[ENTRA_REDIS_CURSOR + 1];
    uint32_t                             skipped;   /* logged last: a hash */
    ngx_uint_t                           seen;      /* unsigned  seen:1; */
    ngx_uint_t                           wrong;     /* unsigned  wrong:1; */
    ngx_uint_t                           refused;   /* unsigned  refused:1; */
} ngx_http_entra_mdm_redis_list_t;


struct ngx_http_entra_mdm_redis_load_s {

    /* set by the owner; the data of the connection is this load */
    ngx_http_entra_mdm_policy_t         *policy;
    ngx_http_entra_mdm_redis_conn_t     *conn;
    ngx_http_entra_mdm_redis_load_pt     handler;
    void                                *data;
    ngx_http_entra_mdm_account_t        *account;
    ngx_log_t                           *log;

    ngx_uint_t                           dirty;     /* keys to be read */
    ngx_uint_t                           reading;   /* in this pass */
    ngx_uint_t                           read;      /* of these, done */
    ngx_uint_t                           busy;      /* unsigned  busy:1; */

    ngx_http_entra_mdm_redis_list_t      list[ENTRA_LISTS];
    ngx_uint_t                           scanned;   /* the list of the SSCAN */
    ngx_http_entra_mdm_redis_skipped_t   skipped;

    /* the generation before the lists were read; nothing if held back */
    ngx_atomic_uint_t                    seen;
    ngx_uint_t                           partial;   /* unsigned  partial:1; */

    ngx_uint_t                           exist;     /* bits of the lists */
    ngx_uint_t                           publish;   /* bits, at the end */

    /* jwks redis: the set in force is what Redis has */
    ngx_uint_t                           keys_good; /* unsigned  keys_good:1; */
    int64_t                              keys_told;
    ngx_uint_t                           odd_told;  /* unsigned  odd_told:1; */

    ngx_event_t                          start;     /* of a pass, soon */
    ngx_event_t                          work;      /* a piece, after others */
    ngx_event_t                          again;     /* publishing */
};


/* once, on a zeroed load */
void ngx_http_entra_mdm_redis_load_init(ngx_http_entra_mdm_redis_load_t *load);

/*
 * These keys must be read; in a moment, since changes come in swarms.  During
 * a pass they are read once more after it.
 */
void ngx_http_entra_mdm_redis_load_dirty(ngx_http_entra_mdm_redis_load_t *load,
    ngx_uint_t keys);

/* the connection is gone: what was begun is forgotten */
void ngx_http_entra_mdm_redis_load_stop(ngx_http_entra_mdm_redis_load_t *load);

/*
 * The bit of a key by its name; 0: not a key that is read.
 */
ngx_uint_t ngx_http_entra_mdm_redis_load_key(
    ngx_http_entra_mdm_redis_load_t *load, const char *name, size_t len);

/*
 * The caller knows that nothing has changed since the last pass: what is in
 * force is as old as now.  Does nothing while there are changes to be read, or
 * if a list could not be taken.
 */
void ngx_http_entra_mdm_redis_load_proven(
    ngx_http_entra_mdm_redis_load_t *load);


/*** between the files of loading ***/


static ngx_inline ngx_http_entra_mdm_redis_load_t *
ngx_http_entra_mdm_redis_load_of(ngx_http_entra_mdm_redis_conn_t *conn)
{
    return conn->data;
}

/* reads the list load->scanned, and then goes on with the pass */
void ngx_http_entra_mdm_redis_scan(ngx_http_entra_mdm_redis_load_t *load);

/* reads the key set, and then goes on */
void ngx_http_entra_mdm_redis_keys_get(ngx_http_entra_mdm_redis_load_t *load);

/* sorts and merges a piece, lets others have their turn, and goes on */
void ngx_http_entra_mdm_redis_load_work(ngx_event_t *ev);

/* the generation before the lists were read: the pass goes on by it */
void ngx_http_entra_mdm_redis_generation_seen(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply);

/* asks which keys exist, and the generation, and then publishes */
void ngx_http_entra_mdm_redis_meta(ngx_http_entra_mdm_redis_load_t *load);

/* puts in force what was read, and ends the pass */
void ngx_http_entra_mdm_redis_load_publish(
    ngx_http_entra_mdm_redis_load_t *load);

/* the next key of the pass */
void ngx_http_entra_mdm_redis_load_next(ngx_http_entra_mdm_redis_load_t *load);

void ngx_http_entra_mdm_redis_load_end(ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_loaded_e how, const char *why);

/* ends the pass: the connection had better end as well */
void ngx_http_entra_mdm_redis_load_failed(
    ngx_http_entra_mdm_redis_load_t *load, const char *why);
void ngx_http_entra_mdm_redis_load_error(ngx_http_entra_mdm_redis_load_t *load,
    const redisReply *reply);

/* NGX_ERROR: the pass has ended */
ngx_int_t ngx_http_entra_mdm_redis_load_send(
    ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n);

/* a key of the wrong type: what was known of it stays */
ngx_uint_t ngx_http_entra_mdm_redis_wrong_type(const redisReply *reply);
void ngx_http_entra_mdm_redis_log_wrong(ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_key_e key, const char *must);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_LOAD_H */
