/* The service manager's notification protocol: one datagram to $NOTIFY_SOCKET. Its protocol is the
 * API. */
#ifndef SKEP_DAEMON_NOTIFY_H
#define SKEP_DAEMON_NOTIFY_H

void notify_send(const char *state); /* "READY=1"; without $NOTIFY_SOCKET nothing happens */

#endif
