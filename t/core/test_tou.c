/*
 * Redirects from a refused Terms-of-Use page.
 */

#include "entra_tou.h"
#include "guard.h"
#include "pool.h"


#define APP      "ms-appx-web%3A%2F%2FMicrosoft.AAD.BrokerPlugin"
#define ERROR    "error=unauthorized_client" \
                 "&error_description=unauthorized_client"


static pool_t  pool;


static const entra_str_t  hosts[] = {
    ENTRA_STR_INIT("fleet.example.com"),
    ENTRA_STR_INIT("fleet2.example.com:8443")
};


static bool
redirect(entra_str_t query, entra_reason_t reason, entra_str_t *location)
{
    *location = ENTRA_STR_NONE;

    return entra_tou_redirect(guard(query), hosts, tap_count(hosts), reason,
                              &pool.mem, location);
}


/*** which URI ***/


#define Q(text)   ENTRA_STR_INIT("redirect_uri=" text)
#define ALL(text) ENTRA_STR_INIT(text)


static const struct {
    const char   *name;
    entra_str_t   query;
    const char   *location;             /* up to the error; NULL: refused */
} rows[] = {

    /* the backend's own cases */

    { "Windows' application", Q("ms-appx-web://Microsoft.AAD.BrokerPlugin"),
      "ms-appx-web://Microsoft.AAD.BrokerPlugin?" },
    { "in upper case", Q("MS-APPX-WEB://Microsoft.AAD.BrokerPlugin"),
      "MS-APPX-WEB://Microsoft.AAD.BrokerPlugin?" },
    { "Windows' own page", Q("ms-aadj-redir://auth/mdm"),
      "ms-aadj-redir://auth/mdm?" },
    { "Windows' own page in upper case", Q("MS-AADJ-REDIR://auth/mdm"),
      "MS-AADJ-REDIR://auth/mdm?" },
    { "https on a host that is not ours",
      Q("https://enroll.example.com/continue"), NULL },
    { "https on our host", Q("https://fleet.example.com/continue"),
      "https://fleet.example.com/continue?" },
    { "javascript", Q("javascript:alert(1)"), NULL },
    { "javascript with slashes",
      Q("javascript://fleet.example.com/%250aalert(1)"),
      NULL },
    { "JavaScript", Q("JavaScript:alert(1)"), NULL },
    { "data", Q("data:text/html,x"), NULL },
    { "vbscript", Q("vbscript:x"), NULL },
    { "http", Q("http://fleet.example.com/continue"), NULL },
    { "empty", Q(""), NULL },
    { "no scheme", Q("Microsoft.AAD.BrokerPlugin"), NULL },
    { "a blank in front", Q("%20javascript:alert(1)"), NULL },
    { "a tab in the scheme", Q("java%09script:alert(1)"), NULL },

    /* as Windows sends it */

    { "escaped, among others",
      ALL("api-version=1.0&redirect_uri=" APP "&client-request-id=x"),
      "ms-appx-web://Microsoft.AAD.BrokerPlugin?" },
    { "escaped in lower case", Q("ms-appx-web%3a%2f%2fx"),
      "ms-appx-web://x?" },
    { "every character escaped", Q("%6ds-appx-web%3A%2F%2F%78"),
      "ms-appx-web://x?" },
    { "empty pairs around", ALL("&&redirect_uri=" APP "&&"),
      "ms-appx-web://Microsoft.AAD.BrokerPlugin?" },

    /* which parameter */

    { "no query", ALL(""), NULL },
    { "no redirect_uri", ALL("api-version=1.0"), NULL },
    { "no value", ALL("redirect_uri"), NULL },
    { "a second one", ALL("redirect_uri=" APP "&redirect_uri=" APP), NULL },
    { "a second one, empty", ALL("redirect_uri=" APP "&redirect_uri="), NULL },
    { "a second one far behind",
      ALL("redirect_uri=" APP "&a=b&c=d&redirect_uri=https%3A%2F%2Fevil"),
      NULL },
    { "a second one without a value", ALL("redirect_uri=" APP "&redirect_uri"),
      NULL },
    { "a second one whose name is escaped",
      ALL("redirect_uri=" APP "&redirect%5Furi=https%3A%2F%2Fevil"), NULL },
    { "the only one's name is escaped", ALL("redirect%5Furi=" APP),
      "ms-appx-web://Microsoft.AAD.BrokerPlugin?" },
    { "a name that ends so", ALL("xredirect_uri=" APP), NULL },
    { "a name that starts so", ALL("redirect_uri2=" APP), NULL },
    { "a name that starts so beside it",
      ALL("redirect_uri=" APP "&redirect_uri2=x"),
      "ms-appx-web://Microsoft.AAD.BrokerPlugin?" },
    { "a name with half an escape", ALL("redirect_uri%=" APP), NULL },
    { "a name that a NUL ends, beside it",
      ALL("redirect_uri=" APP "&redirect_uri%00=https%3A%2F%2Fevil"),
      "ms-appx-web://Microsoft.AAD.BrokerPlugin?" },
    { "another case", ALL("Redirect_Uri=" APP), NULL },
    { "within another value", ALL("x=redirect_uri=" APP), NULL },
    { "behind a semicolon", ALL("a=b;redirect_uri=" APP), NULL },

    /* hosts */

    { "our host, any case", Q("HTTPS://FLEET.example.com/"),
      "HTTPS://FLEET.example.com/?" },
    { "our host and the scheme's own port", Q("https://fleet.example.com:443/"),
      NULL },
    { "our second host with its port", Q("https://fleet2.example.com:8443/x"),
      "https://fleet2.example.com:8443/x?" },
    { "our second host without its port", Q("https://fleet2.example.com/x"),
      NULL },
    { "our host as a user", Q("https://fleet.example.com@evil.example.com/"),
      NULL },
    { "a user at our host", Q("https://x@fleet.example.com/"), NULL },
    { "an empty user at our host", Q("https://@fleet.example.com/"), NULL },
    { "a user at Windows' application", Q("ms-appx-web://x@y"), NULL },
    { "our host as a label", Q("https://fleet.example.com.evil.example.com/"),
      NULL },
    { "a backslash behind our host",
      Q("https://fleet.example.com%5C.evil.example.com/"), NULL },
    { "a backslash before our host", Q("https://evil%5C@fleet.example.com/"),
      NULL },
    { "our host behind a backslash", Q("https:%5C%5Cfleet.example.com"),
      NULL },
    { "a scheme of no slashes", Q("https:fleet.example.com"), NULL },
    { "a third slash", Q("https:///fleet.example.com"), NULL },
    { "no host", Q("ms-appx-web://"), NULL },
    { "a relative one", Q("/continue"), NULL },
    { "relative to the scheme", Q("//fleet.example.com/"), NULL },
    { "a scheme that ends so", Q("xms-appx-web://x"), NULL },
    { "a scheme that starts so", Q("ms-appx-web2://x"), NULL },
    { "ms-appx", Q("ms-appx://x"), NULL },
    { "a Kelvin sign", Q("ms-aadj-redir://%E2%84%AA"), NULL },

    /* bytes */

    { "a fragment", Q("ms-appx-web://x%23y"), NULL },
    { "an empty fragment", Q("ms-appx-web://x%23"), NULL },
    { "a fragment, as it is", Q("ms-appx-web://x#y"), NULL },
    { "a plus is a blank", Q("ms-appx-web://x/a+b"), NULL },
    { "a plus, escaped", Q("ms-appx-web://x/a%2Bb"), "ms-appx-web://x/a+b?" },
    { "a blank, escaped", Q("ms-appx-web://x/a%20b"), NULL },
    { "a blank, escaped twice", Q("ms-appx-web://x/a%2520b"),
      "ms-appx-web://x/a%20b?" },
    { "CR LF and a header of one's own",
      Q("ms-appx-web://x%0D%0ASet-Cookie:%20a=b"), NULL },
    { "LF", Q("ms-appx-web://x%0A"), NULL },
    { "CR", Q("ms-appx-web://x%0D"), NULL },
    { "LF, as it is", Q("ms-appx-web://x\n"), NULL },
    { "NUL", Q("ms-appx-web://x%00"), NULL },
    { "NUL, as it is", Q("ms-appx-web://x\0y"), NULL },
    { "DEL", Q("ms-appx-web://x/%7F"), NULL },
    { "beyond ASCII", Q("ms-appx-web://x/%C3%BC"), NULL },
    { "beyond ASCII, as it is", Q("ms-appx-web://x/\xc3\xbc"), NULL },
    { "CR LF, escaped twice, stay escaped",
      Q("ms-appx-web://x/%250D%250A"), "ms-appx-web://x/%0D%0A?" },
    { "half an escape", Q("ms-appx-web://x/%2"), NULL },
    { "a percent sign behind", Q("ms-appx-web://x/%"), NULL },
    { "an escape of no digits", Q("ms-appx-web://x/%zz"), NULL },
    { "half an escape, escaped", Q("ms-appx-web://x/%252"), NULL },

    /* a query of its own */

    { "a query", Q("ms-appx-web://x%3Fa%3Db"), "ms-appx-web://x?a=b&" },
    { "a query, as it is", Q("ms-appx-web://x?a=b"), "ms-appx-web://x?a=b&" },
    { "an empty query", Q("ms-appx-web://x%3F"), "ms-appx-web://x?&" },
    { "a query of two", Q("ms-appx-web://x%3Fa%3Db%26c%3Dd"),
      "ms-appx-web://x?a=b&c=d&" },
    { "a query of two, the second not escaped",
      Q("ms-appx-web://x%3Fa%3Db&c=d"),
      "ms-appx-web://x?a=b&" },
};


