/*
 * GET activities: who changed which list, newest first, a page at a time; from
 * the stream in Redis or, without that, from the zone.
 */

#include "ngx_http_entra_mdm_api.h"
#include "ngx_http_entra_mdm_redis_session.h"


#define MAX_PER_PAGE  1000
#define MAX_PAGE      1000000

#define BATCH         1000              /* entries of one answer of Redis */


typedef struct {
    ngx_int_t                     page;
    ngx_int_t                     per_page;
} ngx_http_entra_mdm_paging_t;


/* a page while it is read from Redis; in the pool of its request */

typedef struct {
    ngx_http_request_t           *r;
    ngx_event_t                   event;        /* the beginning */
    ngx_http_entra_mdm_session_t  session;
    ngx_http_entra_mdm_paging_t   paging;
    ngx_http_entra_mdm_text_t     text;

    ngx_uint_t                    skip;         /* newer ones, still */
    ngx_uint_t                    left;         /* to be shown */
    ngx_uint_t                    shown;
    ngx_uint_t                    asked;
    char                          from[ENTRA_REDIS_STREAM_ID + 1];
    size_t                        from_len;     /* of the next to look at */
} ngx_http_entra_mdm_stream_t;


/* false: the argument is there and is no number from min to max */

static ngx_uint_t
ngx_http_entra_mdm_activities_arg(ngx_http_request_t *r, const char *name,
    ngx_int_t min, ngx_int_t max, ngx_int_t *number)
{
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value) != NGX_OK) {
        return 1;
    }

    *number = ngx_atoi(value.data, value.len);

    return *number != NGX_ERROR && *number >= min && *number <= max;
}


static void
ngx_http_entra_mdm_activities_one(ngx_http_entra_mdm_text_t *text,
    const ngx_http_entra_mdm_activity_t *activity)
{
    char  guid[ENTRA_GUID_LEN];

    (void) entra_guid_write_typed(&activity->guid, activity->upper, guid);

    ngx_http_entra_mdm_text(text, "{\"id\":\"%uL\",\"created_at\":",
                            activity->id);
    ngx_http_entra_mdm_text_time(text, activity->time);
    ngx_http_entra_mdm_text(text, ",\"type\":\"%s\",\"details\":{\"%s\":"
                            "\"%*s\"},\"actor\":",
                            entra_activity_types[activity->list]
                                                [activity->added],
                            entra_activity_details[activity->list],
                            (size_t) ENTRA_GUID_LEN, guid);
    ngx_http_entra_mdm_text_string(text, entra_str(activity->actor));
    ngx_http_entra_mdm_text(text, ",\"role\":");
    ngx_http_entra_mdm_text_string(text, entra_str(activity->role));
    ngx_http_entra_mdm_text(text, "}");
}


static void
ngx_http_entra_mdm_activities_meta(ngx_http_entra_mdm_text_t *text,
    const ngx_http_entra_mdm_paging_t *paging, ngx_uint_t more)
{
    ngx_http_entra_mdm_text(text, "],\"meta\":{\"has_next_results\":%s,"
                            "\"has_previous_results\":%s}}\n",
                            more ? "true" : "false",
                            paging->page ? "true" : "false");
}


/*** from the zone ***/


