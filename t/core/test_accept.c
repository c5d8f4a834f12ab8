/*
 * What an Accept header asks for.
 */

#include "entra_accept.h"
#include "guard.h"


static const struct {
    const char   *name;
    entra_str_t   value;
    unsigned      weight;
} rows[] = {
    { "the type", ENTRA_STR_INIT("application/json"), 1000 },
    { "letters of either case", ENTRA_STR_INIT("Application/JSON"), 1000 },
    { "with parameters", ENTRA_STR_INIT("application/json;v=1 ; charset=x"),
      1000 },
    { "among others", ENTRA_STR_INIT("text/html, application/json ,*/*"),
      1000 },
    { "weighed", ENTRA_STR_INIT("text/html,application/json;q=0.5"), 500 },
    { "three digits", ENTRA_STR_INIT("application/json; q=0.125"), 125 },
    { "an upper-case Q", ENTRA_STR_INIT("application/json; Q=0.2"), 200 },
    { "a point and no more", ENTRA_STR_INIT("application/json;q=0."), 0 },
    { "unwanted", ENTRA_STR_INIT("application/json;q=0"), 0 },
    { "unwanted, in three digits", ENTRA_STR_INIT("application/json;q=0.000"),
      0 },
    { "one", ENTRA_STR_INIT("application/json;q=1.0"), 1000 },
    { "no weight", ENTRA_STR_INIT("application/json;q=high"), 1000 },
    { "no weight behind the point", ENTRA_STR_INIT("application/json;q=0.x"),
      1000 },
    { "no weight at all", ENTRA_STR_INIT("application/json;q="), 1000 },
    { "too many digits", ENTRA_STR_INIT("application/json;q=0.1234"), 1000 },
    { "the better of two",
      ENTRA_STR_INIT("application/json;q=0.3,application/json;q=0.7;v=2"),
      700 },
    { "nothing", ENTRA_STR_INIT(""), 0 },
    { "commas", ENTRA_STR_INIT(",,;,"), 0 },
    { "ranges", ENTRA_STR_INIT("application/*, */*"), 0 },
    { "a type that begins alike", ENTRA_STR_INIT("application/json5"), 0 },
    { "a type that ends alike", ENTRA_STR_INIT("x-application/json"), 0 },
    { "as a parameter", ENTRA_STR_INIT("text/plain;x=application/json"), 0 },
    { "what Prometheus sends",
      ENTRA_STR_INIT("application/openmetrics-text;version=1.0.0;q=0.5,"
                     "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"), 0 },
};


int
main(void)
{
    size_t  i;

    for (i = 0; i < tap_count(rows); i++) {
        tap_is_size(entra_accept_weight(guard(rows[i].value),
                                        entra_lit("application/json")),
                    rows[i].weight, rows[i].name);
    }

    return tap_done();
}
