/*
 * One connection as its thread sees it after login: frames in without blocking, methods out, and
 * why it died. Nobody else touches it: the library forbids two threads, and aborts the process when
 * a second one sends while the first waits.
 *
 * The library sends and checks heartbeats only while it is asked for frames, so wire_wait() never
 * sleeps longer than half of one.
 */
#include "transports/amqp/internal.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void text_copy(amqp_bytes_t b, char *ret_text, size_t size)
{
        size_t n = b.len < size - 1 ? b.len : size - 1;
        for (size_t i = 0; i < n; i++) {
                unsigned char c = ((const unsigned char *)b.bytes)[i];
                ret_text[i] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
        }
        ret_text[n] = '\0';
}

void wire_fail(struct wire *w, int status, const char *doing)
{
        if (w->dead) {
                return;
        }
        w->dead = true;
        if (status == AMQP_STATUS_HEARTBEAT_TIMEOUT) {
                snprintf(w->why, sizeof w->why, "no heartbeat from the broker for %d s",
                         2 * w->heartbeat_s);
        } else if (status == AMQP_STATUS_CONNECTION_CLOSED || status == AMQP_STATUS_SOCKET_ERROR) {
                snprintf(w->why, sizeof w->why, "the connection broke off");
        } else {
                snprintf(w->why, sizeof w->why, "%s: %s", doing, amqp_error_string2(status));
        }
}

static void closed_by_broker(struct wire *w, const amqp_connection_close_t *m)
{
        char text[150];
        amqp_connection_close_ok_t ok = {0};
        text_copy(m->reply_text, text, sizeof text);
        (void)amqp_send_method(w->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        w->dead = true;
        w->code = m->reply_code;
        snprintf(w->why, sizeof w->why, "closed by the broker: %u %s", m->reply_code, text);
}

int wire_next(struct wire *w, amqp_frame_t *ret_frame)
{
        struct timeval now = {0, 0};
        if (w->dead) {
                return -1;
        }
        int status = amqp_simple_wait_frame_noblock(w->state, ret_frame, &now);
        if (status == AMQP_STATUS_TIMEOUT) {
                return 0;
        }
        if (status != AMQP_STATUS_OK) {
                wire_fail(w, status, "reading");
                return -1;
        }
        if (ret_frame->frame_type == AMQP_FRAME_METHOD &&
            ret_frame->payload.method.id == AMQP_CONNECTION_CLOSE_METHOD) {
                closed_by_broker(w, ret_frame->payload.method.decoded);
                return -1;
        }
        return 1;
}

void wire_wait(struct wire *w, int wake_fd, int64_t until_ns)
{
        struct pollfd fds[2] = {{.fd = wake_fd, .events = POLLIN},
                                {.fd = w->state ? w->fd : -1, .events = POLLIN}};
        int64_t left = until_ns - clock_ns();
        if (w->state && !w->dead) {
                int64_t beat = w->heartbeat_s * NS_PER_S / 2;
                left = left > beat ? beat : left;
                if (amqp_frames_enqueued(w->state) || amqp_data_in_buffer(w->state)) {
                        left = 0;
                }
        }
        left = left < 0 ? 0 : left > 3600 * NS_PER_S ? 3600 * NS_PER_S : left;
        struct timespec ts = {left / NS_PER_S, left % NS_PER_S};
        if (ppoll(fds, w->dead ? 1 : 2, &ts, NULL) > 0 && fds[0].revents) {
                uint64_t count;
                ssize_t n = read(wake_fd, &count, sizeof count);
                (void)n;
        }
}

bool wire_send(struct wire *w, uint16_t channel, amqp_method_number_t id, void *method)
{
        if (w->dead) {
                return false;
        }
        int status = amqp_send_method(w->state, channel, id, method);
        if (status != AMQP_STATUS_OK) {
                wire_fail(w, status, "sending");
        }
        return !w->dead;
}

void wire_close(struct wire *w, bool gracefully)
{
        if (!w->state) {
                return;
        }
        if (gracefully && !w->dead) {
                struct timeval limit = {.tv_sec = 2};
                (void)amqp_set_rpc_timeout(w->state, &limit);
                (void)amqp_connection_close(w->state, AMQP_REPLY_SUCCESS);
        }
        (void)amqp_destroy_connection(w->state);
        *w = (struct wire){.fd = -1, .place = w->place, .tried = w->tried, .denied = w->denied};
}
