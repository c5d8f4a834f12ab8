/*
 * Answers of Redis: hiredis reads whatever comes, in pieces, and the core
 * takes it apart.  What it tells is what stands there, and nothing else: an
 * answer of another form says nothing.
 */

#include <errno.h>

#include "entra_gather.h"
#include "entra_redis_error.h"
#include "entra_redis_reply.h"
#include "fuzz.h"


#define ELEMENTS  2048                  /* of all arrays, as in the feed */
#define BATCH     5


/*** reading ***/


static size_t                      elements;
static redisReplyObjectFunctions   functions;
static redisReplyObjectFunctions  *hiredis;

#if (HIREDIS_MAJOR >= 1)
typedef size_t  elements_t;
#else
typedef int     elements_t;
#endif


/* hiredis would take memory for as many as are announced */

static void *
fuzz_array(const redisReadTask *task, elements_t n)
{
    elements += (size_t) n;

    return elements > ELEMENTS ? NULL : hiredis->createArray(task, n);
}


static redisReader *
fuzz_reader(void)
{
    redisReader  *reader;

    reader = redisReaderCreate();
    fuzz_claim(reader != NULL);

    hiredis = hiredis ? hiredis : reader->fn;
    functions = *hiredis;
    functions.createArray = fuzz_array;
    reader->fn = &functions;

    elements = 0;

    return reader;
}


/*** numbers ***/


/* strtoull() takes blanks, signs and what exceeds its range */

static bool
fuzz_number(entra_str_t text, pool_t *pool, unsigned long long *number)
{
    char    *copy;
    size_t   digits;

    copy = pool_alloc(pool, text.len + 1);
    memcpy(copy, text.len ? text.data : "", text.len);
    copy[text.len] = '\0';

    digits = strspn(copy, "0123456789");
    errno = 0;
    *number = strtoull(copy, NULL, 10);

    return digits != 0 && digits == text.len && errno == 0;
}


/*** what is told ***/


static entra_str_t
fuzz_string(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING
           ? (entra_str_t) { reply->str, (size_t) reply->len }
           : ENTRA_STR_NONE;
}


static void
fuzz_connection(pool_t *pool, const redisReply *reply)
{
    bool                 named;
    entra_redis_host_t   master;
    unsigned long long   port;

    if (entra_redis_message(reply) != NULL) {
        fuzz_claim(entra_str_eq(fuzz_string(reply->element[0]),
                                entra_lit("message")));
        fuzz_claim(entra_redis_message(reply) == reply->element[2]);
        fuzz_claim(!entra_redis_is_master(reply));
    }

    if (entra_redis_is_master(reply)) {
        fuzz_claim(entra_str_eq(fuzz_string(reply->element[0]),
                                entra_lit("master")));
    }

    if (entra_redis_tracking_ended(reply)) {
        fuzz_claim(reply->type == REDIS_REPLY_ARRAY
                   && reply->element[1]->elements != 0);
    }

    named = entra_redis_master(reply, &master);

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        fuzz_claim(named == (fuzz_string(reply->element[0]).len != 0
                             && fuzz_number(fuzz_string(reply->element[1]),
                                            pool, &port)
                             && port >= 1 && port <= 65535));

        if (named) {
            fuzz_claim(master.port == port);
            fuzz_claim(entra_str_eq(master.name,
                                    fuzz_string(reply->element[0])));
        }

    } else {
        fuzz_claim(!named);
    }
}


static void
fuzz_generation(pool_t *pool, const redisReply *reply)
{
    bool                 is;
    uint64_t             number;
    unsigned long long   expected;

    is = entra_redis_number(reply, &number);

    fuzz_claim(is == (fuzz_number(fuzz_string(reply), pool, &expected)
                      && expected <= INT64_MAX));
    fuzz_claim(!is || number == expected);
}


/* in batches, as a scan brings them, and then all of them are in the set */

