/*
 * Absolute URLs, read strictly.
 */

#include "entra_url.h"


static bool
entra_url_alpha(char c)
{
    c = entra_lower(c);

    return c >= 'a' && c <= 'z';
}


static bool
entra_url_digit(char c)
{
    return c >= '0' && c <= '9';
}


static bool
entra_url_hex(char c)
{
    c = entra_lower(c);

    return entra_url_digit(c) || (c >= 'a' && c <= 'f');
}


/* characters that may stand nowhere, and percent escapes that are broken */

static bool
entra_url_clean(entra_str_t text)
{
    char    c;
    size_t  i;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if ((unsigned char) c <= ' ' || c == 0x7f || c == '\\') {
            return false;
        }

        if (c != '%') {
            continue;
        }

        if (text.len - i < 3 || !entra_url_hex(text.data[i + 1])
            || !entra_url_hex(text.data[i + 2]))
        {
            return false;
        }
    }

    return true;
}


/* RFC 3986 3.1; returns its length, 0: none before "://" */

static size_t
entra_url_scheme(entra_str_t text)
{
    char    c;
    size_t  i;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (entra_url_alpha(c)) {
            continue;
        }

        if (i && (entra_url_digit(c) || c == '+' || c == '-' || c == '.')) {
            continue;
        }

        break;
    }

    return entra_str_starts(entra_str_from(text, i), entra_lit("://")) ? i : 0;
}


/* a registered name, an IPv4 address or a bracketed IPv6 address, and a port */

static bool
entra_url_host(entra_str_t host)
{
    char    c;
    size_t  i;

    i = 0;

    if (host.len && host.data[0] == '[') {

        for (i = 1; i < host.len && host.data[i] != ']'; i++) {
            c = host.data[i];
            if (!entra_url_hex(c) && c != ':' && c != '.') {
                return false;
            }
        }

        if (i == host.len || memchr(host.data, ':', i) == NULL) {
            return false;
        }

        i++;

    } else {

        for ( /* void */ ; i < host.len && host.data[i] != ':'; i++) {
            c = host.data[i];
            if (!entra_url_alpha(c) && !entra_url_digit(c)
                && c != '-' && c != '.' && c != '_')
            {
                return false;
            }
        }

        if (i == 0) {
            /* a port needs a host */
            return host.len == 0;
        }
    }

    if (i == host.len) {
        return true;
    }

    if (host.data[i] != ':') {
        return false;
    }

    for (i++; i < host.len; i++) {
        if (!entra_url_digit(host.data[i])) {
            return false;
        }
    }

    return true;
}


static bool
entra_url_userinfo(entra_str_t userinfo)
{
    char    c;
    size_t  i;

    for (i = 0; i < userinfo.len; i++) {
        c = userinfo.data[i];

        if (!entra_url_alpha(c) && !entra_url_digit(c)
            && memchr("-._:~!$&'()*+,;=%", c, 17) == NULL)
        {
            return false;
        }
    }

    return true;
}


bool
entra_url_parse(entra_str_t text, entra_url_t *url)
{
    size_t       i, at;
    entra_str_t  authority;

    i = entra_url_scheme(text);

    if (i == 0 || !entra_url_clean(text)) {
        return false;
    }

    url->scheme = (entra_str_t) { text.data, i };
    url->userinfo = false;
    url->fragment = memchr(text.data, '#', text.len) != NULL;

    authority = entra_str_from(text, i + sizeof("://") - 1);
    at = authority.len;

    for (i = 0; i < authority.len; i++) {

        if (memchr("/?#", authority.data[i], 3) != NULL) {
            break;
        }

        if (authority.data[i] == '@') {
            at = i;
            url->userinfo = true;
        }
    }

    authority.len = i;

    if (url->userinfo) {
        if (!entra_url_userinfo((entra_str_t) { authority.data, at })) {
            return false;
        }

        authority = entra_str_from(authority, at + 1);
    }

    url->host = authority;

    return entra_url_host(authority);
}
