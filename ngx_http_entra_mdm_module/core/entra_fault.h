/*
 * The refusal of a SOAP request, in the form Windows reads: a SOAP 1.2 fault
 * with the detail of [MS-MDE2] 2.2.10.
 */

#ifndef ENTRA_FAULT_H
#define ENTRA_FAULT_H

#include "entra_mem.h"
#include "entra_reason.h"


typedef struct {
    entra_reason_t   reason;
    entra_str_t      message_id;        /* of the request; empty: unknown */
    entra_str_t      action;            /* of the request; empty: unknown */
    entra_str_t      trace_id;          /* leads from the device to the log */
    const char      *why;               /* said after the text; NULL: nothing */
} entra_fault_t;


/*
 * Writes the document, UTF-8 without an XML declaration, to mem.  Everything
 * from the request is escaped.  false: out of memory.
 */
bool entra_fault_write(const entra_fault_t *fault, const entra_mem_t *mem,
    entra_str_t *document);


#endif /* ENTRA_FAULT_H */
