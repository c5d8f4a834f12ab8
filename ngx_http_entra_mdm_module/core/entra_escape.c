/*
 * Escaping for headers, queries, XML, JSON and log lines.
 */

#include "entra_escape.h"


static char *
entra_escape_hex(unsigned char c, char *out)
{
    static const char  hex[] = "0123456789ABCDEF";

    *out++ = hex[c >> 4];
    *out++ = hex[c & 0xf];

    return out;
}


char *
entra_escape_header(entra_str_t text, char *out)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < text.len; i++) {
        c = (unsigned char) text.data[i];

        if (c > ' ' && c < 0x7f && c != '%') {
            *out++ = (char) c;
            continue;
        }

        *out++ = '%';
        out = entra_escape_hex(c, out);
    }

    return out;
}


char *
entra_escape_query(entra_str_t text, char *out)
{
    char    c;
    size_t  i;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if ((entra_lower(c) >= 'a' && entra_lower(c) <= 'z')
            || (c >= '0' && c <= '9')
            || c == '-' || c == '.' || c == '_' || c == '~')
        {
            *out++ = c;
            continue;
        }

        *out++ = '%';
        out = entra_escape_hex((unsigned char) c, out);
    }

    return out;
}


char *
entra_escape_xml(entra_str_t text, char *out)
{
    size_t       i;
    entra_str_t  entity;

    for (i = 0; i < text.len; i++) {

        switch (text.data[i]) {

        case '&':
            entity = entra_lit("&amp;");
            break;

        case '<':
            entity = entra_lit("&lt;");
            break;

        case '>':
            entity = entra_lit("&gt;");
            break;

        case '"':
            entity = entra_lit("&quot;");
            break;

        case '\'':
            entity = entra_lit("&apos;");
            break;

        case '\r':
            /* or a parser would read LF (XML 1.0 2.11) */
            entity = entra_lit("&#13;");
            break;

        default:
            *out++ = text.data[i];
            continue;
        }

        memcpy(out, entity.data, entity.len);
        out += entity.len;
    }

    return out;
}


char *
entra_escape_log(entra_str_t text, char *out)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < text.len; i++) {
        c = (unsigned char) text.data[i];

        if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
            *out++ = (char) c;
            continue;
        }

        *out++ = '\\';
        *out++ = 'x';
        out = entra_escape_hex(c, out);
    }

    return out;
}


/*
 * How many bytes a character of UTF-8 has that begins the text (RFC 3629 4);
 * 0: none does.
 */

static size_t
entra_escape_utf8(const unsigned char *p, size_t len)
{
    size_t         i, n;
    unsigned char  low, high;

    low = 0x80;
    high = 0xbf;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;

    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;

    } else {
        return p[0] < 0x80;
    }

    if (len < n || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


/* what is quoted in JSON and in a label; control writes a control character */

static char *
entra_escape_quoted(entra_str_t text, char *out,
    char *(*control)(unsigned char c, char *out))
{
    size_t                i, n;
    const unsigned char  *p;

    p = (const unsigned char *) text.data;

    for (i = 0; i < text.len; i += n) {

        n = entra_escape_utf8(&p[i], text.len - i);

        if (n == 0) {
            /* U+FFFD */
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            n = 1;

        } else if (p[i] < ' ' || p[i] == 0x7f) {
            out = control(p[i], out);

        } else {
            if (p[i] == '"' || p[i] == '\\') {
                *out++ = '\\';
            }

            memcpy(out, &p[i], n);
            out += n;
        }
    }

    return out;
}


static char *
entra_escape_json_control(unsigned char c, char *out)
{
    memcpy(out, "\\u00", 4);

    return entra_escape_hex(c, out + 4);
}


char *
entra_escape_json(entra_str_t text, char *out)
{
    return entra_escape_quoted(text, out, entra_escape_json_control);
}


static char *
entra_escape_label_control(unsigned char c, char *out)
{
    if (c == '\n') {
        *out++ = '\\';
        c = 'n';
    }

    *out++ = (char) c;

    return out;
}


char *
entra_escape_label(entra_str_t text, char *out)
{
    return entra_escape_quoted(text, out, entra_escape_label_control);
}
