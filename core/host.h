/*
 * Which hosts are this machine: what decides where plain text may go. By the text alone; no name is
 * looked up but "localhost".
 */
#ifndef SKEP_CORE_HOST_H
#define SKEP_CORE_HOST_H

#include "core/base.h"

/* localhost, 127.0.0.0/8 or ::1, without brackets. "127.example.org" is somebody else's. */
bool host_is_loopback(struct str host);

#endif
