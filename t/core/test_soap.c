/*
 * Reading enrollment messages.
 *
 * data/soap/valid/NAME.xml is a message that is read to its end; its token is
 * Entra's, or the backend's own where the name starts with "device-".
 * data/soap/invalid/REASON-NAME.xml is refused for that reason.  {{TOKEN}}
 * stands for the token's base64.
 *
 * Every message is fed whole and in pieces; what comes of it must be equal.
 */

#include "entra_soap.h"
#include "files.h"
#include "guard.h"
#include "token.h"


#define MAX_TOKEN  1024

/* of "header.payload.signature" */
#define TOKEN      "aGVhZGVyLnBheWxvYWQuc2lnbmF0dXJl"

#define NS_SOAP    "http://www.w3.org/2003/05/soap-envelope"
#define NS_WSA     "http://www.w3.org/2005/08/addressing"
#define NS_WSSE                                                               \
    "http://docs.oasis-open.org/wss/2004/01/"                                 \
    "oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define JWT        "urn:ietf:params:oauth:token-type:jwt"
#define DEVICE                                                                \
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"   \
    "DeviceEnrollmentUserToken"


/* a message about these parts of it; plain strings, so that bytes show */

#define BEGIN                                                                 \
    "<s:Envelope xmlns:s=\"" NS_SOAP "\" xmlns:a=\"" NS_WSA "\" xmlns:w=\""    \
    NS_WSSE "\">"
#define SECURITY(content)  "<w:Security>" content "</w:Security>"
#define BST(content)                                                          \
    "<w:BinarySecurityToken ValueType=\"" JWT "\">" content                   \
    "</w:BinarySecurityToken>"
#define HEADER(content)  "<s:Header>" content "</s:Header>"
#define BODY(content)    "<s:Body>" content "</s:Body>"
#define END              "</s:Envelope>"

#define SEVEN(name)                                                           \
    " " name "1='' " name "2='' " name "3='' " name "4='' " name "5='' "      \
    name "6='' " name "7=''"

#define WITH_HEADER(content)                                                  \
    BEGIN HEADER(content SECURITY(BST(TOKEN))) BODY("<x/>") END
#define WITH_TOKEN(content)                                                   \
    BEGIN HEADER(SECURITY(BST(content))) BODY("<x/>") END
#define WITH_BODY(content)                                                    \
    BEGIN HEADER(SECURITY(BST(TOKEN))) BODY(content) END


static pool_t  pool;                    /* of one feeding */
static pool_t  keep;                    /* of one test */


/*** feeding ***/


typedef struct {
    bool                   header;      /* it was told of the Header's end */
    entra_soap_state_t     state;
    entra_reason_t         reason;
    const char            *why;

    entra_soap_message_t   message;     /* what was told at the end */
    entra_str_t            context;     /* "name=value;" for each */

    bool                   misbehaved;
    size_t                 used;
} outcome_t;


typedef enum {
    FEED_LAST = 0,                      /* the last piece says that it is */
    FEED_THEN_LAST,                     /* an empty one behind it does */
    FEED_WAYS
} feed_way_t;


static entra_str_t
copy(entra_str_t s)
{
    entra_str_t  to;

    if (s.data == NULL || !entra_str_copy(&keep.mem, s, &to)) {
        return ENTRA_STR_NONE;
    }

    return to;
}


static entra_soap_state_t
feed_piece(entra_soap_t *soap, entra_str_t piece, bool last, outcome_t *out)
{
    entra_soap_state_t  state;

    state = entra_soap_feed(soap, guard(piece), last);

    if (state == ENTRA_SOAP_HEADER) {

        /* told once only, and with nothing wrong so far */

        out->misbehaved |= out->header
                           || entra_soap_reason(soap, &out->why) != ENTRA_OK;
        out->header = true;

        if (last) {
            state = entra_soap_feed(soap, guard(ENTRA_STR_NONE), true);
            out->misbehaved |= state == ENTRA_SOAP_MORE
                               || state == ENTRA_SOAP_HEADER;
        }
    }

    return state;
}


/* feeds the text in pieces of that size; 0: whole */

static outcome_t
feed(entra_str_t text, size_t size, feed_way_t way)
{
    bool                 last;
    size_t               at, n;
    outcome_t            out;
    entra_soap_t        *soap;
    entra_context_t     *item;
    entra_soap_state_t   state;

    memset(&out, 0, sizeof(out));

    soap = entra_soap_create(MAX_TOKEN, &pool.mem);
    if (soap == NULL) {
        tap_bail("out of memory");
    }

    state = ENTRA_SOAP_MORE;

    for (at = 0; at < text.len || (at == 0 && way == FEED_LAST); at += n) {
        n = size == 0 || size > text.len - at ? text.len - at : size;
        last = way == FEED_LAST && at + n == text.len;

        state = feed_piece(soap, (entra_str_t) { text.data + at, n }, last,
                           &out);

        if (state == ENTRA_SOAP_REFUSED || state == ENTRA_SOAP_DONE) {
            out.misbehaved |= state == ENTRA_SOAP_DONE && !last;
            break;
        }

        out.misbehaved |= last;

        if (n == 0) {
            break;
        }
    }

    if (way == FEED_THEN_LAST
        && (state == ENTRA_SOAP_MORE || state == ENTRA_SOAP_HEADER))
    {
        state = feed_piece(soap, ENTRA_STR_NONE, true, &out);
    }

    out.misbehaved |= state != ENTRA_SOAP_REFUSED && state != ENTRA_SOAP_DONE;

    /* refused is final */

    if (state == ENTRA_SOAP_REFUSED) {
        out.misbehaved |= entra_soap_feed(soap, entra_lit("<a/>"), false)
                          != ENTRA_SOAP_REFUSED;
    }

    out.state = state;
    out.reason = entra_soap_reason(soap, &out.why);

    out.misbehaved |= (state == ENTRA_SOAP_DONE) != (out.reason == ENTRA_OK)
                      || (state == ENTRA_SOAP_DONE && !out.header);

    entra_soap_free(soap);
    entra_soap_free(soap);

    /* what was read lives as long as its memory, not as the parser */

    out.message = *entra_soap_message(soap);
    out.message.message_id = copy(out.message.message_id);
    out.message.action = copy(out.message.action);
    out.message.encoded = copy(out.message.encoded);
    out.context = entra_lit("");

    for (item = out.message.context; item != NULL; item = item->next) {
        out.context = entra_str(pool_text(&keep, "%.*s=%.*s;%s",
                                          (int) item->name.len, item->name.data,
                                          (int) item->value.len,
                                          item->value.data, out.context.data));
    }

    out.message.context = NULL;
    out.used = pool.bytes;

    pool_free(&pool);

    return out;
}


