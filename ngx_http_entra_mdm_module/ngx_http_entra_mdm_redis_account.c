/*
 * Accounting for changes from elsewhere.  For each list:
 *
 *     WATCH list, accounted
 *     SISMEMBER accounted "-"     no: nobody has looked before
 *     SSCAN accounted             what differs from the list in force?
 *     SISMEMBER list ID           for each: is it so in Redis, too?
 *     MULTI, SADD or SREM accounted, XADD, EXEC
 *
 * until nothing differs.  Whoever changes the lists through the API changes
 * both sets at once, and of several nodes one gets through: each change makes
 * one activity.  Of a list that is new to this, or of very many changes, the
 * set is only brought up to date.
 *
 * A transaction is sent in one go, since the connection is the feed's and its
 * other commands must not come between.
 */

#include "ngx_http_entra_mdm_redis_account.h"
#include "ngx_http_entra_mdm_lists.h"


#define BATCH     NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH
#define MAX_IDS   100000                /* of a list that is accounted for */
#define MAX_MANY  1000                  /* changes that are told one by one */
#define AGAIN     100                   /* milliseconds, after a conflict */

const ngx_str_t  ngx_http_entra_mdm_account_mark = ngx_string("-");

const ngx_http_entra_mdm_author_t  ngx_http_entra_mdm_account_author = {
    ngx_string("redis"), ngx_null_string
};


/* called once by each answer */

ngx_http_entra_mdm_account_t *
ngx_http_entra_mdm_account_of(ngx_http_entra_mdm_redis_conn_t *conn)
{
    ngx_http_entra_mdm_redis_load_t  *load;

    load = conn->data;

    load->account->pending--;

    return load->account;
}


ngx_str_t *
ngx_http_entra_mdm_account_key(ngx_http_entra_mdm_account_t *account)
{
    return &account->policy->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNTED
                                         + account->list];
}


/*** the end ***/


void
ngx_http_entra_mdm_account_clear(ngx_http_entra_mdm_account_t *account)
{
    entra_gather_free(&account->gather);

    if (account->pool) {
        ngx_destroy_pool(account->pool);
        account->pool = NULL;
    }

    if (account->work.timer_set) {
        ngx_del_timer(&account->work);
    }

    account->busy = 0;
}


void
ngx_http_entra_mdm_account_stop(ngx_http_entra_mdm_account_t *account)
{
    ngx_http_entra_mdm_account_clear(account);

    if (account->again.timer_set) {
        ngx_del_timer(&account->again);
    }

    /* what happens meanwhile is found by a look at all, and so are rights */

    account->done = 0;
    account->refused = 0;
    account->pending = 0;
}


void
ngx_http_entra_mdm_account_free(ngx_http_entra_mdm_account_t *account)
{
    if (account->known_pool) {
        ngx_destroy_pool(account->known_pool);
        account->known_pool = NULL;
    }
}


void
ngx_http_entra_mdm_account_later(ngx_http_entra_mdm_account_t *account)
{
    if (!account->again.timer_set) {
        ngx_add_timer(&account->again, AGAIN + ngx_random() % AGAIN);
    }
}


static void
ngx_http_entra_mdm_account_handler(ngx_event_t *ev)
{
    ngx_http_entra_mdm_account_start(ev->data);
}


/* the connection's own handler sees to one that is lost */

void
ngx_http_entra_mdm_account_send(ngx_http_entra_mdm_account_t *account,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n)
{
    if (!account->busy) {
        return;
    }

    if (ngx_http_entra_mdm_redis_send(account->conn, handler, words, n)
        != NGX_OK)
    {
        ngx_http_entra_mdm_account_clear(account);
        return;
    }

    account->pending++;
}


/*** where Redis may not be written: only the log ***/


static void
ngx_http_entra_mdm_account_many(ngx_http_entra_mdm_account_t *account,
    ngx_uint_t list, size_t n)
{
    ngx_log_error(NGX_LOG_NOTICE, account->log, 0,
                  "entra_mdm: list \"%V\" of policy \"%V\" was changed in %uz "
                  "places, too many to tell one by one, actor: \"redis\"",
                  &ngx_http_entra_mdm_list_names[list], &account->policy->name,
                  n);
}


