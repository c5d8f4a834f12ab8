/*
 * Escaping for headers, queries, XML and log lines.
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