static ngx_int_t
ngx_http_entra_mdm_activities_zone(ngx_http_request_t *r,
    const ngx_http_entra_mdm_paging_t *paging)
{
    ngx_uint_t                      i, n, total, skip;
    ngx_http_entra_mdm_text_t       text;
    ngx_http_entra_mdm_activity_t  *activities;

    activities = ngx_palloc(r->pool, paging->per_page
                                     * sizeof(ngx_http_entra_mdm_activity_t));
    if (activities == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    skip = paging->page * paging->per_page;

    n = ngx_http_entra_mdm_activities_read(ngx_http_entra_mdm_api_policy(r),
                                           skip, activities, paging->per_page,
                                           &total);

    ngx_http_entra_mdm_text_init(&text, r->pool, 1024 + n * 256);
    ngx_http_entra_mdm_text(&text, "{\"activities\":[");

    for (i = 0; i < n; i++) {
        ngx_http_entra_mdm_text(&text, i ? "," : "");
        ngx_http_entra_mdm_activities_one(&text, &activities[i]);
    }

    ngx_http_entra_mdm_activities_meta(&text, paging, skip + n < total);

    return ngx_http_entra_mdm_api_send(r, NGX_HTTP_OK, &text);
}


/*** from Redis ***/


/* only in events of its own: what is left of the request is run here */

static void
ngx_http_entra_mdm_stream_done(ngx_http_entra_mdm_stream_t *stream,
    ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = stream->r;
    c = r->connection;

    ngx_http_entra_mdm_session_close(&stream->session);

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_entra_mdm_stream_failed(ngx_http_entra_mdm_session_t *session,
    const char *why)
{
    ngx_http_entra_mdm_stream_t *stream = session->data;

    char  text[512];

    *ngx_snprintf((u_char *) text, sizeof(text) - 1,
                  "Redis cannot be used: %s", why)
        = '\0';

    ngx_http_entra_mdm_stream_done(stream,
                   ngx_http_entra_mdm_api_error(stream->r,
                                                NGX_HTTP_SERVICE_UNAVAILABLE,
                                                "base", text));
}


/* whatever others have put there is shown as far as it goes */

static void
ngx_http_entra_mdm_stream_show(ngx_http_entra_mdm_stream_t *stream,
    entra_str_t id, const redisReply *fields)
{
    ngx_uint_t                  i, n;
    entra_str_t                 value;
    ngx_http_entra_mdm_text_t  *text;

    text = &stream->text;

    ngx_http_entra_mdm_text(text, "%s{\"id\":", stream->shown++ ? "," : "");
    ngx_http_entra_mdm_text_string(text, id);

    /* an ID begins with its time in milliseconds */

    ngx_http_entra_mdm_text(text, ",\"created_at\":");
    ngx_http_entra_mdm_text_time(text,
                                 strtoll(id.data, NULL, 10) / 1000);
    ngx_http_entra_mdm_text(text, ",\"type\":");
    ngx_http_entra_mdm_text_string(text,
                              entra_redis_field(fields, entra_lit("type")));
    ngx_http_entra_mdm_text(text, ",\"details\":{");

    for (i = 0, n = 0; i < ENTRA_LISTS; i++) {
        value = entra_redis_field(fields,
                                  entra_str(entra_activity_details[i]));
        if (value.data != NULL) {
            ngx_http_entra_mdm_text(text, "%s\"%s\":", n++ ? "," : "",
                                    entra_activity_details[i]);
            ngx_http_entra_mdm_text_string(text, value);
        }
    }

    ngx_http_entra_mdm_text(text, "},\"actor\":");
    ngx_http_entra_mdm_text_string(text,
                              entra_redis_field(fields, entra_lit("actor")));
    ngx_http_entra_mdm_text(text, ",\"role\":");
    ngx_http_entra_mdm_text_string(text,
                              entra_redis_field(fields, entra_lit("role")));
    ngx_http_entra_mdm_text(text, "}");
}


static void ngx_http_entra_mdm_stream_ready(
    ngx_http_entra_mdm_session_t *session);


static void
ngx_http_entra_mdm_stream_end(ngx_http_entra_mdm_stream_t *stream,
    ngx_uint_t more)
{
    ngx_http_entra_mdm_activities_meta(&stream->text, &stream->paging, more);

    ngx_http_entra_mdm_stream_done(stream,
                                   ngx_http_entra_mdm_api_send(stream->r,
                                                               NGX_HTTP_OK,
                                                               &stream->text));
}


static void
ngx_http_entra_mdm_stream_read(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    size_t                         i;
    entra_str_t                    id;
    const redisReply              *fields;
    ngx_http_entra_mdm_session_t  *session;
    ngx_http_entra_mdm_stream_t   *stream;

    session = conn->data;
    stream = session->data;

    switch (ngx_http_entra_mdm_session_answer(session, reply)) {

    case NGX_OK:
        break;

    case NGX_AGAIN:
        return;

    default:
        ngx_http_entra_mdm_stream_failed(session,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        ngx_http_entra_mdm_stream_failed(session, "an answer of another form");
        return;
    }

    for (i = 0; i < reply->elements; i++) {

        if (!entra_redis_entry(reply->element[i], &id, &fields)) {
            ngx_http_entra_mdm_stream_failed(session,
                                             "an answer of another form");
            return;
        }

        if (stream->skip) {
            stream->skip--;

        } else if (stream->left) {
            stream->left--;
            ngx_http_entra_mdm_stream_show(stream, id, fields);

        } else {
            ngx_http_entra_mdm_stream_end(stream, 1);
            return;
        }

        stream->from_len = entra_redis_before(id, stream->from);
    }

    if (i < stream->asked || stream->from_len == 0) {
        /* there are no more */
        ngx_http_entra_mdm_stream_end(stream, 0);
        return;
    }

    ngx_http_entra_mdm_stream_ready(session);
}


/* asks for what is still to be skipped and shown, and one more */

static void
ngx_http_entra_mdm_stream_ready(ngx_http_entra_mdm_session_t *session)
{
    u_char                        count[NGX_INT_T_LEN];
    ngx_str_t                     words[6];
    ngx_http_entra_mdm_stream_t  *stream;

    stream = session->data;

    stream->asked = ngx_min(stream->skip + stream->left + 1, BATCH);

    ngx_str_set(&words[0], "XREVRANGE");
    words[1] = session->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_ACTIVITIES];
    words[2].data = (u_char *) stream->from;
    words[2].len = stream->from_len;
    ngx_str_set(&words[3], "-");
    ngx_str_set(&words[4], "COUNT");
    words[5].data = count;
    words[5].len = ngx_sprintf(count, "%ui", stream->asked) - count;

    (void) ngx_http_entra_mdm_session_send(session,
                                           ngx_http_entra_mdm_stream_read,
                                           words, 6);
}


static void
ngx_http_entra_mdm_stream_cleanup(void *data)
{
    ngx_http_entra_mdm_stream_t *stream = data;

    if (stream->event.posted) {
        ngx_delete_posted_event(&stream->event);
    }

    ngx_http_entra_mdm_session_close(&stream->session);
}


static void
ngx_http_entra_mdm_stream_begin(ngx_event_t *ev)
{
    ngx_http_entra_mdm_stream_t *stream = ev->data;

    ngx_http_entra_mdm_session_open(&stream->session);
}


static ngx_int_t
ngx_http_entra_mdm_activities_redis(ngx_http_request_t *r,
    const ngx_http_entra_mdm_paging_t *paging)
{
    ngx_http_cleanup_t            *cln;
    ngx_http_entra_mdm_stream_t   *stream;
    ngx_http_entra_mdm_session_t  *session;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_entra_mdm_stream_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    stream = cln->data;
    ngx_memzero(stream, sizeof(ngx_http_entra_mdm_stream_t));

    cln->handler = ngx_http_entra_mdm_stream_cleanup;

    stream->r = r;
    stream->paging = *paging;
    stream->skip = paging->page * paging->per_page;
    stream->left = paging->per_page;
    stream->from[0] = '+';
    stream->from_len = 1;

    ngx_http_entra_mdm_text_init(&stream->text, r->pool, 8192);
    ngx_http_entra_mdm_text(&stream->text, "{\"activities\":[");

    session = &stream->session;

    session->redis = ngx_http_entra_mdm_api_policy(r)->redis;
    session->ready = ngx_http_entra_mdm_stream_ready;
    session->failed = ngx_http_entra_mdm_stream_failed;
    session->data = stream;
    session->log = ngx_cycle->log;

    /* the body, if there is one, is discarded with the answer */

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    stream->event.handler = ngx_http_entra_mdm_stream_begin;
    stream->event.data = stream;
    stream->event.log = session->log;

    ngx_post_event(&stream->event, &ngx_posted_events);

    return NGX_DONE;
}


ngx_int_t
ngx_http_entra_mdm_api_activities_get(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_paging_t  paging;

    paging.page = 0;
    paging.per_page = 20;

    if (!ngx_http_entra_mdm_activities_arg(r, "page", 0, MAX_PAGE,
                                           &paging.page))
    {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_BAD_REQUEST, "page",
                                            "must be a number from 0 on");
    }

    if (!ngx_http_entra_mdm_activities_arg(r, "per_page", 1, MAX_PER_PAGE,
                                           &paging.per_page))
    {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_BAD_REQUEST,
                                            "per_page",
                                            "must be a number from 1 to "
                                            "1000");
    }

    if (ngx_http_entra_mdm_api_policy(r)->live_redis) {
        return ngx_http_entra_mdm_activities_redis(r, &paging);
    }

    return ngx_http_entra_mdm_activities_zone(r, &paging);
}
