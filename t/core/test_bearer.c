/*
 * What an Authorization header holds.
 */

#include "entra_bearer.h"
#include "tap.h"


#define SCHEME  "Authorization has another scheme than Bearer"
#define EMPTY   "Bearer without a token"


static const struct {
    const char  *name;
    const char  *value;
    const char  *token;                 /* NULL: refused */
    const char  *why;
} rows[] = {
    { "a token", "Bearer a.b.c", "a.b.c", NULL },
    { "the scheme in lower case", "bearer a.b.c", "a.b.c", NULL },
    { "the scheme in upper case", "BEARER a.b.c", "a.b.c", NULL },
    { "many blanks", "Bearer    a.b.c", "a.b.c", NULL },
    { "a blank in the token is the token's", "Bearer a b", "a b", NULL },
    { "a blank behind the token too", "Bearer a ", "a ", NULL },
    { "nothing", "", NULL, SCHEME },
    { "a scheme that begins alike", "Bearers a.b.c", NULL, SCHEME },
    { "a scheme that is cut", "Beare", NULL, SCHEME },
    { "another scheme", "Basic YTpi", NULL, SCHEME },
    { "a tab instead of a blank", "Bearer\ta.b.c", NULL, SCHEME },
    { "a blank in front", " Bearer a.b.c", NULL, SCHEME },
    { "no scheme", "a.b.c", NULL, SCHEME },
    { "a long s is no s of ours", "Bearer\xc5\xbf a", NULL, SCHEME },
    { "no token", "Bearer", NULL, EMPTY },
    { "only blanks", "Bearer   ", NULL, EMPTY },
};


int
main(void)
{
    size_t           i;
    entra_str_t      token;
    const char      *why;
    entra_reason_t   reason;

    for (i = 0; i < tap_count(rows); i++) {
        why = NULL;
        reason = entra_bearer_token(entra_str(rows[i].value), &token, &why);

        if (rows[i].token == NULL) {
            tap_is_refusal(reason, why, ENTRA_NO_TOKEN, rows[i].why,
                           rows[i].name);
            continue;
        }

        tap_is_reason(reason, ENTRA_OK, rows[i].name);
        tap_is_str(token, entra_str(rows[i].token), rows[i].name);
    }

    return tap_done();
}
