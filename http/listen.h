/*
 * Sockets that listen: the Unix socket, whose file mode (0660) is the credential, and loopback TCP.
 */
#ifndef SKEP_HTTP_LISTEN_H
#define SKEP_HTTP_LISTEN_H

#include <sys/stat.h>

#include "core/base.h"

/* > 0: HTTP_IN_USE, HTTP_REFUSED of http/server.h, with a note. A stale socket file (nobody
 * answers) is replaced, any other file is not. ret_file identifies the file, so that only it is
 * removed later. */
int listen_unix(struct str path, int *ret_fd, struct stat *ret_file, char *note, size_t note_size);

/* "127.0.0.1:8290", "[::1]:8290", "localhost:8290"; port 0 lets the kernel choose. */
int listen_tcp(struct str address, int *ret_fd, uint16_t *ret_port, char *note, size_t note_size);

/* Removes the socket file if it still is the one that was made. */
void unlisten_unix(struct str path, const struct stat *file);

#endif
