/*
 * Where things are: the daemon's socket, the private folder of `skep dev`, and the programs beside
 * this one.
 */
#ifndef SKEP_CLI_PLACES_H
#define SKEP_CLI_PLACES_H

#include "core/base.h"

/* Path of the daemon's socket when nobody said otherwise; the caller frees it. */
char *place_socket(void);

/* Default folder of `skep dev`; NULL when the environment names no home. The caller frees it. */
char *place_dev(void);

/* A program of skep's: in $SKEP_LIBEXEC, beside this executable, at `built` within the build folder
 * ("daemon/skepd"), in the installed libexec folder, or on PATH. NULL: nowhere. The caller frees
 * it. */
char *place_program(const char *name, const char *built);

/* The folder of the handlers that ship; NULL: nowhere. The caller frees it. */
char *place_handlers(void);

/* This executable's path; the caller frees it. */
char *place_self(void);

/* Is a program of that name on PATH? Its path or NULL; the caller frees it. */
char *place_on_path(const char *name);

#endif
