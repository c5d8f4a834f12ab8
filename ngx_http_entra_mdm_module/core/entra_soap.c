/*
 * Reading enrollment messages.  Each open element has a kind, found from its
 * parent's kind and its name; everything else follows from the kind.
 */

#include <expat.h>
#include <limits.h>

#include "entra_soap.h"


/* a byte no XML document can hold parts namespace and local name */
#define SEPARATOR  '\f'

#define MAX_NAMESPACE      256
#define MAX_TAG            65536        /* half of it is sure to pass */
#define MAX_ATTRIBUTES     32
#define MAX_ACTION         256
#define MAX_CONTEXT_NAME   64
#define MAX_CONTEXT_VALUE  1024
#define MAX_CONTEXT_ITEMS  64

#define NS_SOAP        "http://www.w3.org/2003/05/soap-envelope"
#define NS_ADDRESSING  "http://www.w3.org/2005/08/addressing"
#define NS_SECURITY                                                           \
    "http://docs.oasis-open.org/wss/2004/01/"                                 \
    "oasis-200401-wss-wssecurity-secext-1.0.xsd"

#define VALUE_TYPE_JWT  "urn:ietf:params:oauth:token-type:jwt"
#define VALUE_TYPE_DEVICE                                                     \
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/"              \
    "Enrollment/DeviceEnrollmentUserToken"


typedef enum {
    KIND_OTHER = 0,
    KIND_ENVELOPE,
    KIND_HEADER,
    KIND_ACTION,
    KIND_MESSAGE_ID,
    KIND_SECURITY,
    KIND_TOKEN,
    KIND_BODY,
    KIND_REQUEST,                       /* RequestSecurityToken */
    KIND_CONTEXT,                       /* AdditionalContext */
    KIND_ITEM,
    KIND_VALUE
} entra_soap_kind_t;


typedef struct {
    entra_str_t  ns;
    entra_str_t  local;
} entra_soap_name_t;


/* text of one element, growing up to a limit */

typedef struct {
    char    *data;
    size_t   len;
    size_t   size;
    size_t   max;
    bool     overflow;
} entra_soap_text_t;


struct entra_soap_s {
    XML_Parser             parser;
    const entra_mem_t     *mem;
    size_t                 max_token;

    entra_soap_message_t   message;
    entra_reason_t         reason;
    const char            *why;

    uint8_t                kind[ENTRA_SOAP_MAX_DEPTH];
    size_t                 depth;

    entra_soap_text_t      text;
    entra_context_t       *item;        /* being read */
    size_t                 items;       /* begun */

    unsigned char          head[2];     /* the message's first bytes */
    size_t                 nhead;
    size_t                 fed;         /* bytes so far */
    size_t                 at;          /* of these, read */

    unsigned               stopped:1;   /* no further event counts */
    unsigned               suspended:1; /* at the end of the Header */
    unsigned               finished:1;  /* expat has been told the end */
    unsigned               envelope:1;
    unsigned               header:1;
    unsigned               header_ended:1;
    unsigned               body:1;
    unsigned               security:1;
    unsigned               token:1;
    unsigned               username:1;
    unsigned               action_seen:1;
    unsigned               message_id_seen:1;
    unsigned               value_seen:1;
    unsigned               value_type:1;
    unsigned               shadowed:1;  /* xmlns:ValueType="..." */
};


/*** refusing ***/


/* the first thing wrong is what the message is refused for */

static void
entra_soap_note(entra_soap_t *soap, entra_reason_t reason, const char *why)
{
    if (soap->reason == ENTRA_OK) {
        soap->reason = reason;
        soap->why = why;
    }
}


static void
entra_soap_stop(entra_soap_t *soap, entra_reason_t reason, const char *why)
{
    entra_soap_note(soap, reason, why);

    soap->stopped = 1;
    XML_StopParser(soap->parser, XML_FALSE);
}


static void
entra_soap_no_memory(entra_soap_t *soap)
{
    soap->reason = ENTRA_OK;
    entra_soap_stop(soap, ENTRA_INTERNAL, "out of memory");
}


/*** names ***/


