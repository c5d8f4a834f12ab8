/*
 * JSON (RFC 8259) by recursive descent.  Functions that read return false for
 * what is not well-formed, and for want of memory, which is noted beside.
 */

#include <stdlib.h>

#include "entra_json.h"
#include "entra_json_scan.h"
#include "entra_json_text.h"


/* as jansson counts: the document is the first value, a member the second */
#define MAX_DEPTH    2048

/* names of one object compared each with each; more are sorted */
#define FEW_NAMES    24

/* names of all objects that are open that need no memory of their own */
#define OWN_NAMES    64

/* digits without an exponent that no double is too small for */
#define SAFE_DIGITS  300


typedef struct {
    const char          *pos;
    const char          *end;
    size_t               size;          /* of the document */
    unsigned             depth;
    bool                 no_memory;

    const entra_mem_t   *mem;
    char                *room;          /* for decoded strings */

    entra_str_t         *names;         /* of the objects that are open */
    size_t               nnames;
    size_t               max_names;
    entra_str_t          own[OWN_NAMES];

    entra_json_item_pt   handler;
    void                *data;
} entra_scan_t;


static bool entra_scan_value(entra_scan_t *s, entra_json_item_t *item);


/*** tokens ***/


static bool
entra_scan_no_memory(entra_scan_t *s)
{
    s->no_memory = true;

    return false;
}


/* the next character that is not white space, or 0 at the end */

static char
entra_scan_peek(entra_scan_t *s)
{
    while (s->pos < s->end && (*s->pos == ' ' || *s->pos == '\n'
                               || *s->pos == '\r' || *s->pos == '\t'))
    {
        s->pos++;
    }

    return (char) (s->pos < s->end ? *s->pos : 0);
}


static bool
entra_scan_is(entra_scan_t *s, char c)
{
    if (entra_scan_peek(s) != c) {
        return false;
    }

    s->pos++;

    return true;
}


static bool
entra_scan_word(entra_scan_t *s, entra_str_t word)
{
    entra_str_t  rest;

    rest = (entra_str_t) { s->pos, (size_t) (s->end - s->pos) };

    if (!entra_str_starts(rest, word)) {
        return false;
    }

    s->pos += word.len;

    return true;
}


/*** numbers ***/


/* at least one digit */

static bool
entra_scan_digits(entra_scan_t *s)
{
    const char  *start;

    start = s->pos;

    while (s->pos < s->end && *s->pos >= '0' && *s->pos <= '9') {
        s->pos++;
    }

    return s->pos > start;
}


/* "e", a sign maybe, digits; *there tells whether it was */

static bool
entra_scan_exponent(entra_scan_t *s, bool *there)
{
    *there = s->pos < s->end && (*s->pos == 'e' || *s->pos == 'E');

    if (!*there) {
        return true;
    }

    s->pos++;

    if (s->pos < s->end && (*s->pos == '+' || *s->pos == '-')) {
        s->pos++;
    }

    return entra_scan_digits(s);
}


/* one that is too large for a double is refused, whoever's it is */

static bool
entra_scan_number(entra_scan_t *s, entra_json_item_t *item)
{
    bool            exponent;
    double          value;
    const char     *start, *digits;
    entra_reason_t  reason;

    start = s->pos;
    s->pos += (*s->pos == '-');
    digits = s->pos;

    if (!entra_scan_digits(s) || (*digits == '0' && s->pos - digits > 1)) {
        return false;
    }

    if (s->pos < s->end && *s->pos == '.') {
        s->pos++;

        if (!entra_scan_digits(s)) {
            return false;
        }
    }

    if (!entra_scan_exponent(s, &exponent)) {
        return false;
    }

    item->type = ENTRA_JSON_NUMBER;
    item->value = (entra_str_t) { start, (size_t) (s->pos - start) };

    if (!exponent && item->value.len <= SAFE_DIGITS) {
        return true;
    }

    reason = entra_json_real(item->value, &value);
    s->no_memory |= (reason == ENTRA_INTERNAL);

    return reason == ENTRA_OK;
}


bool
entra_json_number(entra_str_t text, double *value)
{
    size_t   i;
    int64_t  n;

    n = 0;
    i = (text.data[0] == '-');

    /* 18 digits fit an integer */

    while (i < text.len && i < 18 && text.data[i] >= '0'
           && text.data[i] <= '9')
    {
        n = n * 10 + (text.data[i++] - '0');
    }

    if (i < text.len) {
        return entra_json_real(text, value) == ENTRA_OK;
    }

    *value = (double) (text.data[0] == '-' ? -n : n);

    return true;
}


/*** strings and names ***/


/* all strings of a document decoded take less than the document */

static bool
entra_scan_string(entra_scan_t *s, entra_str_t *text, bool wanted)
{
    bool         escaped;
    char        *start;
    const char  *end;

    end = entra_json_quoted(s->pos, s->end, text, &escaped);

    if (end == NULL) {
        return false;
    }

    s->pos = end;

    if (!escaped || !wanted) {
        return true;
    }

    if (s->room == NULL) {
        s->room = entra_alloc(s->mem, s->size);

        if (s->room == NULL) {
            return entra_scan_no_memory(s);
        }
    }

    start = s->room;
    s->room = entra_json_unescape(*text, start);

    *text = (entra_str_t) { start, (size_t) (s->room - start) };

    return true;
}


