/*
 * SOAP faults, read back by an XML parser that knows namespaces.
 */

#include <expat.h>

#include "entra_fault.h"
#include "guard.h"
#include "pool.h"


#define NS_SOAP        "http://www.w3.org/2003/05/soap-envelope"
#define NS_ADDRESSING  "http://www.w3.org/2005/08/addressing"
#define NS_ENROLLMENT                                                         \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"

#define DISCOVERY                                                             \
    "http://schemas.microsoft.com/windows/management/2012/01/enrollment/"     \
    "IDiscoveryService/"
#define POLICY                                                                \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/"      \
    "IPolicy/"
#define FAULT_ACTION   "http://www.w3.org/2005/08/addressing/fault"


static pool_t  pool;


/*** reading back ***/


/* the document as lines "s:Envelope/s:Header/a:Action = text" of its leaves */

typedef struct {
    XML_Parser   parser;
    char         path[512];
    char         text[8192];
    size_t       len;
    bool         leaf;
    char         lines[16384];
    char         attributes[1024];
} reading_t;


static const char *
short_name(const XML_Char *name)
{
    size_t        i;
    const char   *end;
    static char   text[128];

    static const struct {
        const char  *ns;
        const char  *prefix;
    } known[] = {
        { NS_SOAP, "s" }, { NS_ADDRESSING, "a" }, { NS_ENROLLMENT, "e" },
        { "http://www.w3.org/XML/1998/namespace", "xml" },
    };

    end = strchr(name, ' ');

    for (i = 0; end != NULL && i < tap_count(known); i++) {
        if ((size_t) (end - name) == strlen(known[i].ns)
            && strncmp(name, known[i].ns, strlen(known[i].ns)) == 0)
        {
            snprintf(text, sizeof(text), "%s:%s", known[i].prefix, end + 1);
            return text;
        }
    }

    snprintf(text, sizeof(text), "?:%s", end ? end + 1 : name);

    return text;
}


static void XMLCALL
start_element(void *data, const XML_Char *name, const XML_Char **attributes)
{
    size_t      i, n;
    reading_t  *reading = data;

    n = strlen(reading->path);
    snprintf(reading->path + n, sizeof(reading->path) - n, "/%s",
             short_name(name));

    for (i = 0; attributes[i] != NULL; i += 2) {
        n = strlen(reading->attributes);
        snprintf(reading->attributes + n, sizeof(reading->attributes) - n,
                 "%s=%s;", short_name(attributes[i]), attributes[i + 1]);
    }

    reading->len = 0;
    reading->leaf = true;
}


static void XMLCALL
end_element(void *data, const XML_Char *name)
{
    size_t      n;
    reading_t  *reading = data;

    (void) name;

    if (reading->leaf) {
        n = strlen(reading->lines);
        snprintf(reading->lines + n, sizeof(reading->lines) - n, "%s = %.*s\n",
                 reading->path + 1, (int) reading->len, reading->text);
    }

    reading->leaf = false;
    *strrchr(reading->path, '/') = '\0';
}


static void XMLCALL
characters(void *data, const XML_Char *text, int len)
{
    reading_t  *reading = data;

    if (reading->len + (size_t) len > sizeof(reading->text)) {
        tap_bail("a text too long");
    }

    memcpy(reading->text + reading->len, text, (size_t) len);
    reading->len += (size_t) len;
}


static const reading_t *
read_back(entra_str_t document)
{
    enum XML_Status    status;
    static reading_t   reading;

    memset(&reading, 0, sizeof(reading));

    reading.parser = XML_ParserCreateNS("UTF-8", ' ');
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, start_element, end_element);
    XML_SetCharacterDataHandler(reading.parser, characters);

    status = XML_Parse(reading.parser, document.data, (int) document.len, 1);
    XML_ParserFree(reading.parser);

    return status == XML_STATUS_OK ? &reading : NULL;
}


/* its text; NULL: there is no such leaf, or there are two */

