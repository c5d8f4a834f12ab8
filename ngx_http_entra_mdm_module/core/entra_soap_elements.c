/*
 * What the elements of an enrollment message mean.  The kind of each is found
 * from its parent's kind and its name, so that nothing is matched by name
 * alone.
 */

#include "entra_soap_reader.h"


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


typedef struct {
    entra_str_t  ns;
    entra_str_t  local;
} entra_soap_name_t;


/*** names ***/


static entra_soap_name_t
entra_soap_name(const XML_Char *text)
{
    const char         *local;
    entra_soap_name_t   name;

    local = strchr(text, ENTRA_SOAP_SEPARATOR);

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
    entra_soap_collect(soap, ENTRA_BASE64_ENCODED(soap->message.max_token));

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


entra_soap_kind_t
entra_soap_open(entra_soap_t *soap, const XML_Char *text,
    const XML_Char **attributes)
{
    entra_soap_kind_t  kind;
    entra_soap_name_t  name;

    name = entra_soap_name(text);

    kind = soap->depth == 0
           ? entra_soap_root(soap, &name)
           : entra_soap_kind(soap, soap->kind[soap->depth - 1], &name,
                             attributes);

    if (!soap->stopped) {
        entra_soap_check_attributes(soap, kind, attributes);
    }

    return kind;
}


/*** at their ends ***/


/* everything a Header can hold has been seen: is there one credential? */

static void
entra_soap_end_header(entra_soap_t *soap)
{
    if (entra_soap_index(soap->parser)
        > (int64_t) ENTRA_SOAP_MAX_HEADER(soap->message.max_token))
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


void
entra_soap_close(entra_soap_t *soap, entra_soap_kind_t kind)
{
    switch (kind) {

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