/* why is of the first of two reasons, so it is equal too */

static bool
equal(const outcome_t *a, const outcome_t *b)
{
    return a->header == b->header && a->state == b->state
           && a->reason == b->reason
           && (a->why == b->why
               || (a->why && b->why && strcmp(a->why, b->why) == 0))
           && a->misbehaved == b->misbehaved
           && a->message.credential == b->message.credential
           && a->message.too_long == b->message.too_long
           && entra_str_eq(a->message.encoded, b->message.encoded)
           && entra_str_eq(a->message.message_id, b->message.message_id)
           && entra_str_eq(a->message.action, b->message.action)
           && entra_str_eq(a->context, b->context);
}


static void
show(const char *title, const outcome_t *out)
{
    tap_diag("%s: %s%s (%s)%s", title, out->header ? "Header, then " : "",
             tap_key(out->reason), out->why ? out->why : "",
             out->misbehaved ? ", misbehaved" : "");
    tap_show("encoded", out->message.encoded);
    tap_show("MessageID", out->message.message_id);
    tap_show("Action", out->message.action);
    tap_show("context", out->context);
}


/* the outcome of feeding it whole, which must be that of all pieces */

static outcome_t
feed_all(entra_str_t text, const char *name)
{
    bool        ok;
    size_t      i;
    unsigned    way;
    outcome_t   whole, pieces;

    static const size_t  sizes[] = { 0, 1, 2, 3, 5, 7, 64, 1021 };

    whole = feed(text, 0, FEED_LAST);
    ok = true;

    for (i = 0; i < tap_count(sizes); i++) {
        for (way = 0; way < FEED_WAYS; way++) {

            if (text.len > 16384 && sizes[i] > 0 && sizes[i] < 64) {
                continue;
            }

            pieces = feed(text, sizes[i], (feed_way_t) way);

            if (ok && !equal(&whole, &pieces)) {
                ok = false;
                tap_diag("pieces of %zu bytes, way %u", sizes[i], way);
                show("whole", &whole);
                show("pieces", &pieces);
            }
        }
    }

    tap_ok(ok && !whole.misbehaved, "%s: whole and in pieces", name);

    if (whole.misbehaved) {
        show("whole", &whole);
    }

    return whole;
}


/*** files ***/


static void
valid_file(const char *folder, const char *name)
{
    outcome_t    out;
    entra_str_t  text;

    text = files_read(&keep, pool_text(&keep, "%s/%s", folder, name));
    text = files_fill(&keep, text, "{{TOKEN}}", entra_lit(TOKEN));
    out = feed_all(text, name);

    tap_is_refusal(out.reason, out.why, ENTRA_OK, NULL, name);
    tap_is_str(out.message.encoded, entra_lit(TOKEN), name);
    tap_ok(out.message.credential == (strncmp(name, "device-", 7) == 0
                                      ? ENTRA_CREDENTIAL_DEVICE
                                      : ENTRA_CREDENTIAL_JWT),
           "%s: whose token it is", name);

    pool_free(&keep);
}


static void
invalid_file(const char *folder, const char *name)
{
    unsigned        i;
    outcome_t       out;
    entra_str_t     text, reason;

    text = files_read(&keep, pool_text(&keep, "%s/%s", folder, name));
    text = files_fill(&keep, text, "{{TOKEN}}", entra_lit(TOKEN));
    out = feed_all(text, name);

    reason = (entra_str_t) { name, strcspn(name, "-") };

    for (i = 1; i < ENTRA_REASONS; i++) {
        if (entra_str_eq(entra_reason_info((entra_reason_t) i)->key, reason)) {
            break;
        }
    }

    if (i == ENTRA_REASONS) {
        tap_bail("the name of an invalid message does not start with a reason");
    }

    if (!tap_is_reason(out.reason, (entra_reason_t) i, name)) {
        show("got", &out);
    }

    pool_free(&keep);
}


/*** one line a message ***/


typedef struct {
    const char      *name;
    entra_str_t      text;
    bool             header;            /* the Header was good */
    entra_reason_t   reason;
    const char      *why;
} row_t;


#define X(text)    ENTRA_STR_INIT(text)
#define OK         true, ENTRA_OK, NULL
#define NO(reason, why)     false, ENTRA_##reason, why
#define LATER(reason, why)  true, ENTRA_##reason, why

#define NOT_XML    "it is not well-formed XML"


