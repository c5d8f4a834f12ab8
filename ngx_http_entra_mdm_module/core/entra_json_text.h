/*
 * Inside the reader of JSON: its strings.
 */

#ifndef ENTRA_JSON_TEXT_H
#define ENTRA_JSON_TEXT_H

#include "entra_str.h"


/*
 * A string, pos at its first quote.  Returns where it ends, behind the other
 * one, and what is between them, as it is written; or NULL: it is not closed,
 * not UTF-8, has a control or NUL, or an escape that is none.
 */
const char *entra_json_quoted(const char *pos, const char *end,
    entra_str_t *text, bool *escaped);

/*
 * Decodes such a text to out, which has room for as many bytes as it has.
 * Returns where that ends.
 */
char *entra_json_unescape(entra_str_t text, char *out);


#endif /* ENTRA_JSON_TEXT_H */
