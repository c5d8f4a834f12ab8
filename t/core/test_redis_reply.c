/*
 * Answers of Redis, as hiredis reads them.  They are written in short here:
 * words that are a string ($text), a status (+OK), an error (-ERR), a number
 * (:7), nil (_), or the head of an array of so many (*2).
 */

#include "entra_redis_reply.h"
#include "tap.h"


#define GUID        "6D8769e6-0f8b-418d-b385-1a53968781c9"
#define DIGITS_63   "9223372036854775807"
#define DIGITS_64   "18446744073709551615"


/*** making them ***/


static void
feed_word(redisReader *reader, const char *word, size_t len)
{
    int   n;
    char  text[256];

    switch (*word) {

    case '$':
        n = snprintf(text, sizeof(text), "$%zu\r\n%.*s\r\n", len - 1,
                     (int) len - 1, word + 1);
        break;

    case '_':
        n = snprintf(text, sizeof(text), "$-1\r\n");
        break;

    default:
        n = snprintf(text, sizeof(text), "%.*s\r\n", (int) len, word);
        break;
    }

    if (n < 0 || redisReaderFeed(reader, text, (size_t) n) != REDIS_OK) {
        tap_bail("hiredis takes no more");
    }
}


static redisReply *
answer(const char *text)
{
    void         *reply;
    size_t        len;
    redisReader  *reader;

    reader = redisReaderCreate();
    if (reader == NULL) {
        tap_bail("no reader");
    }

    while (*text) {
        len = strcspn(text, " ");
        feed_word(reader, text, len);
        text += len + (text[len] == ' ');
    }

    if (redisReaderGetReply(reader, &reply) != REDIS_OK || reply == NULL) {
        tap_bail("that is no answer");
    }

    redisReaderFree(reader);

    return reply;
}


/*** what they say ***/


static void
test_messages(void)
{
    size_t             i;
    redisReply        *reply;
    const redisReply  *message;

    static const struct {
        const char  *text;
        int          type;              /* of the message; 0: none */
    } rows[] = {
        { "*3 $message $__redis__:invalidate *1 $key", REDIS_REPLY_ARRAY },
        { "*3 $message $__redis__:invalidate _", REDIS_REPLY_NIL },
        { "*3 $message _ :1", REDIS_REPLY_INTEGER },
        { "*3 $subscribe $__redis__:invalidate :1", 0 },
        { "*3 $messages $a $b", 0 },
        { "*3 +message $a $b", 0 },
        { "*3 _ $a $b", 0 },
        { "*2 $message $a", 0 },
        { "*4 $message $a $b $c", 0 },
        { "*0", 0 },
        { "$message", 0 },
        { "-message", 0 },
    };

    for (i = 0; i < tap_count(rows); i++) {
        reply = answer(rows[i].text);
        message = entra_redis_message(reply);
        tap_ok((message ? message->type : 0) == rows[i].type, "message: %s",
               rows[i].text);
        freeReplyObject(reply);
    }
}


static void
test_yes_or_no(const char *what, bool (*says)(const redisReply *reply),
    const char *const *rows)
{
    bool         yes;
    redisReply  *reply;

    for (yes = true; *rows != NULL || yes; rows++) {

        if (*rows == NULL) {
            yes = false;
            continue;
        }

        reply = answer(*rows);
        tap_ok(says(reply) == yes, "%s: %s: %s", what, yes ? "yes" : "no",
               *rows);
        freeReplyObject(reply);
    }
}


/* those that say so, and then those that do not */

static const char *const  masters[] = {
    "*3 $master :3129659 *0",
    "*1 $master",
    NULL,
    "*5 $slave $127.0.0.1 :9000 $connected :3167038",
    "*2 $sentinel *1 $fleet",
    "*1 $Master",
    "*1 $masterly",
    "*1 +master",
    "*0",
    "_",
    "$master",
    "+OK",
    "-NOPERM",
    NULL
};

static const char *const  ended[] = {
    "*6 $flags *2 $on $broken_redirect $redirect :4 $prefixes *0",
    "*2 $flags *2 $on +broken_redirect",
    "*2 $flags *1 $off",
    NULL,
    "*6 $flags *2 $on $bcast $redirect :4 $prefixes *1 $a",
    "*2 $flags *0",
    "*2 $flags *2 :1 *1 $off",
    "*2 $flags $off",
    "*1 $flags",
    "*0",
    "-ERR",
    NULL
};


