/*
 * Answers of Redis, by their form.
 */

#include <inttypes.h>
#include <stdio.h>

#include "entra_redis_reply.h"


static bool
entra_redis_is_string(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}


static entra_str_t
entra_redis_string(const redisReply *reply)
{
    return (entra_str_t) { reply->str, (size_t) reply->len };
}


static bool
entra_redis_says(const redisReply *reply, entra_str_t word)
{
    return entra_redis_is_string(reply)
           && entra_str_eq(entra_redis_string(reply), word);
}


/* an array of two, the first of them a string */

static bool
entra_redis_is_pair(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
           && entra_redis_is_string(reply->element[0]);
}


/* digits only, at most max */

static bool
entra_redis_digits(entra_str_t text, uint64_t max, uint64_t *number)
{
    size_t    i;
    uint64_t  n, digit;

    n = 0;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }

        digit = (uint64_t) (text.data[i] - '0');

        if (n > (max - digit) / 10) {
            return false;
        }

        n = n * 10 + digit;
    }

    *number = n;

    return text.len != 0;
}


/*** of a connection ***/


const redisReply *
entra_redis_message(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 3
           && entra_redis_says(reply->element[0], entra_lit("message"))
           ? reply->element[2] : NULL;
}


bool
entra_redis_is_master(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements
           && entra_redis_says(reply->element[0], entra_lit("master"));
}


bool
entra_redis_tracking_ended(const redisReply *reply)
{
    size_t             i;
    entra_str_t        text;
    const redisReply  *flags;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return false;
    }

    flags = reply->element[1];

    for (i = 0; i < flags->elements; i++) {

        if (!entra_redis_is_string(flags->element[i])
            && flags->element[i]->type != REDIS_REPLY_STATUS)
        {
            continue;
        }

        text = entra_redis_string(flags->element[i]);

        if (entra_str_eq(text, entra_lit("broken_redirect"))
            || entra_str_eq(text, entra_lit("off")))
        {
            return true;
        }
    }

    return false;
}


bool
entra_redis_master(const redisReply *reply, entra_redis_host_t *master)
{
    uint64_t  port;

    if (!entra_redis_is_pair(reply)
        || !entra_redis_is_string(reply->element[1])
        || !entra_redis_digits(entra_redis_string(reply->element[1]), 65535,
                               &port)
        || port == 0)
    {
        return false;
    }

    master->name = entra_redis_string(reply->element[0]);
    master->port = (unsigned) port;

    return master->name.len != 0;
}


/*** of a list ***/


bool
entra_redis_number(const redisReply *reply, uint64_t *number)
{
    return entra_redis_is_string(reply)
           && entra_redis_digits(entra_redis_string(reply), INT64_MAX, number);
}


bool
entra_redis_page(const redisReply *reply, entra_str_t *cursor,
    const redisReply **members)
{
    uint64_t  number;

    if (!entra_redis_is_pair(reply)
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return false;
    }

    *cursor = entra_redis_string(reply->element[0]);
    *members = reply->element[1];

    return cursor->len <= ENTRA_REDIS_CURSOR
           && entra_redis_digits(*cursor, UINT64_MAX, &number);
}


entra_redis_member_e
entra_redis_member(const redisReply *member, entra_typed_t *entry,
    entra_str_t *text)
{
    if (!entra_redis_is_string(member)) {
        return ENTRA_REDIS_NO_MEMBER;
    }

    *text = entra_redis_string(member);

    if (!entra_guid_parse(*text, &entry->id)) {
        return ENTRA_REDIS_ODD_MEMBER;
    }

    entry->upper = entra_guid_upper(*text);

    return ENTRA_REDIS_ID_MEMBER;
}


/*** of a stream ***/


bool
entra_redis_entry(const redisReply *entry, entra_str_t *id,
    const redisReply **fields)
{
    if (!entra_redis_is_pair(entry)
        || entry->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return false;
    }

    *id = entra_redis_string(entry->element[0]);
    *fields = entry->element[1];

    return true;
}


entra_str_t
entra_redis_field(const redisReply *fields, entra_str_t name)
{
    size_t  i;

    for (i = 0; i + 1 < fields->elements; i += 2) {
        if (entra_redis_says(fields->element[i], name)
            && entra_redis_is_string(fields->element[i + 1]))
        {
            return entra_redis_string(fields->element[i + 1]);
        }
    }

    return ENTRA_STR_NONE;
}


size_t
entra_redis_before(entra_str_t id, char out[ENTRA_REDIS_STREAM_ID + 1])
{
    uint64_t      milliseconds, sequence;
    const char   *dash;
    entra_str_t   first;

    dash = id.len ? memchr(id.data, '-', id.len) : NULL;

    if (dash == NULL) {
        return 0;
    }

    first = (entra_str_t) { id.data, (size_t) (dash - id.data) };

    if (!entra_redis_digits(first, UINT64_MAX, &milliseconds)
        || !entra_redis_digits(entra_str_from(id, first.len + 1), UINT64_MAX,
                               &sequence)
        || (milliseconds == 0 && sequence == 0))
    {
        return 0;
    }

    if (sequence-- == 0) {
        /* the greatest there is, by its own definition */
        milliseconds--;
    }

    return (size_t) sprintf(out, "%" PRIu64 "-%" PRIu64, milliseconds,
                            sequence);
}
