/*
 * Elements, then parameters, cut off one by one.  No type that is asked for
 * here has a quoted parameter, and none of those is looked into.
 */

#include "entra_accept.h"


/* cuts the part before c off text, which may be all of it */

static entra_str_t
entra_accept_cut(entra_str_t *text, char c)
{
    size_t       n;
    entra_str_t  part;

    for (n = 0; n < text->len && text->data[n] != c; n++) {
        /* void */
    }

    part = (entra_str_t) { text->data, n };
    *text = entra_str_from(*text, n < text->len ? n + 1 : n);

    return entra_str_trim(part);
}


/* "0", "1", and up to three digits behind a point; what is none weighs all */

static unsigned
entra_accept_quality(entra_str_t text)
{
    size_t    i;
    unsigned  weight, unit;

    if (text.len == 0 || text.len > 5 || text.data[0] != '0'
        || (text.len > 1 && text.data[1] != '.'))
    {
        return 1000;
    }

    weight = 0;
    unit = 100;

    for (i = 2; i < text.len; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return 1000;
        }

        weight += (unsigned) (text.data[i] - '0') * unit;
    }

    return weight;
}


unsigned
entra_accept_weight(entra_str_t value, entra_str_t type)
{
    unsigned     weight, best;
    entra_str_t  element, name;

    best = 0;

    while (value.len) {
        element = entra_accept_cut(&value, ',');
        name = entra_accept_cut(&element, ';');

        if (!entra_str_ieq(name, type)) {
            continue;
        }

        weight = 1000;

        while (element.len) {
            name = entra_accept_cut(&element, ';');

            if (name.len >= 2 && entra_lower(name.data[0]) == 'q'
                && name.data[1] == '=')
            {
                weight = entra_accept_quality(entra_str_from(name, 2));
            }
        }

        best = weight > best ? weight : best;
    }

    return best;
}