static entra_soap_name_t
entra_soap_name(const XML_Char *text)
{
    const char         *local;
    entra_soap_name_t   name;

    local = strchr(text, SEPARATOR);

    if (local == NULL) {
        name.ns = ENTRA_STR_NONE;
        name.local = entra_str(text);
        return name;
    }

    name.ns = (entra_str_t) { text, (size_t) (local - text) };
    name.local = entra_str(local + 1);

    return name;
}


static bool
entra_soap_named(const entra_soap_name_t *name, const char *local)
{
    return entra_str_eq(name->local, entra_str(local));
}


static bool
entra_soap_in(const entra_soap_name_t *name, const char *ns)
{
    return entra_str_eq(name->ns, entra_str(ns));
}


/*
 * A backend may match attributes by local name alone, so that of two with
 * the same one it is anybody's guess which counts.  No honest element on the
 * way to the token has dozens.
 */

static bool
entra_soap_attributes_unique(const XML_Char **attributes)
{
    size_t             i, j;
    entra_soap_name_t  one, two;

    for (i = 0; attributes[i] != NULL; i += 2) {

        if (i == 2 * MAX_ATTRIBUTES) {
            return false;
        }

        one = entra_soap_name(attributes[i]);

        for (j = 0; j < i; j += 2) {
            two = entra_soap_name(attributes[j]);

            if (entra_str_eq(one.local, two.local)) {
                return false;
            }
        }
    }

    return true;
}


static entra_str_t
entra_soap_attribute(const XML_Char **attributes, const char *local)
{
    size_t             i;
    entra_soap_name_t  name;

    for (i = 0; attributes[i] != NULL; i += 2) {
        name = entra_soap_name(attributes[i]);

        if (entra_soap_named(&name, local)) {
            return entra_str(attributes[i + 1]);
        }
    }

    return ENTRA_STR_NONE;
}


/*** collecting text ***/


static void
entra_soap_collect(entra_soap_t *soap, size_t max)
{
    memset(&soap->text, 0, sizeof(entra_soap_text_t));
    soap->text.max = max;
}


static void
entra_soap_append(entra_soap_t *soap, const char *data, size_t len)
{
    char               *grown;
    size_t              size;
    entra_soap_text_t  *text;

    text = &soap->text;

    if (len > text->max - text->len) {
        len = text->max - text->len;
        text->overflow = true;
    }

    if (len == 0) {
        return;
    }

    if (len > text->size - text->len) {
        size = 2 * (text->len + len);
        size = size < 256 ? 256 : size;
        size = size > text->max ? text->max : size;

        grown = entra_alloc(soap->mem, size);
        if (grown == NULL) {
            entra_soap_no_memory(soap);
            return;
        }

        if (text->len) {
            memcpy(grown, text->data, text->len);
        }

        text->data = grown;
        text->size = size;
    }

    memcpy(text->data + text->len, data, len);
    text->len += len;
}


/* base64 is read without its line breaks, which do not count */

static void
entra_soap_append_base64(entra_soap_t *soap, const char *data, size_t len)
{
    size_t  i, start;

    for (i = 0, start = 0; i < len; i++) {

        if (data[i] == '\r' || data[i] == '\n') {
            entra_soap_append(soap, data + start, i - start);
            start = i + 1;
        }
    }

    entra_soap_append(soap, data + start, i - start);
}


static entra_str_t
entra_soap_collected(const entra_soap_t *soap)
{
    if (soap->text.overflow) {
        return ENTRA_STR_NONE;
    }

    return entra_str_trim((entra_str_t) { soap->text.data, soap->text.len });
}


/*** elements, from the outside in ***/


static entra_soap_kind_t
entra_soap_root(entra_soap_t *soap, const entra_soap_name_t *name)
{
    if (!entra_soap_named(name, "Envelope") || !entra_soap_in(name, NS_SOAP)) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "its root is not a SOAP 1.2 Envelope");
        return KIND_OTHER;
    }

    soap->envelope = 1;

    return KIND_ENVELOPE;
}


