/*
 * What travels between skepd, the worker program and its workers: one datagram per message on
 * SEQPACKET sockets, same machine, same build, so plain structs in native order. What comes from a
 * worker or a probe may be forged by a handler: it is read through struct wire_in, which never
 * reads past its end, and every number is checked by its reader.
 */
#ifndef SKEP_PLUGINS_WIRE_H
#define SKEP_PLUGINS_WIRE_H

#include <sys/types.h>

#include "core/base.h"

#define WIRE_MAX          (200u << 10) /* the largest datagram; default send buffers hold 208 KiB */
#define WIRE_FDS          32           /* descriptors that may travel with one */
#define LOG_TEXT_MAX      2048
#define CHILDREN_MAX      1000
#define CHILD_INLINE      (32u << 10)
#define CHILD_PAYLOAD_MAX (1u << 20)
#define CHILD_TEXT_MAX    255 /* queue, content type */
#define CHILD_TAGS_MAX    1024
#define DELAY_MAX_MS      (INT64_C(10) * 366 * 86400 * 1000) /* of verdicts and children */
#define CHILDREN_BYTES    (8u << 20)                         /* payloads of all children of a job */
#define PARTS_MAX         (CHILDREN_MAX + 2)

/* Descriptors of a worker or probe when it starts. */
#define FD_SOCKET 3 /* to skepd; the zygote's own is 3 as well */
#define FD_PAGE   4 /* worker: its page; probe: the plug-in's sealed copy */
#define FD_CANCEL 5 /* worker: eventfd */

enum wire_kind {
        WIRE_SPAWN = 1, /* to the zygote: struct wire_spawn and three descriptors (probe: two) */
        WIRE_SPAWNED,   /* from it: struct wire_spawned */
        WIRE_PLUGIN,    /* to a worker: index, file name, options; its sealed copy as descriptor */
        WIRE_FRAME,     /* struct wire_frame, then jobs */
        WIRE_SAVED,     /* struct wire_saved */
        WIRE_RETIRE,    /* end after what was given */
        WIRE_NOTICE, /* from a worker: struct wire_part; everything up to and with the position has
                        ended */
        WIRE_RESULT, /* struct wire_part, type, bytes */
        WIRE_TEXT,   /* struct wire_part, text */
        WIRE_CHILD,  /* struct wire_part, struct wire_child, texts; a large payload as descriptor */
        WIRE_LOG,    /* struct wire_part, level, text */
        WIRE_CHECKPOINT, /* struct wire_part, bytes */
        WIRE_MANIFEST,   /* from a probe: see manifest.h */
        WIRE_NO,         /* from a probe: text, why the plug-in is refused */
        WIRE_CRASH,      /* from a probe that dies: text */
        WIRE_BELT,       /* to a worker: the memory of its belt as descriptor (belt.h) */
};

enum spawn_mode { SPAWN_WORKER, SPAWN_PROBE };

struct wire_spawn {
        uint32_t kind, mode, number;
        int32_t parent; /* skepd's pid: the child ends if that is not its parent */
};

struct wire_spawned {
        uint32_t kind, mode, number;
        int32_t pid; /* or -errno */
};

struct wire_saved {
        uint32_t kind, position;
        int32_t result;
};

/* Its jobs are run one by one or, when `group` is not 0, together with those of all other frames of
 * the group, once `group_n` jobs are there. Frames of a group follow each other. */
struct wire_frame {
        uint32_t kind, first, n, epoch;
        uint32_t group, group_n;
};

/* Its texts follow, each with a NUL behind it: queue, type, content type, headers, checkpoint;
 * then, at the next multiple of 16 from the frame's start, a payload BY_FRAME, NUL, and padding to
 * 8. */
struct wire_job {
        uint8_t id[16];
        uint64_t token;
        int64_t created_us, deadline_us;
        uint32_t claim, generation;
        uint32_t timeout_ms;
        uint32_t payload_n, headers_n, checkpoint_n;
        uint16_t plugin,
            handler; /* index in the roster generation's plug-ins; within the plug-in */
        uint16_t attempt, max_attempts;
        uint16_t queue_n, type_n, content_type_n;
        uint8_t priority;
        uint8_t by; /* enum wire_by */
        uint32_t payload_at, unused;
};

/* How a payload travels. */
enum wire_by {
        BY_FRAME, /* behind the job's texts */
        BY_BELT,  /* on the worker's belt, at payload_at */
        BY_FD,    /* as the frame's next descriptor: a sealed memfd of payload_n + 1 bytes */
};

struct wire_part {
        uint32_t kind, position;
};

struct wire_child {
        int64_t delay_ms, unique_ms, run_at_us, deadline_us;
        uint32_t timeout_ms, heartbeat_ms, payload_n;
        uint16_t max_attempts;
        uint8_t priority, has_priority, has_key, by_fd;
        uint8_t has_unique, scope, states, replace; /* as in struct unique_wish */
        uint8_t pad[2];
};

/* --- writing and reading of variable parts ------------------------------------------------- */

struct wire_out {
        uint8_t *p;
        size_t n, max;
        bool full; /* something did not fit: the message must not be sent */
};

void wire_put(struct wire_out *o, const void *bytes, size_t n);
void wire_put_u32(struct wire_out *o, uint32_t v);
void wire_put_str(struct wire_out *o, struct str s); /* length, bytes, NUL */

struct wire_in {
        const uint8_t *p;
        size_t n, at;
        bool bad; /* read past the end, or a text without its NUL */
};

bool wire_get(struct wire_in *in, void *ret, size_t n);
uint32_t wire_get_u32(struct wire_in *in);   /* 0 when bad */
struct str wire_get_str(struct wire_in *in); /* borrowed, NUL behind it; empty when bad */

/* --- datagrams ------------------------------------------------------------ */

/* Sends one datagram with up to WIRE_FDS descriptors; repeats on EINTR. `flags`: MSG_DONTWAIT or 0.
 * 0 or -errno. */
int wire_frame_send(int sock, const void *bytes, size_t n, const int *fds, uint32_t n_fds,
                    int flags);

/* Receives one datagram. 0 bytes: the other side is gone. < 0: -errno; -EMSGSIZE when it was longer
 * than max. Descriptors are close-on-exec; *ret_n_fds says how many; surplus ones are closed by the
 * kernel. */
ssize_t wire_recv(int sock, void *bytes, size_t max, int *ret_fds, uint32_t max_fds,
                  uint32_t *ret_n_fds, int flags);

void close_fds(int *fds, uint32_t n); /* each >= 0, then -1 */

/* A memfd holding the bytes and a NUL, sealed against any change. < 0: -errno. */
int memfd_of(const char *name, const void *bytes, size_t n);

#endif
