/*
 * Accounting for changes: what is written.
 */

#include "ngx_http_entra_mdm_redis_account.h"


#define BATCH     NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH
#define MEMBERS   200                   /* of one command */
#define COMMANDS  20                    /* of those, at a time */
#define PAUSE     2                     /* milliseconds */


/*** bringing up to date, without activities ***/


void
ngx_http_entra_mdm_account_ignored(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_account_refused(account, reply);
    }
}


/* the last answer of a list that is up to date now */

static void
ngx_http_entra_mdm_account_marked(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_account_refused(account, reply);
        return;
    }

    if (account->busy) {
        account->list++;
        ngx_http_entra_mdm_account_list(account);
    }
}


/*
 * Members of one kind for one command, SADD or SREM; what comes in between in
 * the order of IDs ends it.
 */

static ngx_uint_t
ngx_http_entra_mdm_account_write(ngx_http_entra_mdm_account_t *account)
{
    bool                 add, added;
    u_char               room[MEMBERS][ENTRA_GUID_LEN];
    uint32_t             upper;
    ngx_str_t            words[MEMBERS + 2];
    ngx_uint_t           n;
    entra_diff_t         before;
    const entra_guid_t  *id;

    add = false;

    for (n = 0; n < MEMBERS; n++) {
        before = account->diff;

        id = entra_diff_next(&account->diff, &added, &upper);
        if (id == NULL) {
            break;
        }

        if (n && added != add) {
            account->diff = before;
            break;
        }

        add = added;

        (void) entra_guid_write_typed(id, upper, (char *) room[n]);
        words[n + 2].data = room[n];
        words[n + 2].len = ENTRA_GUID_LEN;
    }

    if (n == 0) {
        return 0;
    }

    if (add) {
        ngx_str_set(&words[0], "SADD");

    } else {
        ngx_str_set(&words[0], "SREM");
    }

    words[1] = *ngx_http_entra_mdm_account_key(account);

    ngx_http_entra_mdm_account_send(account,
                                    ngx_http_entra_mdm_account_ignored, words,
                                    n + 2);

    return 1;
}


void
ngx_http_entra_mdm_account_work(ngx_event_t *ev)
{
    ngx_str_t                      words[3];
    ngx_uint_t                     i;
    ngx_http_entra_mdm_account_t  *account;

    account = ev->data;

    /* no more than Redis keeps up with */

    for (i = 0; i < COMMANDS && account->busy; i++) {

        if (account->pending > COMMANDS) {
            break;
        }

        if (ngx_http_entra_mdm_account_write(account)) {
            continue;
        }

        /* last: before that, nobody takes the set for a whole one */

        ngx_str_set(&words[0], "SADD");
        words[1] = *ngx_http_entra_mdm_account_key(account);
        words[2] = ngx_http_entra_mdm_account_mark;

        ngx_http_entra_mdm_account_send(account,
                                        ngx_http_entra_mdm_account_marked,
                                        words, 3);
        return;
    }

    if (account->busy) {
        ngx_add_timer(&account->work, PAUSE);
    }
}


/*** activities ***/


static void
ngx_http_entra_mdm_account_note(ngx_http_entra_mdm_account_t *account)
{
    uint32_t       upper[2][BATCH];
    ngx_uint_t     i, to;
    entra_set_t    set[2], from_sets[ENTRA_LISTS], to_sets[ENTRA_LISTS];
    entra_guid_t   ids[2][BATCH];

    set[0] = (entra_set_t) { .ids = ids[0], .upper = upper[0] };
    set[1] = (entra_set_t) { .ids = ids[1], .upper = upper[1] };

    for (i = 0; i < account->n; i++) {

        if (!account->valid[i]) {
            continue;
        }

        to = account->added[i];
        ids[to][set[to].count] = account->batch[i].id;
        upper[to][set[to].count++] = account->batch[i].upper;
    }

    from_sets[account->list] = set[0];
    to_sets[account->list] = set[1];

    ngx_http_entra_mdm_activities_log(account->policy, 1u << account->list,
                                      from_sets, to_sets,
                                      &ngx_http_entra_mdm_account_author);
}