static entra_soap_kind_t
entra_soap_in_envelope(entra_soap_t *soap, const entra_soap_name_t *name)
{
    bool  header, body;

    header = entra_soap_named(name, "Header");
    body = entra_soap_named(name, "Body");

    if (!header && !body) {
        return KIND_OTHER;
    }

    if (!entra_soap_in(name, NS_SOAP)) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "a Header or Body of another namespace");
        return KIND_OTHER;
    }

    if (header) {
        if (soap->header) {
            entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED, "a second Header");
            return KIND_OTHER;
        }

        soap->header = 1;
        return KIND_HEADER;
    }

    if (soap->body) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED, "a second Body");
        return KIND_OTHER;
    }

    if (!soap->header) {
        /* what could follow is no longer a header of this message */
        entra_soap_stop(soap, ENTRA_NO_TOKEN, "no Header before the Body");
        return KIND_OTHER;
    }

    soap->body = 1;

    return KIND_BODY;
}


static entra_soap_kind_t
entra_soap_in_header(entra_soap_t *soap, const entra_soap_name_t *name)
{
    /* of two, it is anybody's guess which counts: neither does */

    if (entra_soap_named(name, "Action") && entra_soap_in(name, NS_ADDRESSING)) {
        if (soap->action_seen) {
            soap->message.action = ENTRA_STR_NONE;
            return KIND_OTHER;
        }

        soap->action_seen = 1;
        entra_soap_collect(soap, MAX_ACTION);
        return KIND_ACTION;
    }

    if (entra_soap_named(name, "MessageID")
        && entra_soap_in(name, NS_ADDRESSING))
    {
        if (soap->message_id_seen) {
            soap->message.message_id = ENTRA_STR_NONE;
            return KIND_OTHER;
        }

        soap->message_id_seen = 1;
        entra_soap_collect(soap, ENTRA_SOAP_MAX_MESSAGE_ID);
        return KIND_MESSAGE_ID;
    }

    if (!entra_soap_named(name, "Security")) {
        return KIND_OTHER;
    }

    if (!entra_soap_in(name, NS_SECURITY)) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "a Security of another namespace");

    } else if (soap->security) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED, "a second Security");
    }

    soap->security = 1;

    return KIND_SECURITY;
}


static void
entra_soap_token_attributes(entra_soap_t *soap, const XML_Char **attributes)
{
    entra_str_t  type, encoding;

    type = entra_soap_attribute(attributes, "ValueType");
    encoding = entra_soap_attribute(attributes, "EncodingType");

    soap->value_type = 1;

    if (entra_str_eq(type, entra_lit(VALUE_TYPE_JWT))) {
        soap->message.credential = ENTRA_CREDENTIAL_JWT;

    } else if (entra_str_eq(type, entra_lit(VALUE_TYPE_DEVICE))) {
        soap->message.credential = ENTRA_CREDENTIAL_DEVICE;

    } else {
        soap->value_type = 0;
    }

    if (encoding.data != NULL
        && !entra_str_ieq(encoding, entra_lit(NS_SECURITY "#base64binary")))
    {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "EncodingType is not base64binary");
    }

    if (soap->shadowed) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "a namespace prefix named like an attribute");
    }
}


static entra_soap_kind_t
entra_soap_in_security(entra_soap_t *soap, const entra_soap_name_t *name,
    const XML_Char **attributes)
{
    if (entra_soap_named(name, "UsernameToken")) {
        soap->username = 1;
        return KIND_OTHER;
    }

    if (!entra_soap_named(name, "BinarySecurityToken")) {
        return KIND_OTHER;
    }

    if (!entra_soap_in(name, NS_SECURITY)) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "a BinarySecurityToken of another namespace");

    } else if (soap->token) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "a second BinarySecurityToken");
    }

    if (soap->token) {
        return KIND_OTHER;
    }

    soap->token = 1;

    entra_soap_token_attributes(soap, attributes);
    entra_soap_collect(soap, ENTRA_BASE64_ENCODED(soap->max_token));

    return KIND_TOKEN;
}


