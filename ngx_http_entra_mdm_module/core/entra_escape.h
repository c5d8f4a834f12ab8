/*
 * Text made safe for where it goes: a request header, an XML document, a JSON
 * string, a log line, a label.  Each writes at most ENTRA_ESCAPE_MAX bytes for
 * one byte of input.
 */

#ifndef ENTRA_ESCAPE_H
#define ENTRA_ESCAPE_H

#include "entra_str.h"


#define ENTRA_ESCAPE_MAX  6             /* "&quot;" */


/*
 * Each takes text and room for text.len * ENTRA_ESCAPE_MAX bytes, and returns
 * the end of what it wrote.
 */

/* bytes outside visible ASCII, and "%", as %XX with upper-case digits */
char *entra_escape_header(entra_str_t text, char *out);

/* as above, and all but the unreserved characters of RFC 3986 2.3 */
char *entra_escape_query(entra_str_t text, char *out);

/* the five predefined entities of XML 1.0 4.6, and CR */
char *entra_escape_xml(entra_str_t text, char *out);

/* RFC 8259 7; what is not UTF-8 becomes U+FFFD, byte by byte */
char *entra_escape_json(entra_str_t text, char *out);

/* Prometheus text format 0.0.4, label values; UTF-8 as in JSON */
char *entra_escape_label(entra_str_t text, char *out);

/* bytes outside visible ASCII and blank, quotes and backslash, as \xXX */
char *entra_escape_log(entra_str_t text, char *out);


#endif /* ENTRA_ESCAPE_H */