static const char *
leaf(const reading_t *reading, const char *path)
{
    size_t        n;
    const char   *at, *found;
    static char   text[8192];

    found = NULL;
    n = strlen(path);

    for (at = reading->lines; at != NULL && *at; /* void */) {

        if (strncmp(at, path, n) == 0 && strncmp(at + n, " = ", 3) == 0) {
            if (found != NULL) {
                return NULL;
            }

            found = at + n + 3;
        }

        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }

    if (found == NULL) {
        return NULL;
    }

    snprintf(text, sizeof(text), "%.*s", (int) strcspn(found, "\n"), found);

    return text;
}


#define HEADER   "s:Envelope/s:Header/"
#define FAULT    "s:Envelope/s:Body/s:Fault/"
#define DETAIL   FAULT "s:Detail/e:DeviceEnrollmentServiceError/"


static const reading_t *
write_fault(const entra_fault_t *fault, entra_str_t *document)
{
    const reading_t  *reading;

    *document = ENTRA_STR_NONE;

    if (!entra_fault_write(fault, &pool.mem, document)) {
        tap_bail("out of memory");
    }

    reading = read_back(*document);

    if (reading == NULL) {
        tap_show("document", *document);
    }

    return reading;
}


/*** each reason ***/


static void
test_reasons(void)
{
    unsigned                    i;
    entra_str_t                 document;
    entra_fault_t               fault;
    const reading_t            *reading;
    const entra_reason_info_t  *info;

    for (i = 1; i < ENTRA_REASONS; i++) {
        info = entra_reason_info((entra_reason_t) i);

        memset(&fault, 0, sizeof(fault));
        fault.reason = (entra_reason_t) i;
        fault.message_id = entra_lit("urn:uuid:1");
        fault.action = entra_lit(POLICY "GetPolicies");
        fault.trace_id = entra_lit("0123456789abcdef");

        reading = write_fault(&fault, &document);

        if (!tap_ok(reading != NULL, "%s: well-formed", info->key.data)) {
            continue;
        }

        tap_is_text(leaf(reading, HEADER "a:Action"),
                    POLICY "GetPoliciesResponse", "its action");
        tap_is_text(leaf(reading, HEADER "a:RelatesTo"), "urn:uuid:1",
                    "its message");
        tap_is_text(leaf(reading, FAULT "s:Code/s:Value"),
                    info->soap_code == ENTRA_SOAP_SENDER ? "s:Sender"
                                                         : "s:Receiver",
                    "its code");
        tap_is_text(leaf(reading, FAULT "s:Code/s:Subcode/s:Value"),
                    info->subcode.data, "its subcode");
        tap_is_text(leaf(reading, FAULT "s:Reason/s:Text"), info->text.data,
                    "its text");
        tap_is_text(leaf(reading, DETAIL "e:Message"), info->text.data,
                    "its message");
        tap_is_text(leaf(reading, DETAIL "e:TraceId"), "0123456789abcdef",
                    "its trace");

        tap_is_text(leaf(reading, DETAIL "e:ErrorType"),
                    i == ENTRA_KEYS_UNAVAILABLE || i == ENTRA_LISTS_UNAVAILABLE
                    ? "InMaintenance"
                    : i == ENTRA_DEVICE_TOKEN_DENIED ? "NotSupported" : NULL,
                    "ErrorType only where one says what happened");

        tap_is_text(reading->attributes,
                    "s:mustUnderstand=1;xml:lang=en-US;", "its attributes");

        pool_free(&pool);
    }
}


/* to the byte: what a device is sent may not change unnoticed */