static entra_soap_kind_t
entra_soap_context_item(entra_soap_t *soap, const XML_Char **attributes)
{
    entra_str_t  name;

    name = entra_soap_attribute(attributes, "Name");

    if (name.len == 0 || name.len > MAX_CONTEXT_NAME
        || soap->items == MAX_CONTEXT_ITEMS)
    {
        return KIND_OTHER;
    }

    soap->item = entra_alloc(soap->mem, sizeof(entra_context_t));

    if (soap->item == NULL
        || !entra_str_copy(soap->mem, name, &soap->item->name))
    {
        entra_soap_no_memory(soap);
        return KIND_OTHER;
    }

    soap->item->value = ENTRA_STR_NONE;
    soap->value_seen = 0;
    soap->items++;

    return KIND_ITEM;
}


/* the backend looks for these by local name alone; so do the logs */

static entra_soap_kind_t
entra_soap_in_body(entra_soap_t *soap, entra_soap_kind_t parent,
    const entra_soap_name_t *name, const XML_Char **attributes)
{
    switch (parent) {

    case KIND_BODY:
        return entra_soap_named(name, "RequestSecurityToken") ? KIND_REQUEST
                                                              : KIND_OTHER;

    case KIND_REQUEST:
        return entra_soap_named(name, "AdditionalContext") ? KIND_CONTEXT
                                                           : KIND_OTHER;

    case KIND_CONTEXT:
        return entra_soap_named(name, "ContextItem")
               ? entra_soap_context_item(soap, attributes) : KIND_OTHER;

    case KIND_ITEM:
        if (!entra_soap_named(name, "Value")) {
            return KIND_OTHER;
        }

        if (soap->value_seen) {
            soap->item->value = ENTRA_STR_NONE;
            return KIND_OTHER;
        }

        soap->value_seen = 1;
        entra_soap_collect(soap, MAX_CONTEXT_VALUE);
        return KIND_VALUE;

    default:
        return KIND_OTHER;
    }
}


static entra_soap_kind_t
entra_soap_kind(entra_soap_t *soap, entra_soap_kind_t parent,
    const entra_soap_name_t *name, const XML_Char **attributes)
{
    switch (parent) {

    case KIND_ENVELOPE:
        return entra_soap_in_envelope(soap, name);

    case KIND_HEADER:
        return entra_soap_in_header(soap, name);

    case KIND_SECURITY:
        return entra_soap_in_security(soap, name, attributes);

    case KIND_TOKEN:
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "an element inside the token");
        return KIND_OTHER;

    default:
        return entra_soap_in_body(soap, parent, name, attributes);
    }
}


static void
entra_soap_check_attributes(entra_soap_t *soap, entra_soap_kind_t kind,
    const XML_Char **attributes)
{
    static const char  why[] = "an attribute twice by local name, or too many";

    switch (kind) {

    case KIND_ENVELOPE:
    case KIND_HEADER:
        if (!entra_soap_attributes_unique(attributes)) {
            entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED, why);
        }

        break;

    case KIND_SECURITY:
    case KIND_TOKEN:
        if (!entra_soap_attributes_unique(attributes)) {
            entra_soap_note(soap, ENTRA_SECURITY_MALFORMED, why);
        }

        break;

    default:
        break;
    }
}


/*** what expat calls ***/


static void XMLCALL
entra_soap_start_element(void *data, const XML_Char *text,
    const XML_Char **attributes)
{
    entra_soap_t       *soap = data;
    entra_soap_kind_t   kind;
    entra_soap_name_t   name;

    if (soap->stopped) {
        return;
    }

    if (soap->depth == ENTRA_SOAP_MAX_DEPTH) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "elements deeper than 64 levels");
        return;
    }

    name = entra_soap_name(text);

    kind = soap->depth == 0
           ? entra_soap_root(soap, &name)
           : entra_soap_kind(soap, soap->kind[soap->depth - 1], &name,
                             attributes);

    soap->shadowed = 0;
    soap->kind[soap->depth++] = (uint8_t) kind;

    if (!soap->stopped) {
        entra_soap_check_attributes(soap, kind, attributes);
    }
}


/* a Header of any length must not be read; as a rule it is the token's fault */

