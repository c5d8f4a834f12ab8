/*
 * What an Accept header asks for (RFC 9110 12.5.1).
 */

#ifndef ENTRA_ACCEPT_H
#define ENTRA_ACCEPT_H

#include "entra_str.h"


/*
 * The weight that the value of such a header gives to a media type, in
 * thousandths; 0 where it does not name it, or names it as unwanted.  Ranges,
 * which have an asterisk, name no type; of the parameters only "q" counts.
 */
unsigned entra_accept_weight(entra_str_t value, entra_str_t type);


#endif /* ENTRA_ACCEPT_H */