static void
test_document(void)
{
    entra_str_t    document;
    entra_fault_t  fault;

    memset(&fault, 0, sizeof(fault));
    fault.reason = ENTRA_KEYS_UNAVAILABLE;
    fault.message_id = entra_lit("urn:uuid:1");
    fault.action = entra_lit(NS_ENROLLMENT "/RST/wstep");
    fault.trace_id = entra_lit("f00");

    (void) write_fault(&fault, &document);

    tap_is_str(document, entra_lit(
        "<s:Envelope xmlns:s=\"" NS_SOAP "\" xmlns:a=\"" NS_ADDRESSING "\">"
        "<s:Header><a:Action s:mustUnderstand=\"1\">" NS_ENROLLMENT
        "/RSTRC/wstep</a:Action><a:RelatesTo>urn:uuid:1</a:RelatesTo>"
        "</s:Header><s:Body><s:Fault><s:Code><s:Value>s:Receiver</s:Value>"
        "<s:Subcode><s:Value>s:EnrollmentServer</s:Value></s:Subcode></s:Code>"
        "<s:Reason><s:Text xml:lang=\"en-US\">The signing keys are unavailable."
        " Try again later.</s:Text></s:Reason><s:Detail>"
        "<DeviceEnrollmentServiceError xmlns=\"" NS_ENROLLMENT "\">"
        "<ErrorType>InMaintenance</ErrorType><Message>The signing keys are"
        " unavailable. Try again later.</Message><TraceId>f00</TraceId>"
        "</DeviceEnrollmentServiceError></s:Detail></s:Fault></s:Body>"
        "</s:Envelope>\n"), "a fault to the byte");

    pool_free(&pool);
}


/*** actions ***/


static void
test_actions(void)
{
    size_t             i;
    entra_str_t        document;
    entra_fault_t      fault;
    const reading_t   *reading;

    static const struct {
        const char   *name;
        entra_str_t   request;
        const char   *response;
    } actions[] = {
        { "discovery", ENTRA_STR_INIT(DISCOVERY "Discover"),
          DISCOVERY "DiscoverResponse" },
        { "policy", ENTRA_STR_INIT(POLICY "GetPolicies"),
          POLICY "GetPoliciesResponse" },
        { "enrollment", ENTRA_STR_INIT(NS_ENROLLMENT "/RST/wstep"),
          NS_ENROLLMENT "/RSTRC/wstep" },
        { "none", ENTRA_STR_INIT(""), FAULT_ACTION },
        { "unknown", ENTRA_STR_INIT("urn:x"), FAULT_ACTION },
        { "in another case", ENTRA_STR_INIT(POLICY "getpolicies"),
          FAULT_ACTION },
        { "a known one and more", ENTRA_STR_INIT(POLICY "GetPoliciesX"),
          FAULT_ACTION },
        { "the beginning of a known one", ENTRA_STR_INIT(POLICY "GetPolicie"),
          FAULT_ACTION },
        { "a response", ENTRA_STR_INIT(POLICY "GetPoliciesResponse"),
          FAULT_ACTION },
        { "markup is not repeated", ENTRA_STR_INIT("</a:Action><x>"),
          FAULT_ACTION },
    };

    for (i = 0; i < tap_count(actions); i++) {
        memset(&fault, 0, sizeof(fault));
        fault.reason = ENTRA_NO_TOKEN;
        fault.action = guard(actions[i].request);

        reading = write_fault(&fault, &document);

        tap_ok(reading != NULL, "action: %s: well-formed", actions[i].name);
        tap_is_text(reading ? leaf(reading, HEADER "a:Action") : NULL,
                    actions[i].response, actions[i].name);
        pool_free(&pool);
    }
}


/*** what comes from the request ***/


static const struct {
    const char   *name;
    entra_str_t   message_id;
    const char   *relates_to;
} ids[] = {
    { "none", ENTRA_STR_INIT(""), "invalid_message_id" },
    { "plain", ENTRA_STR_INIT("urn:uuid:72048b64"), "urn:uuid:72048b64" },
    { "markup", ENTRA_STR_INIT("</a:RelatesTo></s:Header><s:Body/>"),
      "</a:RelatesTo></s:Header><s:Body/>" },
    { "entities", ENTRA_STR_INIT("&lt;&#0;&x;&"), "&lt;&#0;&x;&" },
    { "a comment", ENTRA_STR_INIT("<!--"), "<!--" },
    { "the end of a CDATA section", ENTRA_STR_INIT("]]>"), "]]>" },
    { "a document type", ENTRA_STR_INIT("<!DOCTYPE x>"), "<!DOCTYPE x>" },
    { "an instruction", ENTRA_STR_INIT("<?xml?>"), "<?xml?>" },
    { "quotes", ENTRA_STR_INIT("\"'\"'"), "\"'\"'" },
    { "beyond ASCII", ENTRA_STR_INIT("\xc3\xbc\xf0\x9f\x99\x82"),
      "\xc3\xbc\xf0\x9f\x99\x82" },
    { "tabs", ENTRA_STR_INIT("a\tb"), "a\tb" },
    { "carriage returns", ENTRA_STR_INIT("a\rb"), "a\rb" },
};