static const row_t  rows[] = {
    { "a message", X(WITH_HEADER("")), OK },
    { "no bytes at all", X(""), NO(MESSAGE_MALFORMED, NOT_XML) },

    /* whom it is for */

    { "the root is not an Envelope", X("<x/>"),
      NO(MESSAGE_MALFORMED, "its root is not a SOAP 1.2 Envelope") },
    { "a Header of another namespace",
      X(BEGIN "<Header/>" HEADER(SECURITY(BST(TOKEN))) END),
      NO(MESSAGE_MALFORMED, "a Header or Body of another namespace") },
    { "a Body of another namespace",
      X(BEGIN HEADER(SECURITY(BST(TOKEN))) "<Body/>" END),
      LATER(MESSAGE_MALFORMED, "a Header or Body of another namespace") },
    { "a second Header after the first",
      X(BEGIN HEADER(SECURITY(BST(TOKEN))) HEADER(SECURITY(BST(TOKEN)))
        BODY("") END),
      LATER(MESSAGE_MALFORMED, "a second Header") },
    { "a second Header after the Body",
      X(BEGIN HEADER(SECURITY(BST(TOKEN))) BODY("") HEADER("") END),
      LATER(MESSAGE_MALFORMED, "a second Header") },
    { "an empty Header first",
      X(BEGIN HEADER("") HEADER(SECURITY(BST(TOKEN))) BODY("") END),
      NO(NO_TOKEN, "no Security header") },
    { "a second Body",
      X(BEGIN HEADER(SECURITY(BST(TOKEN))) BODY("") BODY("") END),
      LATER(MESSAGE_MALFORMED, "a second Body") },
    { "Body before Header",
      X(BEGIN BODY("") HEADER(SECURITY(BST(TOKEN))) END),
      NO(NO_TOKEN, "no Header before the Body") },
    { "no Header", X(BEGIN END), NO(NO_TOKEN, "no Header") },
    { "no Body", X(BEGIN HEADER(SECURITY(BST(TOKEN))) END), OK },
    { "a comment after the root", X(WITH_HEADER("") "<!---->"),
      LATER(MESSAGE_MALFORMED, "content after the root element") },
    { "an instruction after the root", X(WITH_HEADER("") "<?x?>"),
      LATER(MESSAGE_MALFORMED, "content after the root element") },
    { "text after the root", X(WITH_HEADER("") "x"),
      LATER(MESSAGE_MALFORMED, NOT_XML) },
    { "a document type", X("<!DOCTYPE x>" WITH_HEADER("")),
      NO(MESSAGE_MALFORMED, "a document type declaration") },
    { "a document type that is not ended", X("<!DOCTYPE x ["),
      NO(MESSAGE_MALFORMED, "a document type declaration") },
    { "an encoding that is not UTF-8",
      X("<?xml version='1.0' encoding='latin1'?>" WITH_HEADER("")),
      NO(MESSAGE_MALFORMED, "an encoding other than UTF-8") },
    { "XML 1.1", X("<?xml version='1.1'?>" WITH_HEADER("")),
      NO(MESSAGE_MALFORMED, "not XML 1.0") },

    /* a message that is broken keeps the reason found first */

    { "Security ambiguous, then broken in the Header",
      X(BEGIN "<s:Header>" SECURITY(BST(TOKEN)) SECURITY("") "</s:Haeder>"),
      NO(SECURITY_MALFORMED, "a second Security") },
    { "Security ambiguous, then a NUL in the Header",
      X(BEGIN "<s:Header>" SECURITY(BST(TOKEN)) SECURITY("") "\0"),
      NO(SECURITY_MALFORMED, "a second Security") },
    { "Security ambiguous, then a NUL in the Body",
      X(BEGIN HEADER(SECURITY(BST(TOKEN)) SECURITY("")) BODY("\0") END),
      NO(SECURITY_MALFORMED, "a second Security") },
    { "no token, then broken in the Body",
      X(BEGIN HEADER("") BODY("</a>")), NO(NO_TOKEN, "no Security header") },
    { "no token, then a NUL in the Body",
      X(BEGIN HEADER("") BODY("\0") END), NO(NO_TOKEN, "no Security header") },
    { "a good Header, then a NUL", X(WITH_BODY("\0")),
      LATER(MESSAGE_MALFORMED, NOT_XML) },
    { "a good Header, then broken", X(WITH_BODY("<a></b>")),
      LATER(MESSAGE_MALFORMED, NOT_XML) },
    { "a good Header, then cut",
      X(BEGIN HEADER(SECURITY(BST(TOKEN))) "<s:Body>"),
      LATER(MESSAGE_MALFORMED, NOT_XML) },
    { "a good Header, then nothing",
      X(BEGIN HEADER(SECURITY(BST(TOKEN)))), LATER(MESSAGE_MALFORMED,
                                                   NOT_XML) },
    { "a good Header, then bytes that are no UTF-8", X(WITH_BODY("\xff\xfe")),
      LATER(MESSAGE_MALFORMED, NOT_XML) },

    /* encodings */

    { "one NUL", X("\0"), NO(MESSAGE_MALFORMED, "it is not UTF-8") },
    { "a NUL in second place", X("<\0"), NO(MESSAGE_MALFORMED,
                                            "it is not UTF-8") },
    { "a UTF-16 mark", X("\xfe\xff"), NO(MESSAGE_MALFORMED,
                                         "it is not UTF-8") },
    { "the other UTF-16 mark", X("\xff\xfe"), NO(MESSAGE_MALFORMED,
                                                 "it is not UTF-8") },
    { "half a UTF-16 mark", X("\xfe"), NO(MESSAGE_MALFORMED, NOT_XML) },
    { "half a byte order mark", X("\xef\xbb"), NO(MESSAGE_MALFORMED,
                                                  NOT_XML) },
    { "a byte order mark", X("\xef\xbb\xbf" WITH_HEADER("")), OK },

    /* the token's text */

    { "LF anywhere", X(WITH_TOKEN("\naGVh\nZGVyLnBheWxvYWQuc2lnbmF0dXJl\n")),
      OK },
    { "CR LF anywhere",
      X(WITH_TOKEN("\r\naGVh\r\nZGVyLnBheWxvYWQuc2lnbmF0dXJl\r\n")), OK },
    { "CR anywhere, by its reference",
      X(WITH_TOKEN("&#13;aGVh&#xD;ZGVyLnBheWxvYWQuc2lnbmF0dXJl&#13;&#10;")),
      OK },
    { "a letter by its reference",
      X(WITH_TOKEN("&#97;GVhZGVyLnBheWxvYWQuc2lnbmF0dXJ&#x6c;")), OK },
    { "only CR and LF", X(WITH_TOKEN("\r\n\n&#13;")),
      NO(NO_TOKEN, "an empty BinarySecurityToken") },
    { "a comment in it", X(WITH_TOKEN("aGVh<!---->ZGVy")),
      NO(SECURITY_MALFORMED, "a comment inside the token") },
    { "an instruction in it", X(WITH_TOKEN("aGVh<?x?>ZGVy")),
      NO(SECURITY_MALFORMED, "a processing instruction inside the token") },
    { "a CDATA section", X(WITH_TOKEN("<![CDATA[aGVh]]>")),
      NO(SECURITY_MALFORMED, "a CDATA section inside the token") },
    { "an element in it", X(WITH_TOKEN("aGVh<x/>ZGVy")),
      NO(SECURITY_MALFORMED, "an element inside the token") },
    { "an undefined entity in it", X(WITH_TOKEN("&t;")),
      NO(MESSAGE_MALFORMED, NOT_XML) },

    /* its attributes */

    { "the device's token",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken ValueType=\"" DEVICE
        "\">" TOKEN "</w:BinarySecurityToken>")) BODY("") END), OK },
    { "a declaration that a parser of no namespaces takes for ValueType",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken ValueType=\"" JWT
        "\" xmlns:ValueType=\"" DEVICE "\">" TOKEN
        "</w:BinarySecurityToken>")) BODY("") END),
      NO(SECURITY_MALFORMED, "a namespace prefix named like an attribute") },
    { "that declaration on the element around it",
      X(BEGIN HEADER("<w:Security xmlns:ValueType=\"" DEVICE "\">" BST(TOKEN)
        "</w:Security>") BODY("") END), OK },
    { "that declaration on an element before it",
      X(BEGIN HEADER("<x xmlns:ValueType=\"" DEVICE "\"/>"
        SECURITY(BST(TOKEN))) BODY("") END), OK },
    { "ValueType twice, one of them prefixed",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken ValueType=\"" JWT
        "\" w:ValueType=\"" DEVICE "\">" TOKEN
        "</w:BinarySecurityToken>")) BODY("") END),
      NO(SECURITY_MALFORMED, "an attribute twice by local name, or too many") },
    { "32 attributes",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken ValueType=\"" JWT "\""
        SEVEN("a") SEVEN("b") SEVEN("c") SEVEN("d") " e='' f='' g=''>"
        TOKEN "</w:BinarySecurityToken>")) BODY("") END), OK },
    { "33 attributes",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken ValueType=\"" JWT "\""
        SEVEN("a") SEVEN("b") SEVEN("c") SEVEN("d") " e='' f='' g='' h=''>"
        TOKEN "</w:BinarySecurityToken>")) BODY("") END),
      NO(SECURITY_MALFORMED, "an attribute twice by local name, or too many") },
    { "ValueType of the xml namespace",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken xml:ValueType=\"" JWT
        "\">" TOKEN "</w:BinarySecurityToken>")) BODY("") END), OK },
    { "no ValueType",
      X(BEGIN HEADER(SECURITY("<w:BinarySecurityToken>" TOKEN
        "</w:BinarySecurityToken>")) BODY("") END),
      NO(SECURITY_MALFORMED, "ValueType is missing or unknown") },

    /* reasons within Security */

    { "a second token", X(BEGIN HEADER(SECURITY(BST(TOKEN) BST(TOKEN))) END),
      NO(SECURITY_MALFORMED, "a second BinarySecurityToken") },
    { "a token of another namespace",
      X(BEGIN HEADER(SECURITY("<BinarySecurityToken/>")) END),
      NO(SECURITY_MALFORMED, "a BinarySecurityToken of another namespace") },
    { "a Security of another namespace",
      X(BEGIN HEADER("<Security/>" SECURITY(BST(TOKEN))) END),
      NO(SECURITY_MALFORMED, "a Security of another namespace") },
    { "a password", X(BEGIN HEADER(SECURITY("<w:UsernameToken/>")) END),
      NO(USERNAME_TOKEN, NULL) },
    { "Security without a token", X(BEGIN HEADER(SECURITY("")) END),
      NO(NO_TOKEN, "no BinarySecurityToken") },
};


