/*
 * Reading one list: a batch by SSCAN, sorted and merged piece by piece, then
 * the next.
 */

#include "ngx_http_entra_mdm_redis_load.h"

#include "entra_escape.h"


#define SHOWN_TEXT    64                /* bytes of a member, before escaping */
#define SHOWN_VALUES  4                 /* members in a line of the log */


/*** members that are no GUIDs ***/


static void
ngx_http_entra_mdm_redis_skip(ngx_http_entra_mdm_redis_load_t *load,
    entra_str_t member)
{
    char                                *last;
    entra_str_t                          text;
    ngx_http_entra_mdm_redis_skipped_t  *skipped;

    skipped = &load->skipped;

    /* in whatever order they come */
    skipped->hash += ngx_crc32_long((u_char *) member.data, member.len);

    if (skipped->count < NGX_HTTP_ENTRA_MDM_REDIS_SHOWN) {
        text = (entra_str_t) { member.data, ngx_min(member.len, SHOWN_TEXT) };

        last = entra_escape_log(text, skipped->shown[skipped->count]);

        if (member.len > SHOWN_TEXT) {
            last = (char *) ngx_cpymem(last, "...", 3);
        }

        *last = '\0';
    }

    skipped->count++;
}


/* a few of the values in quotes; a line of the log has room for so many */

static u_char *
ngx_http_entra_mdm_redis_skipped_text(
    ngx_http_entra_mdm_redis_skipped_t *skipped, ngx_uint_t from, u_char *p,
    u_char *last)
{
    ngx_uint_t  i;

    for (i = from;
         i < from + SHOWN_VALUES && i < skipped->count
         && i < NGX_HTTP_ENTRA_MDM_REDIS_SHOWN;
         i++)
    {
        p = ngx_slprintf(p, last, "%s\"%s\"", i == from ? "" : ", ",
                         skipped->shown[i]);
    }

    if (i == NGX_HTTP_ENTRA_MDM_REDIS_SHOWN && skipped->count > i) {
        p = ngx_slprintf(p, last, " and %ui more", skipped->count - i);
    }

    return p;
}


/* told once, not with each poll, and in no more than ten lines */

static void
ngx_http_entra_mdm_redis_log_skipped(ngx_http_entra_mdm_redis_load_t *load)
{
    u_char                              *last, text[SHOWN_VALUES * 304 + 64];
    uint32_t                             hash;
    ngx_uint_t                           i;
    ngx_http_entra_mdm_redis_list_t     *list;
    ngx_http_entra_mdm_redis_skipped_t  *skipped;

    skipped = &load->skipped;
    list = &load->list[load->scanned];

    hash = skipped->count ? skipped->hash + (uint32_t) skipped->count : 0;

    if (hash == list->skipped) {
        return;
    }

    list->skipped = hash;

    for (i = 0;
         i < skipped->count && i < NGX_HTTP_ENTRA_MDM_REDIS_SHOWN;
         i += SHOWN_VALUES)
    {
        last = ngx_http_entra_mdm_redis_skipped_text(skipped, i, text,
                                                     text + sizeof(text));

        ngx_log_error(NGX_LOG_WARN, load->log, 0,
                      "entra_mdm: %ui member(s) of \"%V\" of policy \"%V\" "
                      "in Redis are no GUIDs and are skipped: %*s",
                      skipped->count,
                      &load->policy->redis->keys[load->scanned],
                      &load->policy->name, (size_t) (last - text), text);
    }
}


/*** one list ***/


static void ngx_http_entra_mdm_redis_scanned(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply);


void
ngx_http_entra_mdm_redis_scan(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_str_t                         words[5];
    ngx_http_entra_mdm_redis_list_t  *list;

    list = &load->list[load->scanned];

    ngx_str_set(&words[0], "SSCAN");
    words[1] = load->policy->redis->keys[load->scanned];
    words[2].data = (u_char *) list->cursor;
    words[2].len = ngx_strlen(list->cursor);
    ngx_str_set(&words[3], "COUNT");
    ngx_str_set(&words[4], "1000");

    (void) ngx_http_entra_mdm_redis_load_send(load,
                                              ngx_http_entra_mdm_redis_scanned,
                                              words, 5);
}


static void
ngx_http_entra_mdm_redis_scan_done(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(load->policy);

    zone->feed.skipped[load->scanned] = load->skipped.count;

    ngx_http_entra_mdm_redis_log_skipped(load);

    load->list[load->scanned].wrong = 0;
    load->publish |= 1u << load->scanned;

    ngx_http_entra_mdm_redis_load_next(load);
}


/*
 * What can never fit is not read to its end, which may be far away.  A scan
 * may repeat members, and only merging finds that: hence the half.
 */