static void
entra_soap_note_long(entra_soap_t *soap)
{
    bool  token;

    token = soap->message.too_long
            || (soap->text.overflow && soap->depth
                && soap->kind[soap->depth - 1] == KIND_TOKEN);

    if (token) {
        entra_soap_note(soap, ENTRA_TOKEN_MALFORMED,
                        "it is longer than max_token");

    } else {
        entra_soap_note(soap, ENTRA_MESSAGE_MALFORMED,
                        "its Header is too long");
    }
}


/* everything a Header can hold has been seen: is there one credential? */

static void
entra_soap_end_header(entra_soap_t *soap)
{
    if (XML_GetCurrentByteIndex(soap->parser)
        > (XML_Index) ENTRA_SOAP_MAX_HEADER(soap->max_token))
    {
        entra_soap_note_long(soap);
    }

    if (soap->reason == ENTRA_OK && !soap->token) {

        if (soap->username) {
            entra_soap_note(soap, ENTRA_USERNAME_TOKEN, NULL);

        } else {
            entra_soap_note(soap, ENTRA_NO_TOKEN,
                            soap->security ? "no BinarySecurityToken"
                                           : "no Security header");
        }
    }

    if (soap->reason == ENTRA_OK && soap->message.encoded.len == 0) {
        entra_soap_note(soap, ENTRA_NO_TOKEN, "an empty BinarySecurityToken");
    }

    if (soap->reason == ENTRA_OK && !soap->value_type) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED,
                        "ValueType is missing or unknown");
    }

    if (soap->reason != ENTRA_OK) {
        entra_soap_stop(soap, soap->reason, soap->why);
        return;
    }

    soap->header_ended = 1;
    soap->suspended = 1;
    XML_StopParser(soap->parser, XML_TRUE);
}


static void
entra_soap_end_item(entra_soap_t *soap)
{
    if (soap->item->value.data == NULL) {
        return;
    }

    soap->item->next = soap->message.context;
    soap->message.context = soap->item;
}


static void XMLCALL
entra_soap_end_element(void *data, const XML_Char *text)
{
    entra_soap_t  *soap = data;

    (void) text;

    if (soap->stopped) {
        return;
    }

    switch ((entra_soap_kind_t) soap->kind[--soap->depth]) {

    case KIND_ACTION:
        soap->message.action = entra_soap_collected(soap);
        break;

    case KIND_MESSAGE_ID:
        soap->message.message_id = entra_soap_collected(soap);
        break;

    case KIND_TOKEN:
        soap->message.encoded = (entra_str_t) { soap->text.data,
                                                soap->text.len };
        soap->message.too_long = soap->text.overflow;
        break;

    case KIND_HEADER:
        entra_soap_end_header(soap);
        break;

    case KIND_VALUE:
        soap->item->value = entra_soap_collected(soap);
        break;

    case KIND_ITEM:
        entra_soap_end_item(soap);
        break;

    default:
        break;
    }
}


static void XMLCALL
entra_soap_characters(void *data, const XML_Char *text, int len)
{
    entra_soap_t  *soap = data;

    if (soap->stopped || soap->depth == 0) {
        return;
    }

    switch ((entra_soap_kind_t) soap->kind[soap->depth - 1]) {

    case KIND_TOKEN:
        entra_soap_append_base64(soap, text, (size_t) len);
        break;

    case KIND_ACTION:
    case KIND_MESSAGE_ID:
    case KIND_VALUE:
        entra_soap_append(soap, text, (size_t) len);
        break;

    default:
        break;
    }
}


/* a comment, a processing instruction or the start of a CDATA section */

static void
entra_soap_aside(entra_soap_t *soap, const char *why)
{
    if (soap->stopped) {
        return;
    }

    if (soap->depth == 0) {
        if (soap->envelope) {
            entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                            "content after the root element");
        }

        return;
    }

    if (soap->kind[soap->depth - 1] == KIND_TOKEN) {
        entra_soap_note(soap, ENTRA_SECURITY_MALFORMED, why);
    }
}


static void XMLCALL
entra_soap_comment(void *data, const XML_Char *text)
{
    (void) text;

    entra_soap_aside(data, "a comment inside the token");
}


static void XMLCALL
entra_soap_instruction(void *data, const XML_Char *target, const XML_Char *text)
{
    (void) target;
    (void) text;

    entra_soap_aside(data, "a processing instruction inside the token");
}