static void
test_rows(void)
{
    size_t      i;
    outcome_t   out;

    for (i = 0; i < tap_count(rows); i++) {
        out = feed_all(rows[i].text, rows[i].name);

        if (!tap_is_refusal(out.reason, out.why, rows[i].reason, rows[i].why,
                            rows[i].name)
            || !tap_ok(out.header == rows[i].header, "%s: the Header was %s",
                       rows[i].name, rows[i].header ? "good" : "not"))
        {
            show("got", &out);
        }

        if (rows[i].reason == ENTRA_OK) {
            tap_is_str(out.message.encoded, entra_lit(TOKEN), rows[i].name);
        }

        pool_free(&keep);
    }
}


/*** MessageID and Action ***/


#define ID(content)      "<a:MessageID>" content "</a:MessageID>"
#define ACTION(content)  "<a:Action>" content "</a:Action>"


static const struct {
    const char   *name;
    entra_str_t   text;
    const char   *message_id;
    const char   *action;
} heads[] = {
    { "both", X(WITH_HEADER(ACTION("act") ID("urn:uuid:1"))),
      "urn:uuid:1", "act" },
    { "neither", X(WITH_HEADER("")), "", "" },
    { "both empty", X(WITH_HEADER(ACTION("") ID(""))), "", "" },
    { "blanks around", X(WITH_HEADER(ACTION(" \r\n act ") ID("\n\t1\n"))),
      "1", "act" },
    { "blanks only", X(WITH_HEADER(ACTION(" ") ID(" \n "))), "", "" },
    { "entities", X(WITH_HEADER(ID("a&amp;b&lt;c&gt;d&quot;e&apos;f&#x41;"))),
      "a&b<c>d\"e'fA", "" },
    { "a CDATA section", X(WITH_HEADER(ID("<![CDATA[</a>]]>"))), "</a>", "" },
    { "comments inside", X(WITH_HEADER(ID("a<!-- x -->b"))), "ab", "" },
    { "an element inside", X(WITH_HEADER(ID("a<x>y</x>b"))), "ab", "" },
    { "beyond ASCII", X(WITH_HEADER(ID("\xc3\xbc"))), "\xc3\xbc", "" },
    { "two MessageIDs", X(WITH_HEADER(ID("1") ID("2"))), "", "" },
    { "two equal MessageIDs", X(WITH_HEADER(ID("1") ID("1"))), "", "" },
    { "three MessageIDs", X(WITH_HEADER(ID("1") ID("2") ID("3"))), "", "" },
    { "two MessageIDs, the first empty", X(WITH_HEADER(ID("") ID("2"))), "",
      "" },
    { "two Actions", X(WITH_HEADER(ACTION("1") ACTION("2"))), "", "" },
    { "of another namespace",
      X(WITH_HEADER("<MessageID>1</MessageID><Action>2</Action>")), "", "" },
    { "of another namespace beside them",
      X(WITH_HEADER("<MessageID>1</MessageID>" ID("2"))), "2", "" },
    { "deeper in the Header", X(WITH_HEADER("<x>" ID("1") "</x>")), "", "" },
    { "in the Body only", X(WITH_BODY(ID("1") ACTION("2"))), "", "" },
    { "in the Body too",
      X(BEGIN HEADER(ID("1") SECURITY(BST(TOKEN))) BODY(ID("2")) END), "1",
      "" },
    { "behind Security",
      X(BEGIN HEADER(SECURITY(BST(TOKEN)) ID("1") ACTION("2")) BODY("") END),
      "1", "2" },
    { "known though there is no token",
      X(BEGIN HEADER(ID("1") ACTION("2")) BODY("") END), "1", "2" },
    { "known though they follow what is wrong",
      X(BEGIN HEADER(SECURITY("") SECURITY("") ID("1") ACTION("2")) BODY("")
        END), "1", "2" },
    { "known though the message breaks later",
      X(BEGIN HEADER(SECURITY(BST(TOKEN)) ID("1") ACTION("2")) "<"), "1",
      "2" },
};


