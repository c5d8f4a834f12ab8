/*
 * Strings of JSON: UTF-8 (RFC 3629) and escapes (RFC 8259 7).  Functions that
 * read return where what they have read ends, or NULL: it is not well-formed.
 */

#include "entra_json_text.h"


/* what ends a plain run: quote, backslash, controls, all beyond ASCII */

static bool
entra_json_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}


/* one character of RFC 3629: no surrogates, nothing longer than it need be */

static const char *
entra_json_utf8(const char *pos, const char *end)
{
    size_t                n, i;
    unsigned char         low, high;
    const unsigned char  *p;

    p = (const unsigned char *) pos;
    low = 0x80;
    high = 0xbf;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;

    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        low = (p[0] == 0xe0) ? 0xa0 : 0x80;
        high = (p[0] == 0xed) ? 0x9f : 0xbf;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        low = (p[0] == 0xf0) ? 0x90 : 0x80;
        high = (p[0] == 0xf4) ? 0x8f : 0xbf;

    } else {
        return NULL;
    }

    if ((size_t) (end - pos) < n || p[1] < low || p[1] > high) {
        return NULL;
    }

    for (i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return NULL;
        }
    }

    return pos + n;
}


/* the four digits of \u, at pos; false: they are none */

static bool
entra_json_hex(const char *pos, const char *end, uint32_t *code)
{
    int   i;
    char  c;

    if (end - pos < 4) {
        return false;
    }

    *code = 0;

    for (i = 0; i < 4; i++) {
        c = entra_lower(pos[i]);

        if (c >= '0' && c <= '9') {
            *code = *code << 4 | (uint32_t) (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            *code = *code << 4 | (uint32_t) (c - 'a' + 10);

        } else {
            return false;
        }
    }

    return true;
}


/*
 * A character written as \uXXXX, or as two of them; pos is behind the first
 * \u.  Returns where it ends, or NULL: U+0000, or half a pair.
 */

static const char *
entra_json_unicode(const char *pos, const char *end, uint32_t *code)
{
    uint32_t  low;

    if (!entra_json_hex(pos, end, code) || *code == 0) {
        return NULL;
    }

    pos += 4;

    if (*code < 0xd800 || *code > 0xdfff) {
        return pos;
    }

    if (*code > 0xdbff || end - pos < 2 || pos[0] != '\\' || pos[1] != 'u'
        || !entra_json_hex(pos + 2, end, &low)
        || low < 0xdc00 || low > 0xdfff)
    {
        return NULL;
    }

    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);

    return pos + 6;
}


/* one escape, pos at its backslash */

static const char *
entra_json_escape(const char *pos, const char *end)
{
    uint32_t  code;

    if (end - pos < 2) {
        return NULL;
    }

    switch (pos[1]) {

    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return pos + 2;

    case 'u':
        return entra_json_unicode(pos + 2, end, &code);

    default:
        return NULL;
    }
}


const char *
entra_json_quoted(const char *pos, const char *end, entra_str_t *text,
    bool *escaped)
{
    const char  *start;

    *escaped = false;
    start = ++pos;

    while (pos != NULL) {

        while (pos < end && entra_json_plain((unsigned char) *pos)) {
            pos++;
        }

        if (pos == end) {
            return NULL;
        }

        if (*pos == '"') {
            *text = (entra_str_t) { start, (size_t) (pos - start) };
            return pos + 1;
        }

        if (*pos == '\\') {
            *escaped = true;
            pos = entra_json_escape(pos, end);

        } else {
            /* a control is none either */
            pos = entra_json_utf8(pos, end);
        }
    }

    return NULL;
}


static char *
entra_json_put(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char) code;
        return out;
    }

    if (code < 0x800) {
        *out++ = (char) (0xc0 | code >> 6);

    } else if (code < 0x10000) {
        *out++ = (char) (0xe0 | code >> 12);
        *out++ = (char) (0x80 | (code >> 6 & 0x3f));

    } else {
        *out++ = (char) (0xf0 | code >> 18);
        *out++ = (char) (0x80 | (code >> 12 & 0x3f));
        *out++ = (char) (0x80 | (code >> 6 & 0x3f));
    }

    *out++ = (char) (0x80 | (code & 0x3f));

    return out;
}


char *
entra_json_unescape(entra_str_t text, char *out)
{
    size_t       i;
    uint32_t     code;
    const char  *p, *end, *at;

    static const char  names[] = "bfnrt";
    static const char  bytes[] = "\b\f\n\r\t";

    p = text.data;
    end = text.data + text.len;

    while (p < end) {

        /* false alarm (null-dereference): as below */
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }

        p++;

        if (*p == 'u') {
            /*
             * false alarm (CallAndMessage): entra_json_quoted() has found the
             * text's escapes well-formed
             */
            p = entra_json_unicode(p + 1, end, &code);
            out = entra_json_put(out, code);
            continue;
        }

        at = strchr(names, *p);
        i = (at != NULL) ? (size_t) (at - names) : 0;

        *out++ = (char) (at != NULL ? bytes[i] : *p);
        p++;
    }

    return out;
}
