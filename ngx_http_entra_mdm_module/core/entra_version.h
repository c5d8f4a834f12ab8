/*
 * The version of the project, module and command alike; the top of CHANGES
 * has the same.
 */

#ifndef ENTRA_VERSION_H
#define ENTRA_VERSION_H


#define ENTRA_VERSION  "0.1.0"


#endif /* ENTRA_VERSION_H */