static void
test_heads(void)
{
    size_t      i;
    outcome_t   out;

    for (i = 0; i < tap_count(heads); i++) {
        out = feed_all(heads[i].text, heads[i].name);

        tap_is_str(out.message.message_id, entra_str(heads[i].message_id),
                   heads[i].name);
        tap_is_str(out.message.action, entra_str(heads[i].action),
                   heads[i].name);
        pool_free(&keep);
    }
}


/* a text of n characters that is repeated as often as it must */

static char *
repeat(const char *unit, size_t n)
{
    char    *text, *p;
    size_t   len;

    len = strlen(unit);
    text = pool_alloc(&keep, n * len + 1);

    for (p = text; n; n--, p += len) {
        memcpy(p, unit, len);
    }

    *p = '\0';

    return text;
}


static void
test_lengths_of_heads(void)
{
    size_t      i;
    char       *text;
    outcome_t   out;

    static const struct {
        const char  *name;
        const char  *unit;
        size_t       count;
        size_t       id;                /* its length, decoded; 0: none */
    } ids[] = {
        { "a MessageID of 1023 bytes", "m", 1023, 1023 },
        { "a MessageID of 1024 bytes", "m", 1024, 1024 },
        { "a MessageID of 1025 bytes", "m", 1025, 0 },
        { "a MessageID of 50000 bytes", "m", 50000, 0 },
        { "a MessageID of 1024 escaped bytes", "&amp;", 1024, 1024 },
        { "a MessageID of 1025 escaped bytes", "&amp;", 1025, 0 },
        { "a MessageID of 512 letters of two bytes", "\xc3\xbc", 512, 1024 },
        { "a MessageID of 513 letters of two bytes", "\xc3\xbc", 513, 0 },
    };

    for (i = 0; i < tap_count(ids); i++) {
        text = pool_text(&keep, "%s" ID("%s") "%s", BEGIN "<s:Header>",
                         repeat(ids[i].unit, ids[i].count),
                         SECURITY(BST(TOKEN)) "</s:Header>" BODY("") END);
        out = feed_all(entra_str(text), ids[i].name);

        tap_is_size(out.message.message_id.len, ids[i].id, ids[i].name);
        tap_is_reason(out.reason, ENTRA_OK, "no reason to refuse");
        pool_free(&keep);
    }

    text = pool_text(&keep, "%s" ACTION("%s") "%s", BEGIN "<s:Header>",
                     repeat("x", 5000),
                     SECURITY(BST(TOKEN)) "</s:Header>" BODY("") END);
    out = feed_all(entra_str(text), "an Action of 5000 bytes");
    tap_is_str(out.message.action, entra_lit(""), "is none");
    pool_free(&keep);
}


/*
 * What is known of a Header that is cut off depends on the pieces; why it is
 * refused does not.
 */

static void
test_lengths_of_header(void)
{
    char       *text;
    size_t      i, j;
    outcome_t   out;

    static const struct {
        const char      *name;
        const char      *before;
        const char      *unit;
        const char      *after;
        entra_reason_t   reason;
        const char      *why;
    } headers[] = {
        { "a MessageID of a megabyte", "<a:MessageID>", "m",
          "</a:MessageID>" SECURITY(BST(TOKEN)),
          ENTRA_MESSAGE_MALFORMED, "its Header is too long" },
        { "a megabyte of elements", SECURITY(BST(TOKEN)), "<x/>", "",
          ENTRA_MESSAGE_MALFORMED, "its Header is too long" },
        { "a megabyte of attributes", "<x", " xmlns:a" "='b'", "/>",
          ENTRA_MESSAGE_MALFORMED, NULL },
        { "a token of a megabyte",
          "<w:Security><w:BinarySecurityToken ValueType=\"" JWT "\">", "QUFB",
          "</w:BinarySecurityToken></w:Security>",
          ENTRA_TOKEN_MALFORMED, "it is longer than max_token" },
        { "a megabyte of a namespace", "<x xmlns:p='", "A",
          "' p:a='' p:b=''/>" SECURITY(BST(TOKEN)),
          ENTRA_MESSAGE_MALFORMED, NULL },
        { "a megabyte behind an ambiguous Security",
          SECURITY(BST(TOKEN) BST(TOKEN)), "<x/>", "",
          ENTRA_SECURITY_MALFORMED, "a second BinarySecurityToken" },
    };

    static const size_t  sizes[] = { 0, 1021, 16384 };

    for (i = 0; i < tap_count(headers); i++) {
        text = pool_text(&keep, "%s%s%s%s%s", BEGIN "<s:Header>",
                         headers[i].before,
                         repeat(headers[i].unit,
                                (1 << 20) / strlen(headers[i].unit)),
                         headers[i].after, "</s:Header>" BODY("") END);

        for (j = 0; j < tap_count(sizes); j++) {
            out = feed(entra_str(text), sizes[j], FEED_LAST);

            tap_is_reason(out.reason, headers[i].reason, headers[i].name);

            if (headers[i].why != NULL) {
                tap_is_str(entra_str(out.why), entra_str(headers[i].why),
                           headers[i].name);
            }

            tap_ok(!out.misbehaved, "%s: and that is all", headers[i].name);
        }

        pool_free(&keep);
    }
}


