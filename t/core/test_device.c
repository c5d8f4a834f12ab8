/*
 * The form of a backend's own enrollment token.
 */

#include "entra_device.h"
#include "guard.h"


#define M  ENTRA_TOKEN_MALFORMED


static const struct {
    const char      *name;
    entra_str_t      token;
    entra_reason_t   reason;
} rows[] = {
    { "programmatic",
      ENTRA_STR_INIT("{\"type\":1,\"payload\":{\"orbit_node_key\":\"k\","
                     "\"auth_token\":\"\"}}"), ENTRA_OK },
    { "automatic",
      ENTRA_STR_INIT("{\"type\":2,\"payload\":{\"orbit_node_key\":\"\","
                     "\"auth_token\":\"a.b.c\"}}"), ENTRA_OK },
    { "a type nobody knows yet", ENTRA_STR_INIT("{\"type\":99}"), ENTRA_OK },
    { "a type past 64 bits", ENTRA_STR_INIT("{\"type\":99999999999999999999}"),
      ENTRA_OK },
    { "a fraction for a type", ENTRA_STR_INIT("{\"type\":1.5}"), ENTRA_OK },
    { "a string for a type", ENTRA_STR_INIT("{\"type\":\"1\"}"), M },
    { "true for a type", ENTRA_STR_INIT("{\"type\":true}"), M },
    { "null for a type", ENTRA_STR_INIT("{\"type\":null}"), M },
    { "no type", ENTRA_STR_INIT("{\"payload\":{}}"), M },
    { "Type is not type", ENTRA_STR_INIT("{\"Type\":1}"), M },
    { "a type deep down", ENTRA_STR_INIT("{\"payload\":{\"type\":1}}"), M },
    { "two types", ENTRA_STR_INIT("{\"type\":1,\"type\":2}"), M },
    { "an Entra token under a false ValueType",
      ENTRA_STR_INIT("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.c2ln"), M },
    { "the header of an Entra token",
      ENTRA_STR_INIT("{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"k\"}"), M },
    { "an array", ENTRA_STR_INIT("[{\"type\":1}]"), M },
    { "a number", ENTRA_STR_INIT("1"), M },
    { "nothing", ENTRA_STR_INIT(""), M },
    { "cut", ENTRA_STR_INIT("{\"type\":1"), M },
    { "text behind", ENTRA_STR_INIT("{\"type\":1}.x.y"), M },
    { "a NUL behind the type", ENTRA_STR_INIT("{\"type\":1\0}"), M },
    { "a NUL behind", ENTRA_STR_INIT("{\"type\":1}\0"), M },
    { "no UTF-8", ENTRA_STR_INIT("{\"type\":1,\"x\":\"\xff\"}"), M },
    { "a byte order mark", ENTRA_STR_INIT("\xef\xbb\xbf{\"type\":1}"), M },
};


static void
test_rows(void)
{
    size_t  i;

    for (i = 0; i < tap_count(rows); i++) {
        tap_is_reason(entra_device_token_check(guard(rows[i].token)),
                      rows[i].reason, rows[i].name);
    }

    tap_is_reason(entra_device_token_check(ENTRA_STR_NONE), M,
                  "no text at all");
}


int
main(void)
{
    test_rows();

    return tap_done();
}