static void
fuzz_members(pool_t *pool, const redisReply *members)
{
    size_t                 i, j, n, ids;
    entra_set_t            set;
    entra_str_t            text;
    entra_typed_t          batch[BATCH], *all;
    entra_gather_t         gather;
    entra_redis_member_e   is;

    all = pool_alloc(pool, (members->elements + 1) * sizeof(entra_typed_t));
    entra_gather_init(&gather);
    ids = 0;
    n = 0;

    for (i = 0; i < members->elements; i++) {
        text = ENTRA_STR_NONE;
        is = entra_redis_member(members->element[i], &batch[n], &text);

        fuzz_claim((is == ENTRA_REDIS_NO_MEMBER)
                   == (members->element[i]->type != REDIS_REPLY_STRING));
        fuzz_claim(is == ENTRA_REDIS_NO_MEMBER
                   || entra_str_eq(text, fuzz_string(members->element[i])));

        if (is == ENTRA_REDIS_ID_MEMBER) {
            all[ids++] = batch[n++];
        }

        if (n == BATCH || i + 1 == members->elements) {
            fuzz_claim(entra_gather_add(&gather, batch, n));
            n = 0;

            while (entra_gather_step(&gather) == ENTRA_GATHER_MORE) {
                /* void */
            }
        }
    }

    entra_gather_end(&gather);

    while (entra_gather_step(&gather) == ENTRA_GATHER_MORE) {
        /* void */
    }

    set = entra_gather_set(&gather);
    fuzz_claim(set.count <= ids && (set.count != 0) == (ids != 0));

    for (i = 0; i < ids; i++) {
        fuzz_claim(entra_set_has(&set, &all[i].id));
    }

    /* each once, and spelled as one of them was */

    for (i = 0; i < set.count; i++) {
        fuzz_claim(i == 0 || memcmp(&set.ids[i - 1], &set.ids[i],
                                    sizeof(entra_guid_t)) < 0);

        for (j = 0; j < ids; j++) {
            if (memcmp(&set.ids[i], &all[j].id, sizeof(entra_guid_t)) == 0
                && entra_set_upper(&set, i) == all[j].upper)
            {
                break;
            }
        }

        fuzz_claim(j < ids);
    }

    entra_gather_free(&gather);
}


static void
fuzz_list(pool_t *pool, const redisReply *reply)
{
    bool                 is;
    entra_str_t          cursor;
    const redisReply    *members;
    unsigned long long   number;

    is = entra_redis_page(reply, &cursor, &members);

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        fuzz_claim(!is);
        return;
    }

    fuzz_claim(is == (fuzz_number(fuzz_string(reply->element[0]), pool,
                                  &number)
                      && fuzz_string(reply->element[0]).len
                         <= ENTRA_REDIS_CURSOR
                      && reply->element[1]->type == REDIS_REPLY_ARRAY));

    if (is) {
        fuzz_claim(entra_str_eq(cursor, fuzz_string(reply->element[0])));
        fuzz_claim(members == reply->element[1]);
    }
}


/* the ID that follows what stands before one is that one */

static void
fuzz_before(pool_t *pool, entra_str_t id)
{
    char                 out[ENTRA_REDIS_STREAM_ID + 1];
    size_t               i, len;
    unsigned long long   ms[2], sequence[2];

    for (i = 0; i < id.len && id.data[i] != '-'; i++) {
        /* void */
    }

    len = entra_redis_before(id, out);

    if (i == id.len
        || !fuzz_number((entra_str_t) { id.data, i }, pool, &ms[0])
        || !fuzz_number(entra_str_from(id, i + 1), pool, &sequence[0])
        || (ms[0] == 0 && sequence[0] == 0))
    {
        fuzz_claim(len == 0);
        return;
    }

    fuzz_claim(len != 0 && len <= ENTRA_REDIS_STREAM_ID && out[len] == '\0');
    fuzz_claim(sscanf(out, "%llu-%llu", &ms[1], &sequence[1]) == 2);

    if (++sequence[1] == 0) {
        ms[1]++;
    }

    fuzz_claim(ms[0] == ms[1] && sequence[0] == sequence[1]);
}