static void XMLCALL
entra_soap_cdata(void *data)
{
    entra_soap_aside(data, "a CDATA section inside the token");
}


/*
 * To a parser that knows no namespaces, a declaration is an attribute whose
 * local name is the prefix.
 */

static void XMLCALL
entra_soap_namespace(void *data, const XML_Char *prefix, const XML_Char *uri)
{
    entra_str_t    name;
    entra_soap_t  *soap = data;

    if (soap->stopped) {
        return;
    }

    /* expat writes it before every name that is in it */

    if (uri != NULL && strlen(uri) > MAX_NAMESPACE) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "a namespace name over 256 bytes");
        return;
    }

    if (prefix == NULL) {
        return;
    }

    name = entra_str(prefix);

    if (entra_str_eq(name, entra_lit("ValueType"))
        || entra_str_eq(name, entra_lit("EncodingType")))
    {
        soap->shadowed = 1;
    }
}


static void XMLCALL
entra_soap_declaration(void *data, const XML_Char *version,
    const XML_Char *encoding, int standalone)
{
    entra_soap_t  *soap = data;

    (void) standalone;

    if (soap->stopped) {
        return;
    }

    if (version != NULL && strcmp(version, "1.0") != 0) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED, "not XML 1.0");

    } else if (encoding != NULL
               && !entra_str_ieq(entra_str(encoding), entra_lit("UTF-8")))
    {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "an encoding other than UTF-8");
    }
}


static void XMLCALL
entra_soap_doctype(void *data, const XML_Char *name, const XML_Char *sysid,
    const XML_Char *pubid, int internal)
{
    entra_soap_t  *soap = data;

    (void) name;
    (void) sysid;
    (void) pubid;
    (void) internal;

    if (!soap->stopped) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "a document type declaration");
    }
}


/*** feeding ***/


entra_soap_t *
entra_soap_create(size_t max_token, const entra_mem_t *mem)
{
    XML_Parser     parser;
    entra_soap_t  *soap;

    soap = entra_alloc(mem, sizeof(entra_soap_t));
    if (soap == NULL) {
        return NULL;
    }

    memset(soap, 0, sizeof(entra_soap_t));

    parser = XML_ParserCreateNS("UTF-8", SEPARATOR);
    if (parser == NULL) {
        return NULL;
    }

    soap->parser = parser;
    soap->mem = mem;
    soap->max_token = max_token;

    XML_SetUserData(parser, soap);
    XML_SetElementHandler(parser, entra_soap_start_element,
                          entra_soap_end_element);
    XML_SetCharacterDataHandler(parser, entra_soap_characters);
    XML_SetCommentHandler(parser, entra_soap_comment);
    XML_SetProcessingInstructionHandler(parser, entra_soap_instruction);
    XML_SetStartCdataSectionHandler(parser, entra_soap_cdata);
    XML_SetStartNamespaceDeclHandler(parser, entra_soap_namespace);
    XML_SetXmlDeclHandler(parser, entra_soap_declaration);
    XML_SetStartDoctypeDeclHandler(parser, entra_soap_doctype);

    return soap;
}


void
entra_soap_free(entra_soap_t *soap)
{
    if (soap != NULL && soap->parser != NULL) {
        XML_ParserFree(soap->parser);
        soap->parser = NULL;
    }
}


/*
 * expat believes a UTF-16 byte order mark, and a NUL among the first two
 * bytes, whatever encoding it was created for.  UTF-8 XML has neither.  A NUL
 * further on expat refuses itself, in its turn.
 */

static bool
entra_soap_utf8(entra_soap_t *soap, entra_str_t bytes)
{
    size_t  i;

    for (i = 0; i < bytes.len && soap->nhead < 2; i++) {

        if (bytes.data[i] == '\0') {
            return false;
        }

        soap->head[soap->nhead++] = (unsigned char) bytes.data[i];
    }

    return soap->nhead < 2
           || !((soap->head[0] == 0xfe && soap->head[1] == 0xff)
                || (soap->head[0] == 0xff && soap->head[1] == 0xfe));
}