static ngx_uint_t
ngx_http_entra_mdm_redis_scan_hopeless(ngx_http_entra_mdm_redis_load_t *load)
{
    size_t           i, count, most;
    entra_gather_t  *gather;

    gather = &load->list[load->scanned].gather;
    most = ngx_http_entra_mdm_zone(load->policy)->room / sizeof(entra_typed_t);
    count = 0;

    for (i = 0; i < gather->runs; i++) {
        count += gather->run[i].count;
    }

    return count / 2 > most;
}


static void
ngx_http_entra_mdm_redis_scan_refuse(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_http_entra_mdm_zone_t        *zone;
    ngx_http_entra_mdm_redis_list_t  *list;

    zone = ngx_http_entra_mdm_zone(load->policy);
    list = &load->list[load->scanned];

    ngx_log_error(NGX_LOG_ERR, load->log, 0,
                  "entra_mdm: key \"%V\" of policy \"%V\" in Redis has more "
                  "than %uz IDs and does not fit the zone twice: raise "
                  "\"zone\"; the last list stays in force",
                  &load->policy->redis->keys[load->scanned],
                  &load->policy->name, zone->room / sizeof(entra_typed_t));

    entra_gather_free(&list->gather);

    list->refused = 1;
    zone->feed.refused++;

    ngx_http_entra_mdm_redis_load_next(load);
}


/* sorts and merges a piece, lets others have their turn, and goes on */

void
ngx_http_entra_mdm_redis_load_work(ngx_event_t *ev)
{
    ngx_http_entra_mdm_redis_list_t  *list;
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ev->data;
    list = &load->list[load->scanned];

    switch (entra_gather_step(&list->gather)) {

    case ENTRA_GATHER_MORE:
        ngx_post_event(&load->work, &ngx_posted_next_events);
        return;

    case ENTRA_GATHER_NO_MEMORY:
        ngx_http_entra_mdm_redis_load_failed(load, "there is no memory");
        return;

    case ENTRA_GATHER_IDLE:
        break;
    }

    if (ngx_http_entra_mdm_redis_scan_hopeless(load)) {
        ngx_http_entra_mdm_redis_scan_refuse(load);
        return;
    }

    if (ngx_strcmp(list->cursor, "0") != 0) {
        ngx_http_entra_mdm_redis_scan(load);
        return;
    }

    if (!list->gather.last) {
        entra_gather_end(&list->gather);
        ngx_post_event(&load->work, &ngx_posted_next_events);
        return;
    }

    ngx_http_entra_mdm_redis_scan_done(load);
}


static ngx_int_t
ngx_http_entra_mdm_redis_batch(ngx_http_entra_mdm_redis_load_t *load,
    const redisReply *members)
{
    bool            added;
    size_t          i, n;
    entra_str_t     text;
    entra_typed_t  *entries;

    if (members->elements == 0) {
        return NGX_OK;
    }

    load->list[load->scanned].seen = 1;

    entries = ngx_alloc(members->elements * sizeof(entra_typed_t), load->log);
    if (entries == NULL) {
        return NGX_ERROR;
    }

    n = 0;

    for (i = 0; i < members->elements; i++) {

        switch (entra_redis_member(members->element[i], &entries[n], &text)) {

        case ENTRA_REDIS_ID_MEMBER:
            n++;
            break;

        case ENTRA_REDIS_ODD_MEMBER:
            ngx_http_entra_mdm_redis_skip(load, text);
            break;

        case ENTRA_REDIS_NO_MEMBER:
            break;
        }
    }

    added = entra_gather_add(&load->list[load->scanned].gather, entries, n);

    ngx_free(entries);

    return added ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_entra_mdm_redis_scanned(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    entra_str_t                       cursor;
    const redisReply                 *members;
    ngx_http_entra_mdm_redis_load_t  *load;
    ngx_http_entra_mdm_redis_list_t  *list;

    load = ngx_http_entra_mdm_redis_load_of(conn);
    list = &load->list[load->scanned];

    if (ngx_http_entra_mdm_redis_wrong_type(reply)) {

        if (!list->wrong) {
            ngx_http_entra_mdm_redis_log_wrong(load, load->scanned, "Set");
        }

        list->wrong = 1;

        ngx_http_entra_mdm_redis_load_next(load);
        return;
    }

    if (!entra_redis_page(reply, &cursor, &members)) {
        ngx_http_entra_mdm_redis_load_error(load, reply);
        return;
    }

    ngx_cpystrn((u_char *) list->cursor, (u_char *) cursor.data,
                cursor.len + 1);

    if (ngx_http_entra_mdm_redis_batch(load, members) != NGX_OK) {
        ngx_http_entra_mdm_redis_load_failed(load, "there is no memory");
        return;
    }

    ngx_http_entra_mdm_redis_load_work(&load->work);
}
