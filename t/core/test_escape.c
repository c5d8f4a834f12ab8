/*
 * Escaping, for each place that text goes to.
 */

#include <expat.h>

#include "entra_escape.h"
#include "guard.h"


typedef char *(*escape_pt)(entra_str_t text, char *out);


static const struct {
    const char   *name;
    escape_pt     escape;
    entra_str_t   text;
    const char   *out;
} rows[] = {
    { "header: visible ASCII", entra_escape_header,
      ENTRA_STR_INIT("ann@example.com!\"#&'()*,;<=>?[\\]^`{|}~"),
      "ann@example.com!\"#&'()*,;<=>?[\\]^`{|}~" },
    { "header: a percent sign", entra_escape_header, ENTRA_STR_INIT("100%41"),
      "100%2541" },
    { "header: blanks", entra_escape_header, ENTRA_STR_INIT(" a b "),
      "%20a%20b%20" },
    { "header: CR LF, a header of one's own", entra_escape_header,
      ENTRA_STR_INIT("x\r\nX-Admin: 1"), "x%0D%0AX-Admin:%201" },
    { "header: NUL and DEL", entra_escape_header, ENTRA_STR_INIT("\0\x7f"),
      "%00%7F" },
    { "header: beyond ASCII", entra_escape_header,
      ENTRA_STR_INIT("j\xc3\xb6rg"), "j%C3%B6rg" },
    { "header: nothing", entra_escape_header, ENTRA_STR_INIT(""), "" },

    { "query: unreserved characters", entra_escape_query,
      ENTRA_STR_INIT("AZaz09-._~"), "AZaz09-._~" },
    { "query: what parts a query", entra_escape_query,
      ENTRA_STR_INIT("a&b=c+d;e?f#g/h"), "a%26b%3Dc%2Bd%3Be%3Ff%23g%2Fh" },
    { "query: a blank is no plus", entra_escape_query, ENTRA_STR_INIT("a b"),
      "a%20b" },
    { "query: CR LF", entra_escape_query, ENTRA_STR_INIT("\r\n"), "%0D%0A" },

    { "XML: the five entities", entra_escape_xml,
      ENTRA_STR_INIT("<a b='c' d=\"e\">&"),
      "&lt;a b=&apos;c&apos; d=&quot;e&quot;&gt;&amp;" },
    { "XML: an entity is not one", entra_escape_xml, ENTRA_STR_INIT("&lt;"),
      "&amp;lt;" },
    { "XML: the end of a CDATA section", entra_escape_xml,
      ENTRA_STR_INIT("]]>"), "]]&gt;" },
    { "XML: CR, or it would come back as LF", entra_escape_xml,
      ENTRA_STR_INIT("\r\n"), "&#13;\n" },
    { "XML: beyond ASCII", entra_escape_xml, ENTRA_STR_INIT("\xc3\xb6"),
      "\xc3\xb6" },

    { "label: as it is", entra_escape_label,
      ENTRA_STR_INIT("a b/c'{}=,\t\xc3\xb6"), "a b/c'{}=,\t\xc3\xb6" },
    { "label: its end, a backslash, a new line", entra_escape_label,
      ENTRA_STR_INIT("\"} 1\n\\n"), "\\\"} 1\\n\\\\n" },
    { "label: no UTF-8", entra_escape_label, ENTRA_STR_INIT("a\xff\xc3"),
      "a\xef\xbf\xbd\xef\xbf\xbd" },

    { "JSON: as it is", entra_escape_json, ENTRA_STR_INIT("a b/c'<>&"),
      "a b/c'<>&" },
    { "JSON: the end of a string", entra_escape_json,
      ENTRA_STR_INIT("\",\"role\":\"admin"), "\\\",\\\"role\\\":\\\"admin" },
    { "JSON: a backslash", entra_escape_json, ENTRA_STR_INIT("\\u0041"),
      "\\\\u0041" },
    { "JSON: control characters", entra_escape_json,
      ENTRA_STR_INIT("\0\n\x1f\x7f"), "\\u0000\\u000A\\u001F\\u007F" },
    { "JSON: UTF-8 of two, three and four bytes", entra_escape_json,
      ENTRA_STR_INIT("\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80"),
      "\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "JSON: three bytes, the last is none of them", entra_escape_json,
      ENTRA_STR_INIT("\xe2\x82\"x"), "\xef\xbf\xbd\xef\xbf\xbd\\\"x" },
    { "JSON: the last character", entra_escape_json,
      ENTRA_STR_INIT("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf" },
    { "JSON: latin-1", entra_escape_json, ENTRA_STR_INIT("j\xf6rg"),
      "j\xef\xbf\xbdrg" },
    { "JSON: cut within a character", entra_escape_json,
      ENTRA_STR_INIT("a\xe2\x82"), "a\xef\xbf\xbd\xef\xbf\xbd" },
    { "JSON: overlong", entra_escape_json, ENTRA_STR_INIT("\xc0\xaf"),
      "\xef\xbf\xbd\xef\xbf\xbd" },
    { "JSON: overlong, of three bytes", entra_escape_json,
      ENTRA_STR_INIT("\xe0\x80\xaf"),
      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    { "JSON: a surrogate", entra_escape_json, ENTRA_STR_INIT("\xed\xa0\x80"),
      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    { "JSON: past the last character", entra_escape_json,
      ENTRA_STR_INIT("\xf4\x90\x80\x80"),
      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    { "JSON: nothing", entra_escape_json, ENTRA_STR_INIT(""), "" },

    { "log: visible ASCII and blanks", entra_escape_log,
      ENTRA_STR_INIT("a b%c'd"), "a b%c'd" },
    { "log: a line of one's own", entra_escape_log,
      ENTRA_STR_INIT("x\n2026/11/23 [alert] gone"),
      "x\\x0A2026/11/23 [alert] gone" },
    { "log: quotes and backslashes", entra_escape_log,
      ENTRA_STR_INIT("\"\\x41\""), "\\x22\\x5Cx41\\x22" },
    { "log: a terminal's escape", entra_escape_log,
      ENTRA_STR_INIT("\x1b[2J\x9b"), "\\x1B[2J\\x9B" },
    { "log: NUL and DEL", entra_escape_log, ENTRA_STR_INIT("\0\x7f"),
      "\\x00\\x7F" },
};


static char *
room(size_t len)
{
    char  *out;

    out = malloc(len * ENTRA_ESCAPE_MAX + 1);
    if (out == NULL) {
        tap_bail("out of memory");
    }

    return out;
}


static void
test_rows(void)
{
    char    *out, *end;
    size_t   i;

    for (i = 0; i < tap_count(rows); i++) {
        out = room(rows[i].text.len);
        end = rows[i].escape(guard(rows[i].text), out);

        tap_is_str((entra_str_t) { out, (size_t) (end - out) },
                   entra_str(rows[i].out), rows[i].name);
        free(out);
    }
}


/* each byte alone, at the end of all the room it is promised */

static void
test_every_byte(void)
{
    bool         ok;
    char         c, *out;
    size_t       i, n;
    unsigned     byte;

    static const escape_pt  all[] = {
        entra_escape_header, entra_escape_query, entra_escape_xml,
        entra_escape_log
    };

    for (i = 0; i < tap_count(all); i++) {
        ok = true;

        for (byte = 0; byte < 256; byte++) {
            c = (char) byte;
            out = malloc(ENTRA_ESCAPE_MAX);
            if (out == NULL) {
                tap_bail("out of memory");
            }

            n = (size_t) (all[i]((entra_str_t) { &c, 1 }, out) - out);
            ok = ok && n >= 1 && n <= ENTRA_ESCAPE_MAX;

            /* nothing but XML lets through what is not visible ASCII */
            if (all[i] != entra_escape_xml) {
                ok = ok && out[0] >= ' ' && out[0] < 0x7f;
            }

            free(out);
        }

        tap_ok(ok, "every byte fits its room, way %zu", i);
    }

    out = room(0);

    for (i = 0; i < tap_count(all); i++) {
        tap_ok(all[i](ENTRA_STR_NONE, out) == out, "no text at all, way %zu",
               i);
    }

    free(out);
}


static char    back[256];
static size_t  back_len;


static void XMLCALL
collect(void *data, const XML_Char *text, int len)
{
    (void) data;

    memcpy(back + back_len, text, (size_t) len);
    back_len += (size_t) len;
}


/* an XML parser reads back what went in */

static void
test_xml_round_trip(void)
{
    char        text[128], doc[sizeof(text) * ENTRA_ESCAPE_MAX + 16], *end;
    size_t      n;
    XML_Parser  parser;

    for (n = 0; n < 0x7f - ' '; n++) {
        text[n] = (char) (' ' + n);
    }

    memcpy(doc, "<a>", 3);
    end = entra_escape_xml((entra_str_t) { text, n }, doc + 3);
    memcpy(end, "</a>", 4);

    parser = XML_ParserCreate("UTF-8");
    XML_SetCharacterDataHandler(parser, collect);

    tap_ok(XML_Parse(parser, doc, (int) (end + 4 - doc), 1) == XML_STATUS_OK
           && back_len == n && memcmp(back, text, n) == 0,
           "XML: every visible character comes back");

    XML_ParserFree(parser);
}


int
main(void)
{
    test_rows();
    test_every_byte();
    test_xml_round_trip();

    return tap_done();
}
