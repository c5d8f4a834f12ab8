/*
 * Inside the reader of SOAP messages: what the file that talks to expat and
 * the file that knows what elements mean share.  Nobody else includes it.
 */

#ifndef ENTRA_SOAP_READER_H
#define ENTRA_SOAP_READER_H

#include <expat.h>

#include "entra_soap.h"


/* a byte no XML document can hold parts namespace and local name */
#define ENTRA_SOAP_SEPARATOR  '\f'


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


/* where in the message the parser stands, in bytes; -1: it does not know */

static inline int64_t
entra_soap_index(XML_Parser parser)
{
#if (XML_MAJOR_VERSION * 100 + XML_MINOR_VERSION >= 209)
    return XML_GetCurrentByteIndex64(parser);
#else
    return XML_GetCurrentByteIndex(parser);
#endif
}


/*** entra_soap.c ***/


/* the first thing wrong is what the message is refused for */
void entra_soap_note(entra_soap_t *soap, entra_reason_t reason,
    const char *why);

/* as above, and no more is read */
void entra_soap_stop(entra_soap_t *soap, entra_reason_t reason,
    const char *why);
void entra_soap_no_memory(entra_soap_t *soap);

/* of a Header that is too long; as a rule it is the token's fault */
void entra_soap_note_long(entra_soap_t *soap);

/* the text of the element just opened, up to max bytes */
void entra_soap_collect(entra_soap_t *soap, size_t max);

/* what was collected, trimmed; nothing if it was longer */
entra_str_t entra_soap_collected(const entra_soap_t *soap);


/*** entra_soap_elements.c ***/


/* an element's start tag: its kind, which its parent on the stack decides */
entra_soap_kind_t entra_soap_open(entra_soap_t *soap, const XML_Char *text,
    const XML_Char **attributes);

/* an element's end tag, taken off the stack already */
void entra_soap_close(entra_soap_t *soap, entra_soap_kind_t kind);


#endif /* ENTRA_SOAP_READER_H */
