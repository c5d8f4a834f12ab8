/*
 * From a JSON payload to typed claims.
 */

#include <stddef.h>
#include <stdlib.h>

#include "entra_claims.h"
#include "entra_json.h"
#include "entra_json_scan.h"


typedef struct {
    const entra_mem_t  *mem;
    entra_claims_t     *claims;
} entra_claims_reading_t;


typedef struct {
    entra_str_t         name;
    size_t              offset;
} entra_claims_field_t;


static const entra_claims_field_t  entra_claims_strings[] = {
    { ENTRA_STR_INIT("iss"), offsetof(entra_claims_t, iss) },
    { ENTRA_STR_INIT("tid"), offsetof(entra_claims_t, tid) },
    { ENTRA_STR_INIT("scp"), offsetof(entra_claims_t, scp) },
    { ENTRA_STR_INIT("upn"), offsetof(entra_claims_t, upn) },
    { ENTRA_STR_INIT("preferred_username"),
      offsetof(entra_claims_t, preferred_username) },
    { ENTRA_STR_INIT("oid"), offsetof(entra_claims_t, oid) },
    { ENTRA_STR_INIT("deviceid"), offsetof(entra_claims_t, deviceid) },
    { ENTRA_STR_INIT("ver"), offsetof(entra_claims_t, ver) },
};

static const entra_claims_field_t  entra_claims_times[] = {
    { ENTRA_STR_INIT("exp"), offsetof(entra_claims_t, exp) },
    { ENTRA_STR_INIT("nbf"), offsetof(entra_claims_t, nbf) },
    { ENTRA_STR_INIT("iat"), offsetof(entra_claims_t, iat) },
};

#define ENTRA_CLAIMS_STRINGS                                                  \
    (sizeof(entra_claims_strings) / sizeof(entra_claims_field_t))
#define ENTRA_CLAIMS_TIMES                                                    \
    (sizeof(entra_claims_times) / sizeof(entra_claims_field_t))


/* the member of *claims for a name, or NULL */

static void *
entra_claims_field(entra_claims_t *claims, entra_str_t name,
    const entra_claims_field_t *fields, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (entra_str_eq(name, fields[i].name)) {
            return (char *) claims + fields[i].offset;
        }
    }

    return NULL;
}


/*** audiences ***/


typedef struct {
    entra_str_t  *aud;                  /* NULL: only count them */
    size_t        n;
    size_t        max;
    bool          wrong;                /* one is not a string */
} entra_claims_auds_t;


static bool
entra_claims_aud_item(void *data, const entra_json_item_t *item)
{
    entra_claims_auds_t  *auds = data;

    auds->wrong |= (item->type != ENTRA_JSON_STRING);

    if (auds->n < auds->max) {
        auds->aud[auds->n] = item->value;
    }

    auds->n++;

    return true;
}


/* the array is known to be well-formed: what can fail is memory */

static bool
entra_claims_aud_array(entra_str_t text, const entra_mem_t *mem,
    entra_claims_t *claims)
{
    entra_claims_auds_t  auds;

    memset(&auds, 0, sizeof(entra_claims_auds_t));

    if (entra_json_scan(text, ENTRA_JSON_ARRAY, mem, entra_claims_aud_item,
                        &auds) != ENTRA_OK)
    {
        return false;
    }

    if (auds.wrong) {
        return true;
    }

    auds.aud = entra_alloc(mem, auds.n * sizeof(entra_str_t));
    if (auds.aud == NULL) {
        return false;
    }

    auds.max = auds.n;
    auds.n = 0;

    if (entra_json_scan(text, ENTRA_JSON_ARRAY, mem, entra_claims_aud_item,
                        &auds) != ENTRA_OK)
    {
        return false;
    }

    claims->aud = auds.aud;
    claims->naud = auds.max;
    claims->aud_state = ENTRA_CLAIM_PRESENT;

    return true;
}


/*
 * RFC 7519 4.1.3: one string or an array of strings; false: out of memory.  A
 * name that comes twice is refused, but only at the end of the object: until
 * then the last one takes the place of the others.
 */

static bool
entra_claims_aud(const entra_json_item_t *item, const entra_mem_t *mem,
    entra_claims_t *claims)
{
    claims->aud = NULL;
    claims->naud = 0;
    claims->aud_state = ENTRA_CLAIM_WRONG;

    if (item->type == ENTRA_JSON_ARRAY) {
        return entra_claims_aud_array(item->value, mem, claims);
    }

    if (item->type != ENTRA_JSON_STRING) {
        return true;
    }

    claims->aud = entra_alloc(mem, sizeof(entra_str_t));
    if (claims->aud == NULL) {
        return false;
    }

    claims->aud[0] = item->value;
    claims->naud = 1;
    claims->aud_state = ENTRA_CLAIM_PRESENT;

    return true;
}


/*** reading ***/