static void
fuzz_stream(pool_t *pool, const redisReply *reply)
{
    size_t             i;
    entra_str_t        id, field;
    const redisReply  *fields;

    static const entra_str_t  actor = ENTRA_STR_INIT("actor");

    if (!entra_redis_entry(reply, &id, &fields)) {
        return;
    }

    fuzz_claim(reply->elements == 2 && fields == reply->element[1]);
    fuzz_claim(entra_str_eq(id, fuzz_string(reply->element[0])));
    fuzz_before(pool, id);

    field = entra_redis_field(fields, actor);

    for (i = 0; i + 1 < fields->elements; i += 2) {
        if (fields->element[i]->type == REDIS_REPLY_STRING
            && entra_str_eq(fuzz_string(fields->element[i]), actor)
            && fields->element[i + 1]->type == REDIS_REPLY_STRING)
        {
            fuzz_claim(field.data == fields->element[i + 1]->str);
            return;
        }
    }

    fuzz_claim(field.data == NULL);
}


static void
fuzz_error(const redisReply *reply)
{
    char                 port[16];
    size_t               len;
    entra_str_t          text;
    entra_redis_host_t   moved;

    text = (entra_str_t) { reply->str, (size_t) reply->len };

    if (entra_redis_error(text, &moved) != ENTRA_REDIS_MOVED) {
        return;
    }

    fuzz_claim(entra_str_starts(text, entra_lit("MOVED ")));
    fuzz_claim(fuzz_within(moved.name, text));
    fuzz_claim(moved.port >= 1 && moved.port <= 65535);

    /* the text ends in the port, zeros before it aside */

    len = (size_t) snprintf(port, sizeof(port), "%u", moved.port);
    fuzz_claim(text.len > len
               && memcmp(text.data + text.len - len, port, len) == 0);
}


static void
fuzz_reply(pool_t *pool, const redisReply *reply)
{
    size_t  i;

    fuzz_connection(pool, reply);
    fuzz_generation(pool, reply);
    fuzz_list(pool, reply);
    fuzz_stream(pool, reply);

    if (reply->type == REDIS_REPLY_ERROR) {
        fuzz_error(reply);
    }

    if (reply->type == REDIS_REPLY_ARRAY) {
        fuzz_members(pool, reply);

        for (i = 0; i < reply->elements; i++) {
            fuzz_reply(pool, reply->element[i]);
        }
    }
}


/* all that has come; returns how many answers that was */

static size_t
fuzz_replies(pool_t *pool, redisReader *reader)
{
    void    *reply;
    size_t   n;

    for (n = 0; redisReaderGetReply(reader, &reply) == REDIS_OK
                && reply != NULL; n++)
    {
        fuzz_reply(pool, reply);
        freeReplyObject(reply);
        elements = 0;
    }

    return n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t        i, n, whole, cut;
    pool_t        pool;
    entra_str_t   text;
    redisReader  *reader;

    if (size > 8 * 1024) {
        return 0;
    }

    pool_init(&pool);
    text = fuzz_copy(&pool, data, size);

    reader = fuzz_reader();
    (void) redisReaderFeed(reader, text.data, text.len);
    whole = fuzz_replies(&pool, reader);
    redisReaderFree(reader);

    pool_free(&pool);

    /* the same in pieces */

    reader = fuzz_reader();
    cut = 0;

    for (i = 0; i < size; i += n) {
        n = 1 + data[i] % 64;
        n = n < size - i ? n : size - i;

        pool_init(&pool);
        text = fuzz_copy(&pool, data + i, n);

        if (redisReaderFeed(reader, text.data, text.len) == REDIS_OK) {
            cut += fuzz_replies(&pool, reader);
        }

        pool_free(&pool);
    }

    redisReaderFree(reader);

    fuzz_claim(whole == cut);

    return 0;
}
