/*
 * URLs, as audiences and redirects name hosts.
 */

#include "entra_url.h"
#include "guard.h"


typedef struct {
    const char   *name;
    entra_str_t   text;
    const char   *scheme;
    const char   *host;                 /* NULL: not a URL */
    bool          userinfo;
    bool          fragment;
} row_t;


#define URL(text)   ENTRA_STR_INIT(text)
#define REFUSED     NULL, NULL, false, false
#define HTTPS(host) "https", host, false, false


static const row_t  rows[] = {

    /* protocol: audiences a backend knows */

    { "a host", URL("https://fleet.example.com"), HTTPS("fleet.example.com") },
    { "a path", URL("https://fleet.example.com/some/path"),
      HTTPS("fleet.example.com") },
    { "a slash behind", URL("https://fleet.example.com/"),
      HTTPS("fleet.example.com") },
    { "the host's case is kept", URL("https://Fleet.Example.COM"),
      HTTPS("Fleet.Example.COM") },
    { "urn:something names no host", URL("urn:something"), REFUSED },
    { "a GUID names no host", URL("11111111-1111-1111-1111-111111111111"),
      REFUSED },

    /* ports stay as they are written */

    { "a port", URL("https://h:8443"), HTTPS("h:8443") },
    { "the scheme's own port is kept", URL("https://h:443"), HTTPS("h:443") },
    { "leading zeroes in a port", URL("https://h:0443/"), HTTPS("h:0443") },
    { "an empty port is kept", URL("https://h:/"), HTTPS("h:") },
    { "a port past 65535 is only text", URL("https://h:99999"),
      HTTPS("h:99999") },
    { "a port with a letter", URL("https://h:44x"), REFUSED },
    { "a port with a sign", URL("https://h:-1"), REFUSED },
    { "a port with a blank", URL("https://h: 443"), REFUSED },
    { "a port without a host", URL("https://:443"), REFUSED },
    { "two ports", URL("https://h:80:443"), REFUSED },
    { "a port in Arabic digits", URL("https://h:\xd9\xa4\xd9\xa4"), REFUSED },

    /* IPv4, IPv6 */

    { "IPv4", URL("https://192.0.2.1/"), HTTPS("192.0.2.1") },
    { "IPv6 keeps its brackets", URL("https://[2001:db8::1]"),
      HTTPS("[2001:db8::1]") },
    { "IPv6 and a port", URL("https://[2001:db8::1]:8443/x"),
      HTTPS("[2001:db8::1]:8443") },
    { "IPv6 with IPv4 in it", URL("https://[::ffff:192.0.2.1]"),
      HTTPS("[::ffff:192.0.2.1]") },
    { "IPv6 without brackets", URL("https://2001:db8::1"), REFUSED },
    { "IPv6 not closed", URL("https://[2001:db8::1"), REFUSED },
    { "IPv6 not opened", URL("https://2001:db8::1]"), REFUSED },
    { "text behind the bracket", URL("https://[::1]evil.example.com"),
      REFUSED },
    { "a name behind the bracket's port", URL("https://[::1]:80.example.com"),
      REFUSED },
    { "two brackets", URL("https://[::1]]"), REFUSED },
    { "a bracket inside a name", URL("https://a[::1]"), REFUSED },
    { "empty brackets", URL("https://[]"), REFUSED },
    { "a name in brackets", URL("https://[fleet.example.com]"), REFUSED },
    { "a zone", URL("https://[fe80::1%25eth0]"), REFUSED },

    /* userinfo */

    { "a user", URL("https://user@fleet.example.com"),
      "https", "fleet.example.com", true, false },
    { "our name as a user of another host",
      URL("https://fleet.example.com@evil.example.com"),
      "https", "evil.example.com", true, false },
    { "our name as user and password",
      URL("https://fleet.example.com:443@evil.example.com/"),
      "https", "evil.example.com", true, false },
    { "an empty user", URL("https://@h/"), "https", "h", true, false },
    { "two at signs", URL("https://a@b@h/"), REFUSED },
    { "a URL for a user: its scheme is the host",
      URL("https://https://h@evil/"), HTTPS("https:") },
    { "a user in brackets", URL("https://[a]@h/"), REFUSED },
    { "an at sign in the path is no user", URL("https://h/@evil"), HTTPS("h") },
    { "an at sign in the query is no user", URL("https://h?@evil"),
      HTTPS("h") },
    { "an at sign in the fragment is no user", URL("https://h#@evil"),
      "https", "h", false, true },

    /* where the host ends */

    { "a query", URL("https://h?x=y"), HTTPS("h") },
    { "a query holds a URL", URL("https://h?https://evil/"), HTTPS("h") },
    { "a fragment", URL("https://h#x"), "https", "h", false, true },
    { "an empty fragment", URL("https://h#"), "https", "h", false, true },
    { "a fragment behind the path", URL("https://h/x#y"),
      "https", "h", false, true },
    { "a backslash ends no host", URL("https://h\\evil.example.com"), REFUSED },
    { "a backslash before an at sign", URL("https://h\\@evil.example.com"),
      REFUSED },
    { "a backslash in the path", URL("https://h/a\\b"), REFUSED },
    { "backslashes for slashes", URL("https:\\\\h"), REFUSED },
    { "a semicolon in the host", URL("https://h;evil.example.com"), REFUSED },
    { "a comma in the host", URL("https://h,evil.example.com"), REFUSED },

    /* schemes */

    { "another scheme", URL("api://fleet.example.com"),
      "api", "fleet.example.com", false, false },
    { "a scheme of every character", URL("a1+-.B://h"),
      "a1+-.B", "h", false, false },
    { "the scheme's case is kept", URL("HTTPS://h"),
      "HTTPS", "h", false, false },
    { "no scheme", URL("fleet.example.com"), REFUSED },
    { "no scheme but slashes", URL("//fleet.example.com"), REFUSED },
    { "an empty scheme", URL("://h"), REFUSED },
    { "one slash", URL("https:/h"), REFUSED },
    { "no slash", URL("https:h"), REFUSED },
    { "a scheme that starts with a digit", URL("1https://h"), REFUSED },
    { "a scheme that starts with a plus", URL("+https://h"), REFUSED },
    { "a scheme with an underscore", URL("my_app://h"), REFUSED },
    { "javascript", URL("javascript:alert(1)"), REFUSED },
    { "data", URL("data:text/html,x"), REFUSED },
    { "a tab in the scheme", URL("java\tscript://h"), REFUSED },
    { "a blank in front", URL(" https://h"), REFUSED },
    { "a blank behind", URL("https://h "), REFUSED },

    /* empty hosts */

    { "no host", URL("https://"), HTTPS("") },
    { "no host but a path", URL("https:///fleet.example.com"), HTTPS("") },
    { "no host but a query", URL("https://?fleet.example.com"), HTTPS("") },
    { "a user but no host", URL("https://user@"), "https", "", true, false },

    /* bytes */

    { "nothing", URL(""), REFUSED },
    { "a NUL behind", URL("https://h\0"), REFUSED },
    { "a NUL inside the host", URL("https://h\0.evil"), REFUSED },
    { "a line feed behind", URL("https://h\n"), REFUSED },
    { "a carriage return in the path", URL("https://h/\r"), REFUSED },
    { "DEL in the path", URL("https://h/\x7f"), REFUSED },
    { "a blank in the host", URL("https://h .example.com"), REFUSED },
    { "a blank in the path", URL("https://h/a b"), REFUSED },
    { "a percent escape in the path", URL("https://h/%20"), HTTPS("h") },
    { "a percent escape in the host", URL("https://%68/"), REFUSED },
    { "a percent escape of a slash in the host", URL("https://h%2fevil"),
      REFUSED },
    { "a broken percent escape", URL("https://h/%2"), REFUSED },
    { "a percent sign at the end", URL("https://h/%"), REFUSED },
    { "a percent escape of no digits", URL("https://h/%zz"), REFUSED },
    { "a broken percent escape in the query", URL("https://h/?%g0"), REFUSED },
    { "bytes over 127 in the path", URL("https://h/\xc3\xbc"), HTTPS("h") },

    /* no IDNA, no folding */

    { "a name beyond ASCII", URL("https://fl\xc3\xa9" "et.example.com"),
      REFUSED },
    { "a Kelvin sign for a k", URL("https://\xe2\x84\xaa.example.com"),
      REFUSED },
    { "a fullwidth full stop", URL("https://fleet\xef\xbc\x8e" "example.com"),
      REFUSED },
    { "punycode is only text", URL("https://xn--flet-bpa.example.com"),
      HTTPS("xn--flet-bpa.example.com") },
    { "a full stop behind is kept", URL("https://fleet.example.com./"),
      HTTPS("fleet.example.com.") },
    { "an underscore in a name", URL("https://a_b.example.com"),
      HTTPS("a_b.example.com") },
};