static bool
entra_scan_name_add(entra_scan_t *s, entra_str_t name)
{
    size_t        max;
    entra_str_t  *names;

    if (s->nnames == s->max_names) {
        max = 2 * s->max_names;

        names = malloc(max * sizeof(entra_str_t));
        if (names == NULL) {
            return entra_scan_no_memory(s);
        }

        memcpy(names, s->names, s->nnames * sizeof(entra_str_t));

        if (s->names != s->own) {
            free(s->names);
        }

        s->names = names;
        s->max_names = max;
    }

    s->names[s->nnames++] = name;

    return true;
}


static int
entra_scan_name_compare(const void *one, const void *two)
{
    const entra_str_t  *a, *b;

    a = one;
    b = two;

    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }

    return a->len ? memcmp(a->data, b->data, a->len) : 0;
}


/*
 * Sorted where they are many: whoever sends thousands of names, chosen for
 * it, is to gain nothing.
 */

static bool
entra_scan_names_differ(entra_str_t *names, size_t n)
{
    size_t  i, j;

    if (n <= FEW_NAMES) {
        for (i = 1; i < n; i++) {
            for (j = 0; j < i; j++) {
                if (entra_str_eq(names[i], names[j])) {
                    return false;
                }
            }
        }

        return true;
    }

    qsort(names, n, sizeof(entra_str_t), entra_scan_name_compare);

    for (i = 1; i < n; i++) {
        if (entra_str_eq(names[i], names[i - 1])) {
            return false;
        }
    }

    return true;
}


/*** values ***/


static bool
entra_scan_handle(entra_scan_t *s, const entra_json_item_t *item)
{
    /* what lies deeper is nobody's business */

    if (s->depth > 1 || s->handler(s->data, item)) {
        return true;
    }

    return entra_scan_no_memory(s);
}


static bool
entra_scan_object(entra_scan_t *s)
{
    bool               differ;
    size_t             first;
    entra_json_item_t  item;

    first = s->nnames;
    s->pos++;

    if (entra_scan_is(s, '}')) {
        return true;
    }

    do {
        if (entra_scan_peek(s) != '"'
            || !entra_scan_string(s, &item.name, true)
            || !entra_scan_name_add(s, item.name)
            || !entra_scan_is(s, ':')
            || !entra_scan_value(s, &item)
            || !entra_scan_handle(s, &item))
        {
            return false;
        }

    } while (entra_scan_is(s, ','));

    differ = entra_scan_names_differ(&s->names[first], s->nnames - first);
    s->nnames = first;

    return differ && entra_scan_is(s, '}');
}


static bool
entra_scan_array(entra_scan_t *s)
{
    entra_json_item_t  item;

    item.name = ENTRA_STR_NONE;
    s->pos++;

    if (entra_scan_is(s, ']')) {
        return true;
    }

    do {
        if (!entra_scan_value(s, &item) || !entra_scan_handle(s, &item)) {
            return false;
        }

    } while (entra_scan_is(s, ','));

    return entra_scan_is(s, ']');
}


static bool
entra_scan_inner(entra_scan_t *s, entra_json_item_t *item)
{
    bool         read;
    const char  *start;

    start = s->pos;
    item->type = (*start == '{') ? ENTRA_JSON_OBJECT : ENTRA_JSON_ARRAY;

    read = (*start == '{') ? entra_scan_object(s) : entra_scan_array(s);

    if (read) {
        item->value = (entra_str_t) { start, (size_t) (s->pos - start) };
    }

    return read;
}


static bool
entra_scan_words(entra_scan_t *s, entra_json_item_t *item)
{
    const char  *start;

    start = s->pos;

    if (!entra_scan_word(s, entra_lit("true"))
        && !entra_scan_word(s, entra_lit("false"))
        && !entra_scan_word(s, entra_lit("null")))
    {
        return false;
    }

    item->type = ENTRA_JSON_WORD;
    item->value = (entra_str_t) { start, (size_t) (s->pos - start) };

    return true;
}


static bool
entra_scan_value(entra_scan_t *s, entra_json_item_t *item)
{
    char  c;
    bool  read;

    if (s->depth == MAX_DEPTH) {
        return false;
    }

    c = entra_scan_peek(s);

    if (c == '"') {
        item->type = ENTRA_JSON_STRING;
        return entra_scan_string(s, &item->value, s->depth == 1);
    }

    if (c == '-' || (c >= '0' && c <= '9')) {
        return entra_scan_number(s, item);
    }

    if (c != '{' && c != '[') {
        return entra_scan_words(s, item);
    }

    s->depth++;
    read = entra_scan_inner(s, item);
    s->depth--;

    return read;
}


entra_reason_t
entra_json_scan(entra_str_t text, entra_json_type_t type,
    const entra_mem_t *mem, entra_json_item_pt handler, void *data)
{
    bool               read;
    entra_scan_t       s;
    entra_json_item_t  item;

    s.pos = text.data;
    s.end = text.len ? text.data + text.len : text.data;
    s.size = text.len;
    s.depth = 0;
    s.no_memory = false;
    s.mem = mem;
    s.room = NULL;
    s.names = s.own;
    s.nnames = 0;
    s.max_names = OWN_NAMES;
    s.handler = handler;
    s.data = data;

    read = entra_scan_peek(&s) == (type == ENTRA_JSON_OBJECT ? '{' : '[')
           && entra_scan_value(&s, &item)
           && entra_scan_peek(&s) == 0 && s.pos == s.end;

    if (s.names != s.own) {
        free(s.names);
    }

    if (read) {
        return ENTRA_OK;
    }

    return s.no_memory ? ENTRA_INTERNAL : ENTRA_TOKEN_MALFORMED;
}
