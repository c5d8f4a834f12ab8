/*
 * Answers of Redis taken apart: whether one has the form that a Redis gives
 * it, and what it says.  hiredis has read it, and its type stays in the files
 * that include this one.  Whatever else has answered says nothing here; views
 * live as long as the answer.
 */

#ifndef ENTRA_REDIS_REPLY_H
#define ENTRA_REDIS_REPLY_H

#include <hiredis/hiredis.h>

#include "entra_redis_url.h"
#include "entra_set.h"


#define ENTRA_REDIS_CURSOR     20       /* digits of one, at most */
#define ENTRA_REDIS_STREAM_ID  41       /* two numbers and a "-" */


/* what a subscriber is told, of ["message", channel, what]; NULL: no message */
const redisReply *entra_redis_message(const redisReply *reply);

/* ROLE: ["master", ...] */
bool entra_redis_is_master(const redisReply *reply);

/*
 * CLIENT TRACKINGINFO: ["flags", ["on", ...], ...] with a flag that says that
 * nothing more will come.  A server before 6.2, which knows no such command,
 * does not say so.
 */
bool entra_redis_tracking_ended(const redisReply *reply);

/* SENTINEL get-master-addr-by-name: [name, port]; false: it names no address */
bool entra_redis_master(const redisReply *reply, entra_redis_host_t *master);

/* GET of a whole number from 0 on, which fits 63 bits */
bool entra_redis_number(const redisReply *reply, uint64_t *number);

/* SSCAN: [cursor, [member, ...]]; *members is the array */
bool entra_redis_page(const redisReply *reply, entra_str_t *cursor,
    const redisReply **members);


typedef enum {
    ENTRA_REDIS_NO_MEMBER = 0,          /* no set has such a one */
    ENTRA_REDIS_ODD_MEMBER,             /* text, but no GUID */
    ENTRA_REDIS_ID_MEMBER               /* a GUID: *entry is filled in */
} entra_redis_member_e;

/* a member of such an array, or of what SMEMBERS answers */
entra_redis_member_e entra_redis_member(const redisReply *member,
    entra_typed_t *entry, entra_str_t *text);


/* an entry of a stream, [id, [name, value, ...]]; *fields is the array */
bool entra_redis_entry(const redisReply *entry, entra_str_t *id,
    const redisReply **fields);

/* data NULL: it has no such field */
entra_str_t entra_redis_field(const redisReply *fields, entra_str_t name);

/*
 * The ID before one, "5-3", written to out; older servers know no exclusive
 * ranges.  Returns its length, 0: there is none before it, or it is no ID.
 */
size_t entra_redis_before(entra_str_t id, char out[ENTRA_REDIS_STREAM_ID + 1]);


#endif /* ENTRA_REDIS_REPLY_H */
