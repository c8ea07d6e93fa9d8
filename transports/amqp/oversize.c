/*
 * A letter whose body is over the limit on its way to the queue of the refused: read frame by frame
 * into an unlinked file by the consumer, published from it frame by frame, and only then handed
 * over without its body. It is never in memory as a whole.
 *
 * A broker with an alarm stops reading in the middle of a message. So each frame is sent only when
 * the socket takes something, and nobody waits for ever: the socket's own time-out breaks the
 * connection.
 */
#include "transports/amqp/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAME_OVERHEAD 8

static int open_unlinked(const char *dir)
{
        char path[4096];
        int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0) {
                return fd;
        }
        if (snprintf(path, sizeof path, "%s/refused-XXXXXX", dir) >= (int)sizeof path) {
                return -ENAMETOOLONG;
        }
        fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0) {
                return -errno;
        }
        (void)unlink(path);
        return fd;
}

static void oversize_free_p(struct oversize **o)
{
        oversize_free(*o);
}

int oversize_new(const char *spool_dir, const amqp_frame_t *header, struct oversize **ret)
{
        CLEANUP(oversize_free_p)
        struct oversize *o = calloc(1, sizeof *o);
        if (!o) {
                return -ENOMEM;
        }
        o->size = header->payload.properties.body_size;
        o->fd = -1;
        init_amqp_pool(&o->pool, 4096);
        o->raw = amqp_bytes_malloc_dup(header->payload.properties.raw);
        void *decoded = NULL;
        if ((!o->raw.bytes && o->raw.len) ||
            amqp_decode_properties(header->payload.properties.class_id, &o->pool, o->raw,
                                   &decoded) != AMQP_STATUS_OK) {
                return -ENOMEM;
        }
        o->properties = decoded;
        o->fd = open_unlinked(spool_dir);
        if (o->fd < 0) {
                return o->fd;
        }
        *ret = STEAL(o);
        return 0;
}

struct oversize *oversize_free(struct oversize *o)
{
        if (o) {
                if (o->batch) {
                        receipt_drop(o->batch->receipt);
                        arrivals_free(o->batch);
                }
                if (o->fd >= 0) {
                        close(o->fd);
                }
                amqp_bytes_free(o->raw);
                empty_amqp_pool(&o->pool);
                free(o);
        }
        return NULL;
}

int oversize_write(struct oversize *o, amqp_bytes_t part)
{
        const char *p = part.bytes;
        for (size_t left = part.len; left;) {
                ssize_t n = write(o->fd, p, left);
                if (n < 0 && errno == EINTR) {
                        continue;
                }
                if (n <= 0) {
                        return n < 0 ? -errno : -EIO;
                }
                p += n;
                left -= (size_t)n;
                o->written += (size_t)n;
        }
        return 0;
}

/* --- publishing ------------------------------------------------------------------------------- */

/* False: stop, or the connection is gone. */
static bool wait_writable(struct publisher *p)
{
        while (!p->wire.dead && !p->stopping) {
                struct pollfd fd = {.fd = p->wire.fd,
                                    .events = p->blocked ? POLLIN : POLLIN | POLLOUT};
                (void)poll(&fd, 1, 200);
                publisher_frames(p);
                publisher_wait(p, 0); /* only to see a stop */
                if (!p->blocked && fd.revents & POLLOUT) {
                        break;
                }
        }
        return !p->wire.dead && !p->stopping;
}

static bool send_frame(struct publisher *p, const amqp_frame_t *f)
{
        int status = amqp_send_frame(p->wire.state, f);
        if (status != AMQP_STATUS_OK) {
                wire_fail(&p->wire, status, "sending");
        }
        return status == AMQP_STATUS_OK;
}

static bool send_head(struct publisher *p, const struct oversize *o, const char *queue)
{
        amqp_basic_publish_t m = {
            .exchange = amqp_empty_bytes, .routing_key = bytes_of(queue), .mandatory = 1};
        amqp_frame_t header = {.frame_type = AMQP_FRAME_HEADER,
                               .channel = 1,
                               .payload.properties = {.class_id = AMQP_BASIC_CLASS,
                                                      .body_size = o->size,
                                                      .decoded = o->properties}};
        return wire_send(&p->wire, 1, AMQP_BASIC_PUBLISH_METHOD, &m) && send_frame(p, &header);
}

/* A message that was begun and cannot be ended takes the connection with it. */
static bool send_body(struct publisher *p, const struct oversize *o)
{
        size_t size = (size_t)amqp_get_frame_max(p->wire.state) - FRAME_OVERHEAD;
        char *part = malloc(size);
        off_t at = 0;
        while (part && (uint64_t)at < o->size && wait_writable(p)) {
                ssize_t n = pread(o->fd, part, size, at);
                amqp_frame_t f = {.frame_type = AMQP_FRAME_BODY,
                                  .channel = 1,
                                  .payload.body_fragment = {(size_t)n, part}};
                if (n <= 0 || !send_frame(p, &f)) {
                        break;
                }
                at += n;
        }
        free(part);
        if ((uint64_t)at < o->size) {
                wire_fail(&p->wire, AMQP_STATUS_TIMEOUT, "sending an oversized letter");
        }
        return !p->wire.dead;
}

/* False: the connection is gone. `user_id` goes: the broker would refuse another user's. */
bool oversize_publish(struct publisher *p, struct flight *f, const char *queue)
{
        const struct oversize *o = f->oversize;
        o->properties->_flags &= ~(amqp_flags_t)AMQP_BASIC_USER_ID_FLAG;
        o->properties->_flags &= ~(amqp_flags_t)AMQP_BASIC_EXPIRATION_FLAG;
        o->properties->_flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
        o->properties->delivery_mode = AMQP_DELIVERY_PERSISTENT;
        f->sent++;
        window_sent(&p->window, f, o->size > WINDOW_BYTES ? WINDOW_BYTES : (uint32_t)o->size);
        return send_head(p, o, queue) && send_body(p, o);
}