static void
test_master(void)
{
    bool                 named;
    size_t               i;
    redisReply          *reply;
    entra_redis_host_t   master;

    static const struct {
        const char  *text;
        const char  *name;              /* NULL: it names none */
        unsigned     port;
    } rows[] = {
        { "*2 $10.0.0.1 $6379", "10.0.0.1", 6379 },
        { "*2 $redis.example.com $1", "redis.example.com", 1 },
        { "*2 $::1 $65535", "::1", 65535 },
        { "*2 $a $65536", NULL, 0 },
        { "*2 $a $0", NULL, 0 },
        { "*2 $a $-1", NULL, 0 },
        { "*2 $a $+1", NULL, 0 },
        { "*2 $a $1x", NULL, 0 },
        { "*2 $a $99999999999999999999", NULL, 0 },
        { "*2 $a $", NULL, 0 },
        { "*2 $a :6379", NULL, 0 },
        { "*2 $ $6379", NULL, 0 },
        { "*2 _ $6379", NULL, 0 },
        { "*1 $a", NULL, 0 },
        { "*3 $a $1 $2", NULL, 0 },
        { "_", NULL, 0 },
        { "+OK", NULL, 0 },
    };

    for (i = 0; i < tap_count(rows); i++) {
        reply = answer(rows[i].text);
        named = entra_redis_master(reply, &master);

        tap_ok(named == (rows[i].name != NULL)
               && (!named || (master.port == rows[i].port
                              && entra_str_eq(master.name,
                                              entra_str(rows[i].name)))),
               "Sentinel: %s", rows[i].text);

        freeReplyObject(reply);
    }
}


static void
test_number(void)
{
    bool         is;
    size_t       i;
    uint64_t     number;
    redisReply  *reply;

    static const struct {
        const char  *text;
        bool         is;
        uint64_t     number;
    } rows[] = {
        { "$0", true, 0 },
        { "$42", true, 42 },
        { "$" DIGITS_63, true, INT64_MAX },
        { "$9223372036854775808", false, 0 },
        { "$99999999999999999999", false, 0 },
        { "$-1", false, 0 },
        { "$1.0", false, 0 },
        { "$1e1", false, 0 },
        { "$", false, 0 },
        { "$abc", false, 0 },
        { ":42", false, 0 },
        { "+42", false, 0 },
        { "_", false, 0 },
        { "*1 $42", false, 0 },
    };

    for (i = 0; i < tap_count(rows); i++) {
        reply = answer(rows[i].text);
        number = 0;
        is = entra_redis_number(reply, &number);
        tap_ok(is == rows[i].is && (!is || number == rows[i].number),
               "number: %s", rows[i].text);
        freeReplyObject(reply);
    }
}


static void
test_page(void)
{
    bool               is;
    size_t             i;
    redisReply        *reply;
    entra_str_t        cursor;
    const redisReply  *members;

    static const struct {
        const char  *text;
        const char  *cursor;            /* NULL: it is no page */
        size_t       members;
    } rows[] = {
        { "*2 $0 *0", "0", 0 },
        { "*2 $1792 *2 $a :1", "1792", 2 },
        { "*2 $" DIGITS_64 " *1 $a", DIGITS_64, 1 },
        { "*2 $18446744073709551616 *0", NULL, 0 },
        { "*2 $000000000000000000000 *0", NULL, 0 },
        { "*2 $ *0", NULL, 0 },
        { "*2 $-1 *0", NULL, 0 },
        { "*2 $0x1 *0", NULL, 0 },
        { "*2 :0 *0", NULL, 0 },
        { "*2 _ *0", NULL, 0 },
        { "*2 $0 _", NULL, 0 },
        { "*2 $0 $a", NULL, 0 },
        { "*1 $0", NULL, 0 },
        { "*3 $0 *0 *0", NULL, 0 },
        { "*0", NULL, 0 },
        { "-WRONGTYPE", NULL, 0 },
    };

    for (i = 0; i < tap_count(rows); i++) {
        reply = answer(rows[i].text);
        is = entra_redis_page(reply, &cursor, &members);

        tap_ok(is == (rows[i].cursor != NULL)
               && (!is || (members->elements == rows[i].members
                           && entra_str_eq(cursor,
                                           entra_str(rows[i].cursor)))),
               "page: %s", rows[i].text);

        freeReplyObject(reply);
    }
}