static void
test_hostile_message_ids(void)
{
    size_t             i;
    entra_str_t        document;
    entra_fault_t      fault;
    const reading_t   *reading;

    for (i = 0; i < tap_count(ids); i++) {
        memset(&fault, 0, sizeof(fault));
        fault.reason = ENTRA_SIGNATURE_INVALID;
        fault.message_id = guard(ids[i].message_id);

        reading = write_fault(&fault, &document);

        tap_ok(reading != NULL, "MessageID: %s: well-formed", ids[i].name);
        tap_is_text(reading ? leaf(reading, HEADER "a:RelatesTo") : NULL,
                    ids[i].relates_to, ids[i].name);
        pool_free(&pool);
    }
}


/* every byte of the longest MessageID escaped: room enough, as ASan sees */

static void
test_longest_message_id(void)
{
    char               id[1024];
    entra_str_t        document;
    entra_fault_t      fault;
    const reading_t   *reading;

    memset(id, '"', sizeof(id));
    memset(&fault, 0, sizeof(fault));
    fault.reason = ENTRA_MESSAGE_MALFORMED;
    fault.message_id = (entra_str_t) { id, sizeof(id) };
    fault.trace_id = (entra_str_t) { id, sizeof(id) };

    reading = write_fault(&fault, &document);

    tap_ok(reading != NULL
           && strlen(leaf(reading, HEADER "a:RelatesTo")) == sizeof(id)
           && strlen(leaf(reading, DETAIL "e:TraceId")) == sizeof(id),
           "a thousand quotation marks");
    pool_free(&pool);
}


static void
test_hostile_trace_id(void)
{
    entra_str_t        document;
    entra_fault_t      fault;
    const reading_t   *reading;

    memset(&fault, 0, sizeof(fault));
    fault.reason = ENTRA_INTERNAL;
    fault.trace_id = guard(entra_lit("</TraceId>&'\""));

    reading = write_fault(&fault, &document);

    tap_ok(reading != NULL, "TraceId: markup: well-formed");
    tap_is_text(reading ? leaf(reading, DETAIL "e:TraceId") : NULL,
                "</TraceId>&'\"", "TraceId: markup");
    pool_free(&pool);
}


/*** the remark ***/


static void
test_remark(void)
{
    entra_str_t        document;
    entra_fault_t      fault;
    const reading_t   *reading;

    memset(&fault, 0, sizeof(fault));
    fault.reason = ENTRA_SIGNATURE_INVALID;
    fault.why = "a <token> for \"another\" & more";

    reading = write_fault(&fault, &document);

    tap_ok(reading != NULL, "a remark: well-formed");

    if (reading != NULL) {
        tap_is_text(leaf(reading, FAULT "s:Reason/s:Text"),
                    "The signature of the access token is not valid."
                    " (a <token> for \"another\" & more)",
                    "it follows the text");
        tap_is_text(leaf(reading, DETAIL "e:Message"),
                    "The signature of the access token is not valid.",
                    "and is in the text only");
    }

    pool_free(&pool);
}


/*** memory ***/


static void
test_out_of_memory(void)
{
    entra_str_t    document;
    entra_fault_t  fault;

    memset(&fault, 0, sizeof(fault));
    fault.reason = ENTRA_INTERNAL;

    pool.fail_at = 1;
    tap_ok(!entra_fault_write(&fault, &pool.mem, &document), "out of memory");
    pool_free(&pool);

    tap_ok(entra_fault_write(&fault, &pool.mem, &document) && pool.calls == 1,
           "one allocation is all it takes");
    pool_free(&pool);
}


int
main(void)
{
    pool_init(&pool);

    test_reasons();
    test_document();
    test_actions();
    test_hostile_message_ids();
    test_longest_message_id();
    test_hostile_trace_id();
    test_remark();
    test_out_of_memory();

    return tap_done();
}