static void
test_rows(void)
{
    bool          redirected;
    size_t        i;
    entra_str_t   location;

    for (i = 0; i < tap_count(rows); i++) {
        redirected = redirect(rows[i].query, ENTRA_SIGNATURE_INVALID,
                              &location);

        if (rows[i].location == NULL) {
            tap_ok(!redirected && location.data == NULL, "%s: refused",
                   rows[i].name);

        } else if (tap_ok(redirected, "%s: redirected", rows[i].name)) {
            tap_is_str(location,
                       entra_str(pool_text(&pool, "%s" ERROR,
                                           rows[i].location)),
                       rows[i].name);
        }

        pool_free(&pool);
    }

    tap_ok(!redirect(ENTRA_STR_NONE, ENTRA_NO_TOKEN, &location),
           "no query at all: refused");
    tap_ok(!entra_tou_redirect(
               entra_lit("redirect_uri=https://fleet.example.com"), NULL, 0,
               ENTRA_NO_TOKEN, &pool.mem, &location),
           "no host of ours: refused");
}


/*** how long ***/


static void
test_lengths(void)
{
    size_t        n;
    char         *uri;
    entra_str_t   location;

    for (n = 2047; n <= 2049; n++) {
        uri = pool_text(&pool, "ms-appx-web://%0*d", (int) n - 14, 0);

        tap_ok(redirect(entra_str(pool_text(&pool, "redirect_uri=%s", uri)),
                        ENTRA_NO_TOKEN, &location) == (n <= 2048)
               && strlen(uri) == n,
               "%zu bytes: %s", n, n <= 2048 ? "redirected" : "refused");
        pool_free(&pool);
    }

    uri = pool_text(&pool, "ms-appx-web://%0*d%%41", 2048 - 14 - 1, 0);
    tap_ok(redirect(entra_str(pool_text(&pool, "redirect_uri=%s", uri)),
                    ENTRA_NO_TOKEN, &location),
           "2048 bytes once decoded: redirected");
    pool_free(&pool);

    uri = pool_text(&pool, "ms-appx-web://%0*d", 1 << 20, 0);
    tap_ok(!redirect(entra_str(pool_text(&pool, "redirect_uri=%s", uri)),
                     ENTRA_NO_TOKEN, &location),
           "a megabyte: refused");
    pool_free(&pool);
}