static void
ngx_http_entra_mdm_account_executed(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (!account->busy) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_account_refused(account, reply);
        return;
    }

    if (reply->type == REDIS_REPLY_NIL) {
        /* somebody was faster: there will be less to do */
        ngx_http_entra_mdm_account_clear(account);
        ngx_http_entra_mdm_account_later(account);
        return;
    }

    ngx_http_entra_mdm_account_note(account);

    /* the same list again, until nothing differs */

    ngx_http_entra_mdm_account_list(account);
}


/* the answer to EXEC says it all */

static void
ngx_http_entra_mdm_account_queued(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    (void) ngx_http_entra_mdm_account_of(conn);
}


static void
ngx_http_entra_mdm_account_transaction(ngx_http_entra_mdm_account_t *account)
{
    char        guid[ENTRA_GUID_LEN];
    ngx_str_t   words[NGX_HTTP_ENTRA_MDM_REDIS_XADD];
    ngx_uint_t  i;

    ngx_str_set(&words[0], "MULTI");
    ngx_http_entra_mdm_account_send(account, ngx_http_entra_mdm_account_queued,
                                    words, 1);

    for (i = 0; i < account->n; i++) {

        if (!account->valid[i]) {
            continue;
        }

        (void) entra_guid_write_typed(&account->batch[i].id,
                                      account->batch[i].upper, guid);

        if (account->added[i]) {
            ngx_str_set(&words[0], "SADD");

        } else {
            ngx_str_set(&words[0], "SREM");
        }

        words[1] = *ngx_http_entra_mdm_account_key(account);
        words[2].data = (u_char *) guid;
        words[2].len = ENTRA_GUID_LEN;

        ngx_http_entra_mdm_account_send(account,
                                        ngx_http_entra_mdm_account_queued,
                                        words, 3);

        ngx_http_entra_mdm_redis_activity(account->policy->redis, words,
                                          account->list, account->added[i],
                                          guid,
                                          &ngx_http_entra_mdm_account_author);

        ngx_http_entra_mdm_account_send(account,
                                        ngx_http_entra_mdm_account_queued,
                                        words,
                                        NGX_HTTP_ENTRA_MDM_REDIS_XADD);
    }

    ngx_str_set(&words[0], "EXEC");
    ngx_http_entra_mdm_account_send(account,
                                    ngx_http_entra_mdm_account_executed,
                                    words, 1);
}


static void
ngx_http_entra_mdm_account_unwatched(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (account->busy) {
        account->list++;
        ngx_http_entra_mdm_account_list(account);
    }
}


/* nothing is to be done for this list */

void
ngx_http_entra_mdm_account_leave(ngx_http_entra_mdm_account_t *account)
{
    ngx_str_t  words[1];

    ngx_str_set(&words[0], "UNWATCH");

    ngx_http_entra_mdm_account_send(account,
                                    ngx_http_entra_mdm_account_unwatched,
                                    words, 1);
}


/* what this node has read may be older than what another has accounted for */

static void
ngx_http_entra_mdm_account_confirmed(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_uint_t                     i, valid;
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (!account->busy) {
        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER) {
        ngx_http_entra_mdm_account_refused(account, reply);
        return;
    }

    i = account->asked++;
    account->valid[i] = (reply->integer != 0) == account->added[i];

    if (account->asked < account->n) {
        return;
    }

    for (i = 0, valid = 0; i < account->n; i++) {
        valid += account->valid[i];
    }

    if (valid) {
        ngx_http_entra_mdm_account_transaction(account);
        return;
    }

    ngx_http_entra_mdm_account_leave(account);
}


void
ngx_http_entra_mdm_account_confirm(ngx_http_entra_mdm_account_t *account)
{
    char        guid[ENTRA_GUID_LEN];
    ngx_str_t   words[3];
    ngx_uint_t  i;

    account->asked = 0;

    ngx_str_set(&words[0], "SISMEMBER");
    words[1] = account->policy->redis->keys[account->list];
    words[2].data = (u_char *) guid;
    words[2].len = ENTRA_GUID_LEN;

    for (i = 0; i < account->n; i++) {
        (void) entra_guid_write_typed(&account->batch[i].id,
                                      account->batch[i].upper, guid);

        ngx_http_entra_mdm_account_send(account,
                                        ngx_http_entra_mdm_account_confirmed,
                                        words, 3);
    }
}
