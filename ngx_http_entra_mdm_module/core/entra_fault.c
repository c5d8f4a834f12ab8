/*
 * SOAP faults.  Element names are in the case SOAP 1.2 gives them; samples in
 * lower case go around, but no parser has to accept those.
 */

#include "entra_escape.h"
#include "entra_fault.h"


#define DISCOVERY                                                             \
    "http://schemas.microsoft.com/windows/management/2012/01/enrollment/"     \
    "IDiscoveryService/"
#define POLICY                                                                \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/"      \
    "IPolicy/"
#define ENROLLMENT_NS                                                         \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
#define ENROLLMENT  ENROLLMENT_NS "/"


static const struct {
    entra_str_t  request;
    entra_str_t  response;
} entra_fault_actions[] = {
    { ENTRA_STR_INIT(DISCOVERY "Discover"),
      ENTRA_STR_INIT(DISCOVERY "DiscoverResponse") },
    { ENTRA_STR_INIT(POLICY "GetPolicies"),
      ENTRA_STR_INIT(POLICY "GetPoliciesResponse") },
    { ENTRA_STR_INIT(ENROLLMENT "RST/wstep"),
      ENTRA_STR_INIT(ENROLLMENT "RSTRC/wstep") },
};

/* WS-Addressing 1.0 SOAP Binding 6 */
static const entra_str_t  entra_fault_action =
    ENTRA_STR_INIT("http://www.w3.org/2005/08/addressing/fault");


static entra_str_t
entra_fault_response_action(entra_str_t request)
{
    size_t  i;

    for (i = 0;
         i < sizeof(entra_fault_actions) / sizeof(entra_fault_actions[0]);
         i++)
    {
        if (entra_str_eq(request, entra_fault_actions[i].request)) {
            return entra_fault_actions[i].response;
        }
    }

    return entra_fault_action;
}


/*
 * The document is written twice: without a place to measure the room it may
 * take, then for good.
 */

typedef struct {
    char    *pos;                       /* NULL: measuring */
    size_t   room;
} entra_fault_out_t;


static void
entra_fault_raw(entra_fault_out_t *out, entra_str_t text)
{
    if (out->pos == NULL) {
        out->room += text.len;

    } else if (text.len) {
        memcpy(out->pos, text.data, text.len);
        out->pos += text.len;
    }
}


static void
entra_fault_text(entra_fault_out_t *out, entra_str_t text)
{
    if (out->pos == NULL) {
        out->room += text.len * ENTRA_ESCAPE_MAX;

    } else {
        out->pos = entra_escape_xml(text, out->pos);
    }
}


static void
entra_fault_element(entra_fault_out_t *out, entra_str_t open,
    entra_str_t text, entra_str_t close)
{
    entra_fault_raw(out, open);
    entra_fault_text(out, text);
    entra_fault_raw(out, close);
}


static void
entra_fault_header(entra_fault_out_t *out, const entra_fault_t *fault)
{
    entra_fault_element(out,
        entra_lit("<s:Header><a:Action s:mustUnderstand=\"1\">"),
        entra_fault_response_action(fault->action),
        entra_lit("</a:Action>"));

    entra_fault_element(out,
        entra_lit("<a:RelatesTo>"),
        fault->message_id.len ? fault->message_id
                              : entra_lit("invalid_message_id"),
        entra_lit("</a:RelatesTo></s:Header>"));
}


static void
entra_fault_code(entra_fault_out_t *out, const entra_reason_info_t *info)
{
    entra_fault_element(out,
        entra_lit("<s:Code><s:Value>"),
        info->soap_code == ENTRA_SOAP_SENDER ? entra_lit("s:Sender")
                                             : entra_lit("s:Receiver"),
        entra_lit("</s:Value>"));

    entra_fault_element(out,
        entra_lit("<s:Subcode><s:Value>"),
        info->subcode,
        entra_lit("</s:Value></s:Subcode></s:Code>"));
}


static void
entra_fault_reason(entra_fault_out_t *out, const entra_fault_t *fault,
    const entra_reason_info_t *info)
{
    entra_fault_raw(out, entra_lit("<s:Reason><s:Text xml:lang=\"en-US\">"));
    entra_fault_text(out, info->text);

    if (fault->why != NULL) {
        entra_fault_element(out, entra_lit(" ("), entra_str(fault->why),
                            entra_lit(")"));
    }

    entra_fault_raw(out, entra_lit("</s:Text></s:Reason>"));
}


static void
entra_fault_detail(entra_fault_out_t *out, const entra_fault_t *fault,
    const entra_reason_info_t *info)
{
    entra_fault_raw(out, entra_lit(
        "<s:Detail><DeviceEnrollmentServiceError xmlns=\"" ENROLLMENT_NS "\">"));

    if (info->error_type.len) {
        entra_fault_element(out, entra_lit("<ErrorType>"), info->error_type,
                            entra_lit("</ErrorType>"));
    }

    entra_fault_element(out, entra_lit("<Message>"), info->text,
                        entra_lit("</Message>"));

    entra_fault_element(out, entra_lit("<TraceId>"), fault->trace_id,
                        entra_lit("</TraceId>"));

    entra_fault_raw(out,
        entra_lit("</DeviceEnrollmentServiceError></s:Detail>"));
}


static void
entra_fault_document(entra_fault_out_t *out, const entra_fault_t *fault)
{
    const entra_reason_info_t  *info;

    info = entra_reason_info(fault->reason);

    entra_fault_raw(out, entra_lit(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\""
        " xmlns:a=\"http://www.w3.org/2005/08/addressing\">"));

    entra_fault_header(out, fault);

    entra_fault_raw(out, entra_lit("<s:Body><s:Fault>"));
    entra_fault_code(out, info);
    entra_fault_reason(out, fault, info);
    entra_fault_detail(out, fault, info);
    entra_fault_raw(out, entra_lit("</s:Fault></s:Body></s:Envelope>\n"));
}


bool
entra_fault_write(const entra_fault_t *fault, const entra_mem_t *mem,
    entra_str_t *document)
{
    char               *start;
    entra_fault_out_t   out;

    out.pos = NULL;
    out.room = 0;

    entra_fault_document(&out, fault);

    start = entra_alloc(mem, out.room);
    if (start == NULL) {
        return false;
    }

    out.pos = start;

    entra_fault_document(&out, fault);

    *document = (entra_str_t) { start, (size_t) (out.pos - start) };

    return true;
}