static void
test_rows(void)
{
    bool           parsed;
    size_t         i;
    entra_url_t    url;
    entra_str_t    text;
    const row_t   *row;

    for (i = 0; i < tap_count(rows); i++) {
        row = &rows[i];

        memset(&url, 0x5a, sizeof(url));
        text = guard(row->text);
        parsed = entra_url_parse(text, &url);

        if (row->host == NULL) {
            tap_ok(!parsed, "%s: refused", row->name);
            continue;
        }

        tap_ok(parsed && entra_str_eq(url.scheme, entra_str(row->scheme))
               && entra_str_eq(url.host, entra_str(row->host))
               && url.userinfo == row->userinfo
               && url.fragment == row->fragment
               && url.host.data >= text.data
               && url.host.data + url.host.len <= text.data + text.len,
               "%s: host \"%s\"", row->name, row->host);
    }

    tap_ok(!entra_url_parse(ENTRA_STR_NONE, &url), "no text at all: refused");
}


/* which bytes a host may hold, of all there are */

static void
test_host_bytes(void)
{
    char          text[] = "https://a.b/";
    size_t        n;
    unsigned      c;
    entra_url_t   url;
    entra_str_t   host;

    n = 0;

    for (c = 0; c < 256; c++) {
        text[9] = (char) c;
        host = (entra_str_t) { text + 8, 3 };

        n += entra_url_parse((entra_str_t) { text, sizeof(text) - 1 }, &url)
             && entra_str_eq(url.host, host) && !url.userinfo;
    }

    tap_is_size(n, 26 + 26 + 10 + 3, "letters, digits, dash, dot, underscore");
}


/* cut anywhere, it is refused or names a beginning of the host */

static void
test_cut(void)
{
    bool         ok;
    size_t       i;
    entra_url_t  url;
    entra_str_t  text, cut;

    text = entra_lit("https://user:p%20w@fleet.example.com:8443/p%41th?q#f");
    ok = true;

    for (i = 0; i <= text.len; i++) {
        cut = guard((entra_str_t) { text.data, i });

        if (entra_url_parse(cut, &url)) {
            ok = ok && url.host.data >= cut.data
                 && url.host.data + url.host.len <= cut.data + cut.len;
        }
    }

    tap_ok(ok, "cut anywhere: nothing behind the end is looked at");
}


int
main(void)
{
    test_rows();
    test_host_bytes();
    test_cut();

    return tap_done();
}
