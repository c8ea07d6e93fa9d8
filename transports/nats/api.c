/*
 * Requests to JetStream's API and their answers, for the keeper alone: each blocks until the answer
 * is there, the connection is closed or three seconds are over. What a server writes is parsed by
 * jansson and never trusted further than its types.
 */
#include "transports/nats/internal.h"

#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define API_LIMIT_MS  3000
#define ECHO_LIMIT_NS (3 * NS_PER_S)
#define PING_LIMIT_MS 1000

const char *answer_text(const json_t *object, const char *name)
{
        const char *text = json_string_value(json_object_get(object, name));
        return text ? text : "";
}

int64_t answer_number(const json_t *object, const char *name)
{
        return json_integer_value(json_object_get(object, name));
}

void answer_free(struct answer *a)
{
        json_decref(a->root);
        a->root = NULL;
}

static void copy_printable(const char *from, char *ret_text, size_t size)
{
        size_t n = 0;
        for (; from[n] && n + 1 < size; n++) {
                unsigned char c = (unsigned char)from[n];
                ret_text[n] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
        }
        ret_text[n] = '\0';
}

static int read_reply(struct answer *a, natsMsg *msg)
{
        a->root = json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
        const json_t *error = json_object_get(a->root, "error");
        if (!json_is_object(a->root)) {
                snprintf(a->text, sizeof a->text, "the answer cannot be read");
                return API_ERROR;
        }
        if (!error) {
                return 0;
        }
        a->code = (int)answer_number(error, "code");
        a->err_code = (int)answer_number(error, "err_code");
        copy_printable(answer_text(error, "description"), a->text, sizeof a->text);
        return API_ERROR;
}

static int failed(struct keeper *k, struct answer *a, natsStatus e)
{
        if (e == NATS_NO_RESPONDERS) {
                a->code = 503;
                snprintf(a->text, sizeof a->text,
                         "JetStream is not enabled, or not for this account");
                return API_ERROR;
        }
        if (e == NATS_TIMEOUT) {
                k->doubt = true;
                snprintf(a->text, sizeof a->text, "JetStream does not answer");
                return API_LATE;
        }
        snprintf(a->text, sizeof a->text, "%s", natsStatus_GetText(e));
        return API_GONE;
}

int api_call(struct keeper *k, struct answer *ret, json_t *body, const char *fmt, ...)
{
        char subject[SUBJECT_BYTES];
        va_list args;
        natsMsg *msg = NULL;
        *ret = (struct answer){0};
        va_start(args, fmt);
        int n = vsnprintf(subject, sizeof subject, fmt, args);
        va_end(args);
        char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
        bool ok = n < (int)sizeof subject && (text || !body);
        json_decref(body);
        natsStatus e = !ok ? NATS_NO_MEMORY
                           : natsConnection_Request(&msg, k->link->nc, subject, text,
                                                    text ? (int)strlen(text) : 0, API_LIMIT_MS);
        free(text);
        int r = e ? failed(k, ret, e) : read_reply(ret, msg);
        natsMsg_Destroy(msg);
        return r;
}

/* --- does the link hear? ---------------------------------------------------------------------- */

static bool wait_echo(struct keeper *k, unsigned before)
{
        int64_t until = clock_ns() + ECHO_LIMIT_NS, left;
        uint64_t count;
        while (atomic_load(&k->link->echoed) == before && !atomic_load(&k->link->closed) &&
               (left = until - clock_ns()) > 0) {
                struct timespec ts = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
                struct pollfd fd = {.fd = k->wake_fd, .events = POLLIN};
                if (ppoll(&fd, 1, &ts, NULL) > 0) {
                        ssize_t n = read(k->wake_fd, &count, sizeof count);
                        (void)n;
                }
        }
        desk_wake(k->wake_fd); /* what else rang meanwhile */
        return atomic_load(&k->link->echoed) != before;
}

bool api_hears(struct keeper *k, bool *ret_deaf)
{
        char subject[INBOX_BYTES + 8];
        unsigned before = atomic_load(&k->link->echoed);
        *ret_deaf = false;
        snprintf(subject, sizeof subject, "%s.echo", k->link->inbox);
        if (natsConnection_PublishString(k->link->nc, subject, "") == NATS_OK &&
            wait_echo(k, before)) {
                return true;
        }
        *ret_deaf = !atomic_load(&k->link->closed) &&
                    natsConnection_FlushTimeout(k->link->nc, PING_LIMIT_MS) == NATS_OK;
        snprintf(k->why, sizeof k->why, "%s",
                 *ret_deaf ? "the connection brings nothing more" : "the server does not answer");
        k->dropped = true;
        return false;
}