static entra_soap_state_t
entra_soap_after(entra_soap_t *soap, enum XML_Status status, bool last)
{
    if (soap->reason == ENTRA_OK && status == XML_STATUS_ERROR) {

        if (XML_GetErrorCode(soap->parser) == XML_ERROR_NO_MEMORY) {
            entra_soap_note(soap, ENTRA_INTERNAL, "out of memory");

        } else {
            entra_soap_note(soap, ENTRA_MESSAGE_MALFORMED,
                            "it is not well-formed XML");
        }
    }

    /* within the Header, what was noted waits for its end */

    if (soap->stopped || status == XML_STATUS_ERROR) {
        soap->stopped = 1;
        return ENTRA_SOAP_REFUSED;
    }

    if (soap->suspended) {
        return ENTRA_SOAP_HEADER;
    }

    if (!last) {
        return ENTRA_SOAP_MORE;
    }

    if (!soap->header) {
        entra_soap_note(soap, ENTRA_NO_TOKEN, "no Header");
        soap->stopped = 1;
        return ENTRA_SOAP_REFUSED;
    }

    return ENTRA_SOAP_DONE;
}


/*
 * Bytes of a tag, or its like, whose end has not come; text does not wait.
 * expat knows no place while it puts off reading a long one again.
 */

static size_t
entra_soap_pending(entra_soap_t *soap)
{
    XML_Index  at;

    at = XML_GetCurrentByteIndex(soap->parser);

    if (at >= 0) {
        soap->at = (size_t) at;
    }

    return soap->fed - soap->at;
}


entra_soap_state_t
entra_soap_feed(entra_soap_t *soap, entra_str_t bytes, bool last)
{
    enum XML_Status      status;
    entra_soap_state_t   state;

    if (soap->stopped) {
        return ENTRA_SOAP_REFUSED;
    }

    if (!entra_soap_utf8(soap, bytes)) {
        soap->stopped = 1;
        entra_soap_note(soap, ENTRA_MESSAGE_MALFORMED, "it is not UTF-8");
        return ENTRA_SOAP_REFUSED;
    }

    if (soap->suspended) {
        soap->suspended = 0;
        status = XML_ResumeParser(soap->parser);
        state = entra_soap_after(soap, status, soap->finished);

        if (state != ENTRA_SOAP_MORE) {
            return state;
        }
    }

    if (!soap->header_ended) {

        if (soap->fed > ENTRA_SOAP_MAX_HEADER(soap->max_token)) {
            soap->stopped = 1;
            entra_soap_note_long(soap);
            return ENTRA_SOAP_REFUSED;
        }
    }

    soap->fed += bytes.len;
    soap->finished = last;

    status = XML_Parse(soap->parser, bytes.data, (int) bytes.len, last);
    state = entra_soap_after(soap, status, last);

    if (state == ENTRA_SOAP_MORE && entra_soap_pending(soap) > MAX_TAG) {
        soap->stopped = 1;
        entra_soap_note(soap, ENTRA_MESSAGE_MALFORMED, "a tag over 64 KB");
        return ENTRA_SOAP_REFUSED;
    }

    return state;
}


entra_reason_t
entra_soap_reason(const entra_soap_t *soap, const char **why)
{
    *why = soap->why;

    return soap->reason;
}


const entra_soap_message_t *
entra_soap_message(const entra_soap_t *soap)
{
    return &soap->message;
}


entra_reason_t
entra_soap_token(const entra_soap_message_t *message, const entra_mem_t *mem,
    entra_str_t *token, const char **why)
{
    char    *out;
    size_t   len;

    *why = NULL;

    if (message->too_long) {
        *why = "it is longer than max_token";
        return ENTRA_TOKEN_MALFORMED;
    }

    out = entra_alloc(mem, ENTRA_BASE64_DECODED_MAX(message->encoded.len));
    if (out == NULL) {
        return ENTRA_INTERNAL;
    }

    if (!entra_base64_decode(message->encoded, out, &len)) {
        *why = "its text is not base64";
        return ENTRA_TOKEN_MALFORMED;
    }

    if (len == 0) {
        return ENTRA_NO_TOKEN;
    }

    *token = (entra_str_t) { out, len };

    return ENTRA_OK;
}