/* expat's work on these would grow with the product of their parts */

static void
test_lengths_of_names(void)
{
    char       *text;
    size_t      i;
    outcome_t   out;

    static const struct {
        const char      *name;
        const char      *before;
        size_t           count;
        const char      *after;
        size_t           pieces;
        entra_reason_t   reason;
        const char      *why;
    } bodies[] = {
        { "a namespace of 256 bytes", "<x xmlns:p='", 256, "'/>", 0,
          ENTRA_OK, NULL },
        { "a namespace of 257 bytes", "<x xmlns:p='", 257, "'/>", 0,
          ENTRA_MESSAGE_MALFORMED, "a namespace name over 256 bytes" },
        { "a default namespace of 257 bytes", "<x xmlns='", 257, "'/>", 0,
          ENTRA_MESSAGE_MALFORMED, "a namespace name over 256 bytes" },
        { "an attribute of 30000 bytes", "<x a='", 30000, "'/>", 4096,
          ENTRA_OK, NULL },
        { "an attribute of 100000 bytes", "<x a='", 100000, "'/>", 4096,
          ENTRA_MESSAGE_MALFORMED, "a tag over 64 KB" },
        { "a comment of 100000 bytes", "<!--", 100000, "-->", 4096,
          ENTRA_MESSAGE_MALFORMED, "a tag over 64 KB" },
        { "a text of 300000 bytes", "<x>", 300000, "</x>", 4096,
          ENTRA_OK, NULL },
        { "a CDATA section of 300000 bytes", "<x><![CDATA[", 300000,
          "]]></x>", 4096, ENTRA_OK, NULL },
    };

    for (i = 0; i < tap_count(bodies); i++) {
        text = pool_text(&keep, "%s%s%s%s%s",
                         BEGIN "<s:Header>" SECURITY(BST(TOKEN)) "</s:Header>"
                         "<s:Body>", bodies[i].before,
                         repeat("x", bodies[i].count), bodies[i].after,
                         "</s:Body>" END);

        out = feed(entra_str(text), bodies[i].pieces, FEED_LAST);

        tap_is_refusal(out.reason, out.why, bodies[i].reason, bodies[i].why,
                       bodies[i].name);

        pool_free(&keep);
    }
}


/*** the token's length, and its decoding ***/


static void
test_lengths_of_token(void)
{
    char                  *text, *bytes;
    size_t                 i, j;
    outcome_t              out;
    const char            *why;
    entra_str_t            encoded, token;
    entra_reason_t         reason;

    static const struct {
        const char   *name;
        const char   *before;           /* each character */
        size_t        len;
        bool          ok;
    } lengths[] = {
        { "one byte", "", 1, true },
        { "one byte less than max_token", "", MAX_TOKEN - 1, true },
        { "max_token", "", MAX_TOKEN, true },
        { "max_token, each character on a line", "\n", MAX_TOKEN, true },
        { "one byte more than max_token", "", MAX_TOKEN + 1, false },
        { "one byte more, each character on a line", "\n", MAX_TOKEN + 1,
          false },
        { "two bytes more than max_token", "", MAX_TOKEN + 2, false },
        { "far over max_token", "", MAX_TOKEN + 3, false },
        { "far over max_token, each character on a line", "\r\n",
          MAX_TOKEN + 3, false },
        { "twice max_token", "", 2 * MAX_TOKEN, false },
    };

    for (i = 0; i < tap_count(lengths); i++) {
        bytes = repeat("x", lengths[i].len);
        encoded = token_base64(&keep, entra_str(bytes));
        text = pool_text(&keep, "%s", "");

        if (*lengths[i].before) {
            char  *p = pool_alloc(&keep, encoded.len * 3 + 1);

            text = p;

            for (j = 0; j < encoded.len; j++) {
                p += sprintf(p, "%s%c", lengths[i].before, encoded.data[j]);
            }

        } else {
            text = pool_text(&keep, "%.*s", (int) encoded.len, encoded.data);
        }

        text = pool_text(&keep, "%s%s%s",
                         BEGIN "<s:Header><w:Security><w:BinarySecurityToken"
                         " ValueType=\"" JWT "\">", text,
                         "</w:BinarySecurityToken></w:Security></s:Header>"
                         BODY("") END);

        out = feed_all(entra_str(text), lengths[i].name);
        tap_is_reason(out.reason, ENTRA_OK, "the message is as it must be");

        why = NULL;
        reason = entra_soap_token(&out.message, &keep.mem, &token, &why);

        if (lengths[i].ok) {
            tap_is_refusal(reason, why, ENTRA_OK, NULL, lengths[i].name);
            tap_is_str(token, entra_str(bytes), lengths[i].name);

        } else {
            tap_is_refusal(reason, why, ENTRA_TOKEN_MALFORMED,
                           "it is longer than max_token", lengths[i].name);
        }

        pool_free(&keep);
    }
}