static void
test_member(void)
{
    bool                   ok;
    char                   written[ENTRA_GUID_LEN];
    size_t                 i;
    redisReply            *reply;
    entra_str_t            text;
    entra_typed_t          entry;
    entra_redis_member_e   is;

    static const struct {
        const char            *text;
        entra_redis_member_e   is;
    } rows[] = {
        { "$" GUID, ENTRA_REDIS_ID_MEMBER },
        { "$" GUID "x", ENTRA_REDIS_ODD_MEMBER },
        { "${" GUID "}", ENTRA_REDIS_ODD_MEMBER },
        { "$", ENTRA_REDIS_ODD_MEMBER },
        { "+" GUID, ENTRA_REDIS_NO_MEMBER },
        { "-" GUID, ENTRA_REDIS_NO_MEMBER },
        { "*1 $" GUID, ENTRA_REDIS_NO_MEMBER },
        { ":1", ENTRA_REDIS_NO_MEMBER },
        { "_", ENTRA_REDIS_NO_MEMBER },
    };

    for (i = 0; i < tap_count(rows); i++) {
        reply = answer(rows[i].text);
        is = entra_redis_member(reply, &entry, &text);
        ok = is == rows[i].is;

        if (is == ENTRA_REDIS_ODD_MEMBER) {
            ok = ok && entra_str_eq(text, entra_str(rows[i].text + 1));
        }

        if (is == ENTRA_REDIS_ID_MEMBER) {
            (void) entra_guid_write_typed(&entry.id, entry.upper, written);
            ok = ok && memcmp(written, GUID, ENTRA_GUID_LEN) == 0;
        }

        tap_ok(ok, "member: %s", rows[i].text);
        freeReplyObject(reply);
    }
}


static void
test_entry(void)
{
    bool               is;
    size_t             i;
    redisReply        *reply;
    entra_str_t        id, field;
    const redisReply  *fields;

    static const struct {
        const char  *text;
        const char  *id;                /* NULL: it is no entry */
        const char  *actor;             /* NULL: it has none */
    } rows[] = {
        { "*2 $5-3 *4 $type $added $actor $ann", "5-3", "ann" },
        { "*2 $5-3 *4 $actor $ann $actor $bob", "5-3", "ann" },
        { "*2 $5-3 *2 $actor $", "5-3", "" },
        { "*2 $5-3 *2 $actors $ann", "5-3", NULL },
        { "*2 $5-3 *2 $ann $actor", "5-3", NULL },
        { "*2 $5-3 *2 $actor :1", "5-3", NULL },
        { "*2 $5-3 *4 $actor _ $actor $bob", "5-3", "bob" },
        { "*2 $5-3 *2 _ $ann", "5-3", NULL },
        { "*2 $5-3 *1 $actor", "5-3", NULL },
        { "*2 $5-3 *0", "5-3", NULL },
        { "*2 $5-3 _", NULL, NULL },
        { "*2 :5 *0", NULL, NULL },
        { "*1 $5-3", NULL, NULL },
        { "*3 $5-3 *0 *0", NULL, NULL },
        { "$5-3", NULL, NULL },
        { "_", NULL, NULL },
    };

    for (i = 0; i < tap_count(rows); i++) {
        reply = answer(rows[i].text);
        is = entra_redis_entry(reply, &id, &fields);
        field = is ? entra_redis_field(fields, entra_lit("actor"))
                   : ENTRA_STR_NONE;

        tap_ok(is == (rows[i].id != NULL)
               && (!is || entra_str_eq(id, entra_str(rows[i].id)))
               && (field.data != NULL) == (rows[i].actor != NULL)
               && (field.data == NULL
                   || entra_str_eq(field, entra_str(rows[i].actor))),
               "entry: %s", rows[i].text);

        freeReplyObject(reply);
    }
}


static void
test_before(void)
{
    char    out[ENTRA_REDIS_STREAM_ID + 1], name[64];
    size_t  i, len;

    static const struct {
        const char  *id;
        const char  *before;            /* "": nothing */
    } rows[] = {
        { "5-3", "5-2" },
        { "5-1", "5-0" },
        { "5-0", "4-" DIGITS_64 },
        { "1-0", "0-" DIGITS_64 },
        { "0-1", "0-0" },
        { DIGITS_64 "-" DIGITS_64, DIGITS_64 "-18446744073709551614" },
        { DIGITS_64 "-0", "18446744073709551614-" DIGITS_64 },
        { "0-0", "" },
        { "18446744073709551616-1", "" },
        { "1-18446744073709551616", "" },
        { "5", "" },
        { "5-", "" },
        { "-3", "" },
        { "5--3", "" },
        { "5-3-1", "" },
        { "5-3x", "" },
        { "+", "" },
        { "", "" },
    };

    for (i = 0; i < tap_count(rows); i++) {
        len = entra_redis_before(entra_str(rows[i].id), out);
        snprintf(name, sizeof(name), "before \"%s\"", rows[i].id);
        tap_is_str((entra_str_t) { out, len }, entra_str(rows[i].before),
                   name);
    }
}


int
main(void)
{
    test_messages();
    test_yes_or_no("master", entra_redis_is_master, masters);
    test_yes_or_no("tracking has ended", entra_redis_tracking_ended, ended);
    test_master();
    test_number();
    test_page();
    test_member();
    test_entry();
    test_before();

    return tap_done();
}