static void
ngx_http_entra_mdm_account_log(ngx_http_entra_mdm_account_t *account)
{
    size_t        n;
    ngx_uint_t    i;
    entra_set_t   from[ENTRA_LISTS], to[ENTRA_LISTS];

    for (i = 0; account->known_pool && i < ENTRA_LISTS; i++) {
        from[i] = account->known.list[i].ids;
        to[i] = account->lists.list[i].ids;

        n = entra_set_differences(&from[i], &to[i]);

        if (n > MAX_MANY) {
            ngx_http_entra_mdm_account_many(account, i, n);

        } else if (n) {
            ngx_http_entra_mdm_activities_log(account->policy, 1u << i, from,
                                          to,
                                          &ngx_http_entra_mdm_account_author);
        }
    }

    if (account->known_pool) {
        ngx_destroy_pool(account->known_pool);
    }

    account->known_pool = account->pool;
    account->known = account->lists;
    account->pool = NULL;

    account->done = account->generation + 1;

    ngx_http_entra_mdm_account_clear(account);
}


void
ngx_http_entra_mdm_account_refused(ngx_http_entra_mdm_account_t *account,
    const redisReply *reply)
{
    if (!account->busy) {
        return;
    }

    account->refused = 1;

    if (!account->told) {
        account->told = 1;

        ngx_log_error(NGX_LOG_NOTICE, account->log, 0,
                      "entra_mdm: changes of policy \"%V\" that come from "
                      "elsewhere are in this log only, not among its "
                      "activities in Redis: %s", &account->policy->name,
                      ngx_http_entra_mdm_redis_text(reply->str, reply->len));
    }

    ngx_http_entra_mdm_account_log(account);
}


/*** comparing ***/


static void
ngx_http_entra_mdm_account_compare(ngx_http_entra_mdm_account_t *account)
{
    bool                 added;
    size_t               n;
    uint32_t             upper;
    ngx_str_t            words[1];
    entra_set_t          set, *from;
    entra_diff_t         diff;
    const entra_set_t   *to;
    const entra_guid_t  *id;

    set = entra_gather_set(&account->gather);
    to = &account->lists.list[account->list].ids;

    n = entra_set_differences(&set, to);

    if (account->first || n > MAX_MANY) {

        if (!account->first) {
            ngx_http_entra_mdm_account_many(account, account->list, n);
        }

        from = ngx_palloc(account->pool, sizeof(entra_set_t));
        if (from == NULL) {
            ngx_http_entra_mdm_account_clear(account);
            return;
        }

        *from = set;
        account->diff = (entra_diff_t) { from, to, 0, 0 };

        ngx_str_set(&words[0], "UNWATCH");
        ngx_http_entra_mdm_account_send(account,
                                        ngx_http_entra_mdm_account_ignored,
                                        words, 1);

        ngx_http_entra_mdm_account_work(&account->work);
        return;
    }

    if (n == 0) {
        ngx_http_entra_mdm_account_leave(account);
        return;
    }

    diff = (entra_diff_t) { &set, to, 0, 0 };

    for (account->n = 0; account->n < BATCH; account->n++) {
        id = entra_diff_next(&diff, &added, &upper);
        if (id == NULL) {
            break;
        }

        account->batch[account->n].id = *id;
        account->batch[account->n].upper = upper;
        account->added[account->n] = added;
    }

    ngx_http_entra_mdm_account_confirm(account);
}


static void ngx_http_entra_mdm_account_scan(
    ngx_http_entra_mdm_account_t *account);


static void
ngx_http_entra_mdm_account_merge(ngx_http_entra_mdm_account_t *account)
{
    entra_gather_e  state;

    do {
        state = entra_gather_step(&account->gather);
    } while (state == ENTRA_GATHER_MORE);

    if (state == ENTRA_GATHER_NO_MEMORY) {
        ngx_http_entra_mdm_account_clear(account);
        return;
    }

    if (ngx_strcmp(account->cursor, "0") != 0) {
        ngx_http_entra_mdm_account_scan(account);
        return;
    }

    if (!account->gather.last) {
        entra_gather_end(&account->gather);
        ngx_http_entra_mdm_account_merge(account);
        return;
    }

    ngx_http_entra_mdm_account_compare(account);
}


static void
ngx_http_entra_mdm_account_scanned(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    bool                           added;
    size_t                         i, n;
    entra_str_t                    cursor, text;
    entra_typed_t                 *entries;
    const redisReply              *members;
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (!account->busy) {
        return;
    }

    if (!entra_redis_page(reply, &cursor, &members)) {
        ngx_http_entra_mdm_account_refused(account, reply);
        return;
    }

    ngx_cpystrn((u_char *) account->cursor, (u_char *) cursor.data,
                cursor.len + 1);

    entries = ngx_alloc((members->elements + 1) * sizeof(entra_typed_t),
                        account->log);
    if (entries == NULL) {
        ngx_http_entra_mdm_account_clear(account);
        return;
    }

    for (i = 0, n = 0; i < members->elements; i++) {
        n += entra_redis_member(members->element[i], &entries[n], &text)
             == ENTRA_REDIS_ID_MEMBER;
    }

    added = entra_gather_add(&account->gather, entries, n);

    ngx_free(entries);

    if (!added) {
        ngx_http_entra_mdm_account_clear(account);
        return;
    }

    ngx_http_entra_mdm_account_merge(account);
}