static const struct {
    const char      *name;
    entra_str_t      text;
    entra_reason_t   reason;
    const char      *token;
} tokens[] = {
    { "base64", X(WITH_TOKEN("YS5iLmM=")), ENTRA_OK, "a.b.c" },
    { "a line feed in the padding", X(WITH_TOKEN("YS5iLg==\n")), ENTRA_OK,
      "a.b." },
    { "CR by its reference within", X(WITH_TOKEN("YS5i&#13;LmM=")), ENTRA_OK,
      "a.b.c" },
    { "a blank in front", X(WITH_TOKEN(" YS5iLmM=")), ENTRA_TOKEN_MALFORMED,
      NULL },
    { "a blank behind", X(WITH_TOKEN("YS5iLmM= ")), ENTRA_TOKEN_MALFORMED,
      NULL },
    { "indented", X(WITH_TOKEN("\n      YS5iLmM=\n      ")),
      ENTRA_TOKEN_MALFORMED, NULL },
    { "a tab", X(WITH_TOKEN("YS5i\tLmM=")), ENTRA_TOKEN_MALFORMED, NULL },
    { "a tab by its reference", X(WITH_TOKEN("YS5i&#9;LmM=")),
      ENTRA_TOKEN_MALFORMED, NULL },
    { "only blanks", X(WITH_TOKEN("   ")), ENTRA_TOKEN_MALFORMED, NULL },
    { "a no-break space", X(WITH_TOKEN("YS5i\xc2\xa0LmM=")),
      ENTRA_TOKEN_MALFORMED, NULL },
    { "no padding", X(WITH_TOKEN("YS5iLmM")), ENTRA_TOKEN_MALFORMED, NULL },
    { "only padding", X(WITH_TOKEN("====")), ENTRA_TOKEN_MALFORMED, NULL },
    { "the URL alphabet", X(WITH_TOKEN("YS5i-_M=")), ENTRA_TOKEN_MALFORMED,
      NULL },
    { "not wrapped at all", X(WITH_TOKEN("eyJh.e30.c2ln")),
      ENTRA_TOKEN_MALFORMED, NULL },
    { "stray bits", X(WITH_TOKEN("YS5iLmN=")), ENTRA_TOKEN_MALFORMED, NULL },
    { "an entity", X(WITH_TOKEN("YS5i&amp;LmM=")), ENTRA_TOKEN_MALFORMED,
      NULL },
};


static void
test_tokens(void)
{
    size_t           i;
    outcome_t        out;
    const char      *why;
    entra_str_t      token;
    entra_reason_t   reason;

    for (i = 0; i < tap_count(tokens); i++) {
        out = feed_all(tokens[i].text, tokens[i].name);
        tap_is_reason(out.reason, ENTRA_OK, "the message is as it must be");

        why = "unset";
        reason = entra_soap_token(&out.message, &keep.mem, &token, &why);

        tap_is_refusal(reason, why, tokens[i].reason,
                       tokens[i].token ? NULL : "its text is not base64",
                       tokens[i].name);

        if (tokens[i].token != NULL && reason == ENTRA_OK) {
            tap_is_str(token, entra_str(tokens[i].token), tokens[i].name);
        }

        pool_free(&keep);
    }

    memset(&out.message, 0, sizeof(out.message));
    why = "unset";
    reason = entra_soap_token(&out.message, &keep.mem, &token, &why);
    tap_is_refusal(reason, why, ENTRA_NO_TOKEN, NULL, "a message of no token");

    pool_free(&keep);
    out.message.encoded = entra_lit("YS5iLmM=");
    keep.fail_at = 1;
    why = "unset";
    reason = entra_soap_token(&out.message, &keep.mem, &token, &why);
    tap_is_refusal(reason, why, ENTRA_INTERNAL, NULL, "out of memory");

    pool_free(&keep);
}


/*** context items ***/


#define NS_AC  "http://schemas.xmlsoap.org/ws/2006/12/authorization"
#define RST(content)                                                          \
    WITH_BODY("<RequestSecurityToken><c:AdditionalContext xmlns:c=\"" NS_AC    \
              "\">" content                                                   \
              "</c:AdditionalContext></RequestSecurityToken>")
#define ITEM(name, value)                                                     \
    "<c:ContextItem Name=\"" name "\"><c:Value>" value                        \
    "</c:Value></c:ContextItem>"


static const struct {
    const char   *name;
    entra_str_t   text;
    const char   *context;
} contexts[] = {
    { "none", X(RST("")), "" },
    { "one", X(RST(ITEM("A", "1"))), "A=1;" },
    { "some", X(RST(ITEM("A", "1") ITEM("B", "2") ITEM("C", "3"))),
      "A=1;B=2;C=3;" },
    { "a name twice: the backend takes the last, and here it is first found",
      X(RST(ITEM("A", "1") ITEM("A", "2"))), "A=1;A=2;" },
    { "entities", X(RST(ITEM("A&amp;B", "1&lt;2"))), "A&B=1<2;" },
    { "blanks around the value", X(RST(ITEM("A", "\n 1 \n"))), "A=1;" },
    { "no Name", X(RST("<c:ContextItem><c:Value>1</c:Value></c:ContextItem>")),
      "" },
    { "an empty Name", X(RST(ITEM("", "1"))), "" },
    { "no Value", X(RST("<c:ContextItem Name=\"A\"/>" ITEM("B", "2"))),
      "B=2;" },
    { "a Value deeper",
      X(RST("<c:ContextItem Name=\"A\"><x><c:Value>1</c:Value></x>"
            "</c:ContextItem>")), "" },
    { "an item in an item",
      X(RST("<c:ContextItem Name=\"A\">" ITEM("B", "2")
            "<c:Value>1</c:Value></c:ContextItem>")), "A=1;" },
    { "two Values: it is anybody's guess",
      X(RST("<c:ContextItem Name=\"A\"><c:Value>1</c:Value><c:Value>2"
            "</c:Value></c:ContextItem>" ITEM("B", "2"))), "B=2;" },
    { "an element in a Value", X(RST(ITEM("A", "1<x>y</x>2"))), "A=12;" },
    { "a CDATA section in a Value", X(RST(ITEM("A", "<![CDATA[<1>]]>"))),
      "A=<1>;" },
    { "elsewhere in the Body", X(WITH_BODY("<c:ContextItem xmlns:c=\"" NS_AC
      "\" Name=\"A\"><c:Value>1</c:Value></c:ContextItem>")), "" },
    { "in the Header",
      X(WITH_HEADER("<RequestSecurityToken><c:AdditionalContext xmlns:c=\""
                    NS_AC "\">" ITEM("A", "1")
                    "</c:AdditionalContext></RequestSecurityToken>")), "" },
};


static void
test_contexts(void)
{
    size_t      i;
    outcome_t   out;

    for (i = 0; i < tap_count(contexts); i++) {
        out = feed_all(contexts[i].text, contexts[i].name);

        tap_is_reason(out.reason, ENTRA_OK, contexts[i].name);
        tap_is_str(out.context, entra_str(contexts[i].context),
                   contexts[i].name);
        pool_free(&keep);
    }
}


