/*
 * SOAP messages in pieces: however a message is cut, it comes to the same end
 * with the same credential.  The fault that refuses one is XML, and repeats
 * its MessageID and nothing else.
 */

#include <expat.h>

#include "entra_fault.h"
#include "entra_soap.h"
#include "fuzz.h"


#define CUTS  8


/* of a token, in bytes: short for some inputs, so that seeds may be short */
static size_t  max_token;


typedef struct {
    bool                  header;       /* the credential was told */
    entra_soap_state_t    state;
    entra_reason_t        reason;       /* of a refusal */
    entra_soap_message_t  message;
} fuzz_end_t;


/* in pieces of these lengths, over and over; NULL: all at once */

static void
fuzz_read(pool_t *pool, entra_str_t text, const uint8_t *cuts, fuzz_end_t *end)
{
    bool           last;
    size_t         i, n;
    const char    *why;
    entra_soap_t  *soap;

    memset(end, 0, sizeof(fuzz_end_t));

    soap = entra_soap_create(max_token, &pool->mem);
    fuzz_claim(soap != NULL);

    i = 0;

    do {
        n = text.len;

        if (cuts != NULL && n > (size_t) cuts[i % CUTS] + 1) {
            n = (size_t) cuts[i++ % CUTS] + 1;
        }

        last = (n == text.len);

        /* a piece ends where its memory ends */
        end->state = entra_soap_feed(soap,
            fuzz_copy(pool, (const uint8_t *) text.data, n), last);
        text = entra_str_from(text, n);

        if (end->state == ENTRA_SOAP_HEADER) {
            fuzz_claim(!end->header);
            end->header = true;
            end->state = entra_soap_feed(soap, ENTRA_STR_NONE, last);
        }

    } while (!last && end->state == ENTRA_SOAP_MORE);

    fuzz_claim(end->state == ENTRA_SOAP_DONE
               || end->state == ENTRA_SOAP_REFUSED);

    if (end->state == ENTRA_SOAP_REFUSED) {
        end->reason = entra_soap_reason(soap, &why);
        fuzz_claim(end->reason != ENTRA_OK && end->reason != ENTRA_INTERNAL);
    }

    end->message = *entra_soap_message(soap);

    entra_soap_free(soap);
}


static void
fuzz_token(pool_t *pool, const entra_soap_message_t *message)
{
    const char      *why;
    entra_str_t      token;
    entra_reason_t   reason;

    reason = entra_soap_token(message, &pool->mem, &token, &why);

    fuzz_claim(reason != ENTRA_INTERNAL);
    fuzz_claim(reason != ENTRA_OK || (token.len && token.len <= max_token));
    fuzz_claim(message->message_id.len <= ENTRA_SOAP_MAX_MESSAGE_ID);
}


/*** the fault ***/


typedef struct {
    char    *text;                      /* of all RelatesTo */
    size_t   len;
    bool     within;
    size_t   elements;
} fuzz_fault_t;


static void
fuzz_fault_start(void *data, const XML_Char *name, const XML_Char **attrs)
{
    fuzz_fault_t *fault = data;

    (void) attrs;

    fault->elements++;
    fault->within = strcmp(name, "a:RelatesTo") == 0;
}


static void
fuzz_fault_end(void *data, const XML_Char *name)
{
    fuzz_fault_t *fault = data;

    (void) name;

    fault->within = false;
}


static void
fuzz_fault_text(void *data, const XML_Char *text, int len)
{
    fuzz_fault_t *fault = data;

    if (fault->within) {
        memcpy(fault->text + fault->len, text, (size_t) len);
        fault->len += (size_t) len;
    }
}


static size_t
fuzz_fault(pool_t *pool, const entra_soap_message_t *message,
    entra_reason_t reason, const char *why)
{
    XML_Parser      parser;
    fuzz_fault_t    seen;
    entra_str_t     document, expected;
    entra_fault_t   fault;

    memset(&fault, 0, sizeof(fault));
    fault.reason = reason;
    fault.message_id = message->message_id;
    fault.action = message->action;
    fault.trace_id = message->action;
    fault.why = why;

    fuzz_claim(entra_fault_write(&fault, &pool->mem, &document));

    memset(&seen, 0, sizeof(seen));
    seen.text = pool_alloc(pool, document.len);

    parser = XML_ParserCreate("UTF-8");
    fuzz_claim(parser != NULL);

    XML_SetUserData(parser, &seen);
    XML_SetElementHandler(parser, fuzz_fault_start, fuzz_fault_end);
    XML_SetCharacterDataHandler(parser, fuzz_fault_text);

    fuzz_claim(XML_Parse(parser, document.data, (int) document.len, XML_TRUE)
               == XML_STATUS_OK);
    XML_ParserFree(parser);

    expected = message->message_id.len ? message->message_id
                                       : entra_lit("invalid_message_id");
    fuzz_claim(entra_str_eq((entra_str_t) { seen.text, seen.len }, expected));

    return seen.elements;
}


/* whatever a message says, the document is of the same form */

static void
fuzz_faults(pool_t *pool, const entra_soap_message_t *message,
    entra_reason_t reason)
{
    const char            *why;
    entra_soap_message_t   none;

    why = "<&>\"'";
    memset(&none, 0, sizeof(none));

    fuzz_claim(fuzz_fault(pool, message, reason, why)
               == fuzz_fault(pool, &none, reason, why));
}


/* lengths of pieces that follow from the text, so that seeds are plain XML */

static void
fuzz_cuts(entra_str_t text, uint8_t cuts[CUTS])
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261u;

    for (i = 0; i < text.len; i++) {
        hash = (hash ^ (uint8_t) text.data[i]) * 16777619u;
    }

    for (i = 0; i < CUTS; i++) {
        hash = hash * 1664525u + 1013904223u;

        /* now and then byte by byte, as far as the pool has pieces */
        cuts[i] = (uint8_t) (text.len > 2048 ? 255 : hash >> 24);
        cuts[i] = (uint8_t) (hash & 0x10000 && text.len <= 2048
                             ? cuts[i] % 4 : cuts[i]);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t       pool;
    uint8_t      cuts[CUTS];
    fuzz_end_t   whole, cut;
    entra_str_t  text;

    if (size > 256 * 1024) {
        return 0;
    }

    text = (entra_str_t) { (const char *) data, size };

    pool_init(&pool);
    fuzz_cuts(text, cuts);
    max_token = text.len % 4 ? 4096 : 16;

    fuzz_read(&pool, text, NULL, &whole);
    fuzz_read(&pool, text, cuts, &cut);

    fuzz_claim(whole.header == cut.header);
    fuzz_claim(whole.state == cut.state);
    fuzz_claim(whole.reason == cut.reason);

    if (whole.header) {
        fuzz_claim(whole.message.credential == cut.message.credential);
        fuzz_claim(whole.message.too_long == cut.message.too_long);
        fuzz_claim(entra_str_eq(whole.message.encoded, cut.message.encoded));
        fuzz_claim(entra_str_eq(whole.message.message_id,
                                cut.message.message_id));
        fuzz_claim(entra_str_eq(whole.message.action, cut.message.action));
        fuzz_token(&pool, &whole.message);

        fuzz_faults(&pool, &whole.message, ENTRA_TENANT_NOT_ALLOWED);

    } else {
        /* nothing may be accepted of which no credential was told */
        fuzz_claim(whole.state == ENTRA_SOAP_REFUSED);
    }

    pool_free(&pool);

    return 0;
}