static bool
entra_claims_item(void *data, const entra_json_item_t *item)
{
    entra_claims_t          *claims;
    entra_claim_str_t       *string;
    entra_claim_time_t      *time;
    entra_claims_reading_t  *reading = data;

    claims = reading->claims;

    if (entra_str_eq(item->name, entra_lit("aud"))) {
        return entra_claims_aud(item, reading->mem, claims);
    }

    string = entra_claims_field(claims, item->name, entra_claims_strings,
                                ENTRA_CLAIMS_STRINGS);

    if (string != NULL) {
        string->state = ENTRA_CLAIM_WRONG;

        if (item->type == ENTRA_JSON_STRING) {
            string->state = ENTRA_CLAIM_PRESENT;
            string->value = item->value;
        }

        return true;
    }

    time = entra_claims_field(claims, item->name, entra_claims_times,
                              ENTRA_CLAIMS_TIMES);

    if (time != NULL) {
        time->state = ENTRA_CLAIM_WRONG;

        if (item->type == ENTRA_JSON_NUMBER) {
            time->state = ENTRA_CLAIM_PRESENT;
            return entra_json_number(item->value, &time->value);
        }
    }

    return true;
}


entra_reason_t
entra_claims_parse(entra_str_t payload, const entra_mem_t *mem,
    entra_claims_t *claims)
{
    entra_reason_t           reason;
    entra_claims_reading_t   reading;

    memset(claims, 0, sizeof(entra_claims_t));

    reading.mem = mem;
    reading.claims = claims;

    reason = entra_json_scan(payload, ENTRA_JSON_OBJECT, mem,
                             entra_claims_item, &reading);

    if (reason != ENTRA_OK) {
        memset(claims, 0, sizeof(entra_claims_t));
        return reason;
    }

    claims->payload = payload;

    return ENTRA_OK;
}


/*** copying ***/


static const entra_claim_str_t *
entra_claims_string(const entra_claims_t *claims, size_t i)
{
    return (const entra_claim_str_t *)
           ((const char *) claims + entra_claims_strings[i].offset);
}


size_t
entra_claims_size(const entra_claims_t *claims)
{
    size_t  i, size;

    size = claims->payload.len + claims->naud * sizeof(entra_str_t);

    for (i = 0; i < claims->naud; i++) {
        size += claims->aud[i].len;
    }

    for (i = 0; i < ENTRA_CLAIMS_STRINGS; i++) {
        size += entra_claims_string(claims, i)->value.len;
    }

    return size;
}


/* moves a view to where its bytes are copied; returns the end of them */

static char *
entra_claims_move(entra_str_t *view, char *to)
{
    /* false alarm (null-dereference, NullDereference): naud is 0 then */
    if (view->data == NULL) {
        return to;
    }

    memcpy(to, view->data, view->len);
    view->data = to;

    return to + view->len;
}


void
entra_claims_copy(const entra_claims_t *claims, void *piece,
    entra_claims_t *copy)
{
    char    *to;
    size_t   i;

    *copy = *claims;

    to = piece;
    copy->aud = NULL;

    if (claims->naud) {
        copy->aud = piece;
        memcpy(copy->aud, claims->aud, claims->naud * sizeof(entra_str_t));
        to += claims->naud * sizeof(entra_str_t);
    }

    for (i = 0; i < copy->naud; i++) {
        to = entra_claims_move(&copy->aud[i], to);
    }

    for (i = 0; i < ENTRA_CLAIMS_STRINGS; i++) {
        to = entra_claims_move(&((entra_claim_str_t *)
                     ((char *) copy + entra_claims_strings[i].offset))->value,
                               to);
    }

    (void) entra_claims_move(&copy->payload, to);
}


/*** any claim ***/


typedef struct {
    entra_str_t        name;
    entra_json_item_t  found;
    size_t             count;
} entra_claims_search_t;


static bool
entra_claims_search(void *data, const entra_json_item_t *item)
{
    entra_claims_search_t  *search = data;

    if (entra_str_ieq(item->name, search->name)) {
        search->found = *item;
        search->count++;
    }

    return true;
}


/* 15 digits always come back as they were written, 17 make 0.1 longer */

static bool
entra_claims_dump(entra_str_t text, const entra_mem_t *mem,
    entra_str_t *value)
{
    bool     copied;
    char    *dump;
    json_t  *json;

    if (entra_json_value(text, &json) != ENTRA_OK) {
        return false;
    }

    dump = json_dumps(json,
                      JSON_COMPACT|JSON_ENCODE_ANY|JSON_REAL_PRECISION(15));
    json_decref(json);

    if (dump == NULL) {
        return false;
    }

    copied = entra_str_copy(mem, entra_str(dump), value);
    free(dump);

    return copied;
}


bool
entra_claims_get(const entra_claims_t *claims, entra_str_t name,
    const entra_mem_t *mem, entra_str_t *value)
{
    entra_claims_search_t  search;

    search.name = name;
    search.count = 0;

    if (claims->payload.data == NULL
        || entra_json_scan(claims->payload, ENTRA_JSON_OBJECT, mem,
                           entra_claims_search, &search) != ENTRA_OK
        || search.count != 1)
    {
        return false;
    }

    if (search.found.type == ENTRA_JSON_STRING
        || search.found.type == ENTRA_JSON_NUMBER)
    {
        return entra_str_copy(mem, search.found.value, value);
    }

    return entra_claims_dump(search.found.value, mem, value);
}