static void
ngx_http_entra_mdm_account_scan(ngx_http_entra_mdm_account_t *account)
{
    ngx_str_t  words[5];

    ngx_str_set(&words[0], "SSCAN");
    words[1] = *ngx_http_entra_mdm_account_key(account);
    words[2].data = (u_char *) account->cursor;
    words[2].len = ngx_strlen(account->cursor);
    ngx_str_set(&words[3], "COUNT");
    ngx_str_set(&words[4], "1000");

    ngx_http_entra_mdm_account_send(account,
                                    ngx_http_entra_mdm_account_scanned, words,
                                    5);
}


static void
ngx_http_entra_mdm_account_begun(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_account_t  *account;

    account = ngx_http_entra_mdm_account_of(conn);

    if (!account->busy) {
        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER) {
        ngx_http_entra_mdm_account_refused(account, reply);
        return;
    }

    account->first = reply->integer == 0;

    ngx_http_entra_mdm_account_scan(account);
}


/* the list of this turn, or the end */

void
ngx_http_entra_mdm_account_list(ngx_http_entra_mdm_account_t *account)
{
    ngx_str_t  words[3];

    entra_gather_free(&account->gather);

    if (account->list == ENTRA_LISTS) {
        account->done = account->generation + 1;

        ngx_http_entra_mdm_account_clear(account);

        /* there may be a newer one */
        ngx_http_entra_mdm_account_start(account);
        return;
    }

    account->cursor[0] = '0';
    account->cursor[1] = '\0';

    ngx_str_set(&words[0], "WATCH");
    words[1] = account->policy->redis->keys[account->list];
    words[2] = *ngx_http_entra_mdm_account_key(account);

    ngx_http_entra_mdm_account_send(account,
                                    ngx_http_entra_mdm_account_ignored, words,
                                    3);

    ngx_str_set(&words[0], "SISMEMBER");
    words[1] = words[2];
    words[2] = ngx_http_entra_mdm_account_mark;

    ngx_http_entra_mdm_account_send(account, ngx_http_entra_mdm_account_begun,
                                    words, 3);
}


void
ngx_http_entra_mdm_account_start(ngx_http_entra_mdm_account_t *account)
{
    ngx_int_t                   rc;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(account->policy);

    if (account->busy || account->conn->rc == NULL
        || zone->source != NGX_HTTP_ENTRA_MDM_FROM_REDIS
        || account->done == zone->lists_generation + 1)
    {
        return;
    }

    if (account->pending) {
        /* answers of a round that was given up */
        ngx_http_entra_mdm_account_later(account);
        return;
    }

    account->pool = ngx_create_pool(ngx_pagesize, account->log);
    if (account->pool == NULL) {
        return;
    }

    account->busy = 1;
    account->list = 0;

    rc = ngx_http_entra_mdm_lists_copy(account->policy, account->pool, MAX_IDS,
                                       &account->lists, &account->generation);

    if (rc == NGX_DECLINED) {
        account->done = account->generation + 1;

        if (!account->too_large) {
            account->too_large = 1;
            ngx_log_error(NGX_LOG_NOTICE, account->log, 0,
                          "entra_mdm: a list of policy \"%V\" has more than "
                          "%d IDs: changes of it that come from elsewhere are "
                          "not told one by one", &account->policy->name,
                          MAX_IDS);
        }
    }

    if (rc != NGX_OK) {
        ngx_http_entra_mdm_account_clear(account);
        return;
    }

    if (account->refused) {
        ngx_http_entra_mdm_account_log(account);
        return;
    }

    ngx_http_entra_mdm_account_list(account);
}


void
ngx_http_entra_mdm_account_init(ngx_http_entra_mdm_account_t *account)
{
    entra_gather_init(&account->gather);

    account->work.handler = ngx_http_entra_mdm_account_work;
    account->work.data = account;
    account->work.log = account->log;
    account->work.cancelable = 1;

    account->again.handler = ngx_http_entra_mdm_account_handler;
    account->again.data = account;
    account->again.log = account->log;
    account->again.cancelable = 1;
}
