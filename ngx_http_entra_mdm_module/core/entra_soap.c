/*
 * Reading enrollment messages with expat, in pieces, within limits.  Each open
 * element has a kind; what follows from it is in entra_soap_elements.c.
 */

#include "entra_soap_reader.h"


#define MAX_NAMESPACE      256
#define MAX_TAG            65536        /* half of it is sure to pass */


static const char  entra_soap_too_long[] = "it is longer than max_token";


/*** refusing ***/


void
entra_soap_note(entra_soap_t *soap, entra_reason_t reason, const char *why)
{
    if (soap->reason == ENTRA_OK) {
        soap->reason = reason;
        soap->why = why;
    }
}


void
entra_soap_stop(entra_soap_t *soap, entra_reason_t reason, const char *why)
{
    entra_soap_note(soap, reason, why);

    soap->stopped = 1;
    XML_StopParser(soap->parser, XML_FALSE);
}


void
entra_soap_no_memory(entra_soap_t *soap)
{
    soap->reason = ENTRA_OK;
    entra_soap_stop(soap, ENTRA_INTERNAL, "out of memory");
}


void
entra_soap_note_long(entra_soap_t *soap)
{
    bool  token;

    token = soap->message.too_long
            || (soap->text.overflow && soap->depth
                && soap->kind[soap->depth - 1] == KIND_TOKEN);

    if (token) {
        entra_soap_note(soap, ENTRA_TOKEN_MALFORMED, entra_soap_too_long);

    } else {
        entra_soap_note(soap, ENTRA_MESSAGE_MALFORMED,
                        "its Header is too long");
    }
}


/*** collecting text ***/


void
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

    if (memchr(data, '\n', len) == NULL && memchr(data, '\r', len) == NULL) {
        /* as a rule: expat hands over line breaks by themselves */
        entra_soap_append(soap, data, len);
        return;
    }

    for (i = 0, start = 0; i < len; i++) {

        if (data[i] == '\r' || data[i] == '\n') {
            entra_soap_append(soap, data + start, i - start);
            start = i + 1;
        }
    }

    entra_soap_append(soap, data + start, i - start);
}


entra_str_t
entra_soap_collected(const entra_soap_t *soap)
{
    if (soap->text.overflow) {
        return ENTRA_STR_NONE;
    }

    return entra_str_trim((entra_str_t) { soap->text.data, soap->text.len });
}


/*** what expat calls ***/


static void XMLCALL
entra_soap_start_element(void *data, const XML_Char *text,
    const XML_Char **attributes)
{
    entra_soap_t       *soap = data;
    entra_soap_kind_t   kind;

    if (soap->stopped) {
        return;
    }

    if (soap->depth == ENTRA_SOAP_MAX_DEPTH) {
        entra_soap_stop(soap, ENTRA_MESSAGE_MALFORMED,
                        "elements deeper than 64 levels");
        return;
    }

    kind = entra_soap_open(soap, text, attributes);

    soap->shadowed = 0;
    soap->kind[soap->depth++] = (uint8_t) kind;
}


static void XMLCALL
entra_soap_end_element(void *data, const XML_Char *text)
{
    entra_soap_t  *soap = data;

    (void) text;

    if (!soap->stopped) {
        soap->depth--;
        entra_soap_close(soap, (entra_soap_kind_t) soap->kind[soap->depth]);
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

    parser = XML_ParserCreateNS("UTF-8", ENTRA_SOAP_SEPARATOR);
    if (parser == NULL) {
        return NULL;
    }

    soap->parser = parser;
    soap->mem = mem;
    soap->message.max_token = max_token;

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
entra_soap_salt(entra_soap_t *soap, const uint8_t salt[ENTRA_SOAP_SALT])
{
#if XML_MAJOR_VERSION * 100 + XML_MINOR_VERSION >= 208

    (void) XML_SetHashSalt16Bytes(soap->parser, salt);

#else

    unsigned long  n;

    memcpy(&n, salt, sizeof(n));

    (void) XML_SetHashSalt(soap->parser, n);

#endif
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
    int64_t  at;

    at = entra_soap_index(soap->parser);

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

        if (soap->fed > ENTRA_SOAP_MAX_HEADER(soap->message.max_token)) {
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
        *why = entra_soap_too_long;
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

    /* the same number of characters is up to two bytes more */

    if (len > message->max_token) {
        *why = entra_soap_too_long;
        return ENTRA_TOKEN_MALFORMED;
    }

    *token = (entra_str_t) { out, len };

    return ENTRA_OK;
}
