/*
 * Terms-of-Use redirects.
 */

#include "entra_escape.h"
#include "entra_tou.h"
#include "entra_url.h"


static int
entra_tou_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = entra_lower(c);

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/*
 * Decodes a form value; false: broken, too long, or with a byte outside
 * visible ASCII once decoded.  A "+" would be a blank.
 */

static bool
entra_tou_decode(entra_str_t in, char *out, size_t *len)
{
    int     high, low;
    char    c;
    size_t  i;

    *len = 0;

    for (i = 0; i < in.len; i++) {
        c = in.data[i];

        if (c == '%') {
            if (in.len - i < 3) {
                return false;
            }

            high = entra_tou_digit(in.data[i + 1]);
            low = entra_tou_digit(in.data[i + 2]);

            if (high < 0 || low < 0) {
                return false;
            }

            c = (char) (high << 4 | low);
            i += 2;

        } else if (c == '+') {
            return false;
        }

        if (c <= ' ' || c >= 0x7f || *len == ENTRA_TOU_MAX_URI) {
            return false;
        }

        out[(*len)++] = c;
    }

    return true;
}


/* a pair's name may be escaped, and its value be left out */

static bool
entra_tou_named(entra_str_t pair, entra_str_t *value)
{
    char          buffer[ENTRA_TOU_MAX_URI];
    entra_str_t   name;
    const char   *equals;

    equals = pair.len ? memchr(pair.data, '=', pair.len) : NULL;

    name = pair;
    *value = ENTRA_STR_NONE;

    if (equals != NULL) {
        name.len = (size_t) (equals - pair.data);
        *value = entra_str_from(pair, name.len + 1);
    }

    if (!entra_tou_decode(name, buffer, &name.len)) {
        return false;
    }

    name.data = buffer;

    return entra_str_eq(name, entra_lit("redirect_uri"));
}


/* the value of the one redirect_uri; false: none, or two */

static bool
entra_tou_argument(entra_str_t query, entra_str_t *value)
{
    bool          found;
    entra_str_t   pair, other;
    const char   *end;

    found = false;

    while (query.len) {
        end = memchr(query.data, '&', query.len);

        pair = query;

        if (end != NULL) {
            pair.len = (size_t) (end - query.data);
            query = entra_str_from(query, pair.len + 1);

        } else {
            query.len = 0;
        }

        if (!entra_tou_named(pair, &other)) {
            continue;
        }

        if (found) {
            return false;
        }

        found = true;
        *value = other;
    }

    return found;
}


static bool
entra_tou_allowed(entra_str_t uri, const entra_str_t *hosts, size_t nhosts)
{
    size_t       i;
    entra_url_t  url;

    if (!entra_url_parse(uri, &url) || url.host.len == 0
        || url.userinfo || url.fragment)
    {
        return false;
    }

    if (entra_str_ieq(url.scheme, entra_lit("ms-appx-web"))
        || entra_str_ieq(url.scheme, entra_lit("ms-aadj-redir")))
    {
        return true;
    }

    if (!entra_str_ieq(url.scheme, entra_lit("https"))) {
        return false;
    }

    for (i = 0; i < nhosts; i++) {
        if (entra_str_ieq(url.host, hosts[i])) {
            return true;
        }
    }

    return false;
}


/* the error codes that Windows is documented to expect, by kind of refusal */

static void
entra_tou_error(entra_reason_t reason, entra_str_t *error,
    entra_str_t *description)
{
    switch (reason) {

    case ENTRA_TENANT_NOT_ALLOWED:
    case ENTRA_UPN_MISSING:
    case ENTRA_UPN_INVALID:
        *error = entra_lit("unauthorized_client");
        *description = entra_lit("unauthorized user or tenant");
        return;

    default:
        break;
    }

    switch (entra_reason_info(reason)->status) {

    case 400:
    case 413:
        *error = entra_lit("invalid_request");
        *description = entra_reason_info(reason)->text;
        break;

    case 401:
    case 403:
        *error = entra_lit("unauthorized_client");
        *description = entra_lit("unauthorized_client");
        break;

    default:
        *error = entra_lit("server_error");
        *description = entra_lit("internal service error");
        break;
    }
}


static char *
entra_tou_put(char *out, entra_str_t text)
{
    memcpy(out, text.data, text.len);

    return out + text.len;
}


bool
entra_tou_redirect(entra_str_t query, const entra_str_t *hosts,
    size_t nhosts, entra_reason_t reason, const entra_mem_t *mem,
    entra_str_t *location)
{
    char         *start, *p;
    char          buffer[ENTRA_TOU_MAX_URI];
    entra_str_t   value, uri, error, description;

    static const entra_str_t  error_name = ENTRA_STR_INIT("error=");
    static const entra_str_t  text_name = ENTRA_STR_INIT("&error_description=");

    if (!entra_tou_argument(query, &value)
        || !entra_tou_decode(value, buffer, &uri.len))
    {
        return false;
    }

    uri.data = buffer;

    if (!entra_tou_allowed(uri, hosts, nhosts)) {
        return false;
    }

    entra_tou_error(reason, &error, &description);

    start = entra_alloc(mem, uri.len + 1 + error_name.len + error.len
                             + text_name.len
                             + description.len * ENTRA_ESCAPE_MAX);
    if (start == NULL) {
        return false;
    }

    p = entra_tou_put(start, uri);
    *p++ = memchr(uri.data, '?', uri.len) ? '&' : '?';
    p = entra_tou_put(p, error_name);
    p = entra_tou_put(p, error);
    p = entra_tou_put(p, text_name);
    p = entra_escape_query(description, p);

    *location = (entra_str_t) { start, (size_t) (p - start) };

    return true;
}
