/*
 * Base64 in the two strict forms a credential takes (RFC 4648).  Both refuse
 * what a lenient decoder would let two parties read differently: characters
 * outside the alphabet, wrong padding, and stray bits in the last character
 * (RFC 4648 3.5).
 */

#ifndef ENTRA_BASE64_H
#define ENTRA_BASE64_H

#include "entra_str.h"


/* bytes that decoding len characters may write, at most */
#define ENTRA_BASE64_DECODED_MAX(len)  ((len) / 4 * 3 + 2)

/* characters that encoding len bytes takes, padding included */
#define ENTRA_BASE64_ENCODED(len)  (((len) + 2) / 3 * 4)


/*
 * The URL alphabet without padding or white space (RFC 7515 2).  Writes to
 * out, which has ENTRA_BASE64_DECODED_MAX(in.len) bytes, and sets *out_len;
 * false: not that form.
 */
bool entra_base64url_decode(entra_str_t in, char *out, size_t *out_len);

/*
 * The standard alphabet with padding; CR and LF are skipped wherever they
 * stand, as Windows and Go's encoding/base64 do.  Otherwise as above.
 */
bool entra_base64_decode(entra_str_t in, char *out, size_t *out_len);


#endif /* ENTRA_BASE64_H */