static void
test_context_of_the_sample(void)
{
    outcome_t    out;
    entra_str_t  text;

    text = files_read(&keep, "data/soap/valid/enroll.xml");
    text = files_fill(&keep, text, "{{TOKEN}}", entra_lit(TOKEN));
    out = feed_all(text, "the sample");

    tap_is_str(out.context, entra_lit(
        "UXInitiated=true;HWDevID=BCB8C6F2A4D14F57AAE0D84C7F6EE2E0;"
        "Locale=en-US;TargetedUserLoggedIn=true;OSEdition=72;"
        "DeviceName=DESKTOP-0VQ7P2R;MAC=00-15-5D-0A-0B-0C;"
        "DeviceID=F7A4B9D21E3C4A5F8B6E7D0C1A2B3C4D;EnrollmentType=Full;"
        "DeviceType=CIMClient_Windows;OSVersion=10.0.22631.2428;"
        "ApplicationVersion=10.0.22631.2428;NotInOobe=false;"
        "RequestVersion=5.0;"), "what a device says of itself");
    tap_is_str(out.message.message_id,
               entra_lit("urn:uuid:0d5a1441-5891-453b-becf-a2e5f6ea3749"),
               "its MessageID");
    tap_is_str(out.message.action,
               entra_lit("http://schemas.microsoft.com/windows/pki/2009/01/"
                         "enrollment/RST/wstep"), "its Action");

    pool_free(&keep);
}


/*** what a hostile message may cost ***/


/* a unit repeated n times within the Header or the Body, and memory taken */

static void
test_memory_of_hostile_messages(void)
{
    char       *text;
    size_t      i;
    outcome_t   out;

    static const struct {
        const char  *name;
        const char  *before;
        const char  *unit;
        const char  *after;
    } hostile[] = {
        { "Actions", BEGIN "<s:Header>", ACTION("x"), "</s:Header>" END },
        { "MessageIDs", BEGIN "<s:Header>", ID("x"), "</s:Header>" END },
        { "tokens", BEGIN "<s:Header><w:Security>", BST("x"),
          "</w:Security></s:Header>" END },
        { "ContextItems without a Value",
          BEGIN HEADER(SECURITY(BST(TOKEN))) "<s:Body><RequestSecurityToken>"
          "<AdditionalContext>", "<ContextItem Name=\"a\"/>",
          "</AdditionalContext></RequestSecurityToken></s:Body>" END },
        { "ContextItems",
          BEGIN HEADER(SECURITY(BST(TOKEN))) "<s:Body><RequestSecurityToken>"
          "<AdditionalContext>",
          "<ContextItem Name=\"a\"><Value>x</Value></ContextItem>",
          "</AdditionalContext></RequestSecurityToken></s:Body>" END },
        { "Values of one ContextItem",
          BEGIN HEADER(SECURITY(BST(TOKEN))) "<s:Body><RequestSecurityToken>"
          "<AdditionalContext><ContextItem Name=\"a\">", "<Value>x</Value>",
          "</ContextItem></AdditionalContext></RequestSecurityToken></s:Body>"
          END },
    };

    for (i = 0; i < tap_count(hostile); i++) {
        text = pool_text(&keep, "%s%s%s", hostile[i].before,
                         repeat(hostile[i].unit, 2000), hostile[i].after);
        out = feed(entra_str(text), 0, FEED_LAST);

        if (!tap_ok(out.used < 65536, "two thousand %s take no more memory"
                    " than some do", hostile[i].name))
        {
            tap_diag("%zu bytes", out.used);
        }

        pool_free(&keep);
    }
}


/* cut at each byte: never done, never accepted, and no byte too far */

static void
test_cut(void)
{
    bool         ok;
    size_t       n;
    outcome_t    out;
    entra_str_t  text;

    text = entra_lit(WITH_HEADER(ID("1") ACTION("2")));
    ok = true;

    for (n = 0; n < text.len; n++) {
        out = feed((entra_str_t) { text.data, n }, 0, FEED_LAST);
        ok = ok && !out.misbehaved && out.reason == ENTRA_MESSAGE_MALFORMED;
        pool_free(&keep);
    }

    tap_ok(ok, "cut at each byte: malformed");
}


/*** the allocator ***/


static void
test_allocator(void)
{
    bool             on;
    size_t           n, calls, i;
    const char      *why;
    entra_str_t      text;
    entra_soap_t    *soap;

    static const entra_str_t  texts[] = {
        X(WITH_HEADER(ID("1") ACTION("2"))),
        X(RST(ITEM("A", "1") ITEM("B", "2"))),
    };

    for (i = 0; i < 2 * tap_count(texts); i++) {
        text = texts[i / 2];
        on = i % 2;

        for (n = 1; /* void */ ; n++) {
            entra_soap_state_t  state = ENTRA_SOAP_REFUSED;

            pool.fail_at = n;
            pool.fail_on = on;

            soap = entra_soap_create(MAX_TOKEN, &pool.mem);

            if (soap != NULL) {
                state = entra_soap_feed(soap, text, true);

                if (state == ENTRA_SOAP_HEADER) {
                    state = entra_soap_feed(soap, ENTRA_STR_NONE, true);
                }
            }

            calls = pool.calls;

            if (calls < n) {
                tap_ok(state == ENTRA_SOAP_DONE, "with memory enough");

            } else if (soap != NULL) {
                tap_ok(state == ENTRA_SOAP_REFUSED
                       && entra_soap_reason(soap, &why) == ENTRA_INTERNAL,
                       "allocation %zu fails: internal", n);
            }

            entra_soap_free(soap);
            pool_free(&pool);

            if (calls < n) {
                break;
            }
        }
    }
}


int
main(void)
{
    pool_init(&pool);
    pool_init(&keep);

    files_each("data/soap/valid", ".xml", valid_file);
    files_each("data/soap/invalid", ".xml", invalid_file);

    test_rows();
    test_heads();
    test_lengths_of_heads();
    test_lengths_of_header();
    test_lengths_of_names();
    test_lengths_of_token();
    test_tokens();
    test_contexts();
    test_context_of_the_sample();
    test_memory_of_hostile_messages();
    test_cut();
    test_allocator();

    entra_soap_free(NULL);

    return tap_done();
}