/*** with which error ***/


static void
test_errors(void)
{
    size_t        i;
    entra_str_t   location;

    static const struct {
        entra_reason_t   reason;
        const char      *error;
    } errors[] = {
        { ENTRA_NO_TOKEN, ERROR },
        { ENTRA_TOKEN_MALFORMED, ERROR },
        { ENTRA_SIGNATURE_INVALID, ERROR },
        { ENTRA_TOKEN_EXPIRED, ERROR },
        { ENTRA_ISSUER_NOT_ALLOWED, ERROR },
        { ENTRA_SCOPE_NOT_ALLOWED, ERROR },
        { ENTRA_AUDIENCE_NOT_ALLOWED, ERROR },
        { ENTRA_TENANT_NOT_ALLOWED, "error=unauthorized_client"
          "&error_description=unauthorized%20user%20or%20tenant" },
        { ENTRA_UPN_MISSING, "error=unauthorized_client"
          "&error_description=unauthorized%20user%20or%20tenant" },
        { ENTRA_MESSAGE_MALFORMED, "error=invalid_request"
          "&error_description=The%20enrollment%20message%20is%20malformed." },
        { ENTRA_KEYS_UNAVAILABLE, "error=server_error"
          "&error_description=internal%20service%20error" },
        { ENTRA_LISTS_UNAVAILABLE, "error=server_error"
          "&error_description=internal%20service%20error" },
        { ENTRA_INTERNAL, "error=server_error"
          "&error_description=internal%20service%20error" },
    };

    for (i = 0; i < tap_count(errors); i++) {
        (void) redirect(
                        entra_lit("redirect_uri=ms-aadj-redir%3A//auth/mdm"),
                        errors[i].reason, &location);

        tap_is_str(location,
                   entra_str(pool_text(&pool, "ms-aadj-redir://auth/mdm?%s",
                                       errors[i].error)),
                   tap_key(errors[i].reason));
        pool_free(&pool);
    }
}


/* whatever the reason, a Location is a line of visible ASCII */

static void
test_every_reason(void)
{
    bool          ok;
    size_t        n;
    unsigned      i;
    entra_str_t   location;

    for (i = 1; i < ENTRA_REASONS; i++) {
        ok = redirect(entra_lit("redirect_uri=" APP), (entra_reason_t) i,
                      &location);

        for (n = 0; n < location.len; n++) {
            ok = ok && location.data[n] > ' ' && location.data[n] < 0x7f;
        }

        tap_ok(ok, "%s: a line", tap_key((entra_reason_t) i));
        pool_free(&pool);
    }

    pool.fail_at = 1;
    tap_ok(!redirect(entra_lit("redirect_uri=" APP), ENTRA_NO_TOKEN, &location)
           && location.data == NULL, "out of memory: refused");
    pool_free(&pool);
}


int
main(void)
{
    pool_init(&pool);

    test_rows();
    test_lengths();
    test_errors();
    test_every_reason();

    return tap_done();
}
